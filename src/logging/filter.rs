//! Which lines are written: by level, and by the module that writes them.

use log::{LevelFilter, Metadata};

/// The most bytes of a specification, and the most parts: it is looked through for each line.
const SPEC_MAX: usize = 1024;
const PARTS_MAX: usize = 32;

/// The level of what no part names.
const OTHERS: LevelFilter = LevelFilter::Warn;

/// What a part of a specification may be.
const ALLOWED: &str = "must be LEVEL or TARGET=LEVEL, several with commas; a LEVEL is off, error, \
                       warn, info, debug or trace";

/// A filter of lines, as `RUST_LOG` has it: `warn,connection_pool_manager=info`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFilter {
    /// The longest target first.
    parts: Vec<(String, LevelFilter)>,
}

impl LogFilter {
    /// Reads a specification of at most 1024 bytes and 32 parts. A level without a target is that of
    /// all others; without one it is [`OTHERS`], so that no misspelt target hides errors.
    ///
    /// # Errors
    /// What is allowed.
    pub fn parse(spec: &str) -> Result<LogFilter, String> {
        if spec.len() > SPEC_MAX {
            return Err(format!("must not be longer than {SPEC_MAX} bytes"));
        }
        let mut parts = Vec::new();
        for part in spec.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (target, level) = part.split_once('=').unwrap_or(("", part));
            let is_path = |c: char| c.is_alphanumeric() || matches!(c, '_' | ':' | '-' | '.');
            let level = level.trim().parse().ok().filter(|_| target.trim().chars().all(is_path));
            parts.push((target.trim().to_owned(), level.ok_or(ALLOWED)?));
        }
        if parts.is_empty() {
            return Err(ALLOWED.to_owned());
        }
        if parts.len() > PARTS_MAX {
            return Err(format!("must not have more than {PARTS_MAX} parts"));
        }
        // Of two parts for the same target the last one counts.
        parts.reverse();
        parts.sort_by_key(|(target, _)| std::cmp::Reverse(target.len()));
        Ok(LogFilter { parts })
    }

    /// Whether a line is written.
    pub fn admits(&self, metadata: &Metadata<'_>) -> bool {
        let part = self.parts.iter().find(|(target, _)| metadata.target().starts_with(target));
        metadata.level() <= part.map_or(OTHERS, |(_, level)| *level)
    }

    /// The lowest level of which anything is written.
    pub fn most(&self) -> LevelFilter {
        let others = self.parts.iter().all(|(target, _)| !target.is_empty()).then_some(OTHERS);
        self.parts.iter().map(|(_, level)| *level).chain(others).max().unwrap_or(OTHERS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use log::Level;

    fn admits(spec: &str, target: &str, level: Level) -> bool {
        let filter = LogFilter::parse(spec).expect("it is one");
        filter.admits(&Metadata::builder().target(target).level(level).build())
    }

    #[test]
    fn the_longest_target_that_fits_decides() {
        let spec = "warn, a=info,a::b=off,a::b::c=trace";
        for (target, level, admitted) in [
            ("x", Level::Warn, true),
            ("x", Level::Info, false),
            ("a", Level::Info, true),
            ("a::x", Level::Debug, false),
            ("a::b", Level::Error, false),
            ("a::b::c::d", Level::Trace, true),
        ] {
            assert_eq!(admits(spec, target, level), admitted, "{target} {level}");
        }
        for (level, admitted) in [(Level::Warn, true), (Level::Info, false)] {
            assert_eq!(admits("a=debug", "x", level), admitted, "{level}: of others as ever");
        }
        assert_eq!(LogFilter::parse("a=off").map(|it| it.most()), Ok(OTHERS));
        assert!(admits("info,DEBUG", "x", Level::Debug), "the last one counts");
        assert_eq!(LogFilter::parse(spec).map(|it| it.most()), Ok(LevelFilter::Trace));
        assert_eq!(LogFilter::parse("off").map(|it| it.most()), Ok(LevelFilter::Off));
    }

    #[test]
    fn what_is_no_filter_is_refused_and_so_is_one_without_end() {
        for spec in ["", ",", "inof", "a=", "=loud", "a=b=info", "a b=info", "info/x", "\0"] {
            assert_eq!(LogFilter::parse(spec), Err(ALLOWED.to_owned()), "{spec:?}");
        }
        let long = format!("{}=info", "a".repeat(SPEC_MAX));
        assert!(LogFilter::parse(&long).is_err_and(|rule| rule.contains("1024 bytes")));
        let many = "a=info,".repeat(PARTS_MAX + 1);
        assert!(LogFilter::parse(&many).is_err_and(|rule| rule.contains("32 parts")));
    }
}
