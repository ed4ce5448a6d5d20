//! What of an operator's changes is kept.

use super::*;
use crate::settings::file::own::OwnFile;

#[test]
fn what_the_configuration_overrules_is_no_more_than_a_pause_until_it_is_changed_again() {
    let dir = tempfile::tempdir().expect("a directory");
    let (keeping, id) = (Keeping::default(), TenantId::parse("orders").expect("a name"));
    keeping.touched(&id, Touch::Settings);
    assert!(keeping.marks().is_empty(), "nothing is kept without a file");
    keeping.begin(OwnFile::take(&dir.path().join("state.toml")).expect("nobody has it"));
    let touch = || keeping.marks().get(&id).map(|mark| mark.touch);
    keeping.overruled([&id].into_iter());
    assert_eq!(touch(), None);
    keeping.touched(&id, Touch::Settings);
    keeping.touched(&id, Touch::Pause);
    assert_eq!(touch(), Some(Touch::Settings), "a pause ends no other change");
    // A write that comes before the new settings are in force at the tenant keeps none of it.
    keeping.overruled([&id].into_iter());
    assert_eq!(touch(), Some(Touch::Pause));
    let before = keeping.marks()[&id];
    keeping.touched(&id, Touch::Settings);
    assert_eq!(touch(), Some(Touch::Settings), "an operator has changed it since");
    keeping.forget(&id, before);
    assert_eq!(touch(), Some(Touch::Settings), "what was written before is not all");
    keeping.forget(&id, keeping.marks()[&id]);
    assert_eq!(touch(), None);
}
