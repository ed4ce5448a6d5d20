//! Profiles: settings that go together for a purpose.

use crate::settings::{Origin, SettingValue};

/// What the service is run for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// A machine of a developer: few connections, which nothing but their use keeps alive.
    Local,
    /// A test: one connection, which sends the database nothing but what the test sends.
    Test,
    /// Users depend on it: nothing goes over the network in plain text, and everybody who calls is
    /// known.
    Production,
}

impl Profile {
    /// The words they are chosen by.
    pub const WORDS: [(&'static str, Profile); 3] =
        [("local", Profile::Local), ("test", Profile::Test), ("production", Profile::Production)];

    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Profile::Local => "local",
            Profile::Test => "test",
            Profile::Production => "production",
        }
    }

    /// What it sets. Anything that is given wins over it.
    pub fn settings(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Profile::Local => {
                &[("max_connections", "3"), ("min_connections", "1"), ("ping_interval", "0")]
            }
            Profile::Test => &[
                ("max_connections", "1"),
                ("min_connections", "0"),
                ("ping_interval", "0"),
                ("health_check_interval", "0"),
            ],
            Profile::Production => &[("max_connections", "20"), ("ping_interval", "25")],
        }
    }

    /// The value of a setting.
    pub(super) fn value(self, name: &str) -> Option<SettingValue> {
        let found = self.settings().iter().find(|(known, _)| *known == name);
        found.map(|(name, text)| SettingValue::text_of(name, text, Origin::Profile(self.as_str())))
    }
}
