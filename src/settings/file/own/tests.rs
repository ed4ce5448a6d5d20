use super::*;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("it is there").permissions().mode() & 0o777
}

#[test]
fn a_file_is_replaced_as_a_whole_and_is_its_owners_alone() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("state.toml");
    assert!(read(&path, 100).expect("none is no fault").is_none());
    let own = OwnFile::take(&path).expect("a new one");
    // Left by a crash, with another mode.
    fs::write(beside(&path, ".new"), "half").expect("it is written");
    for text in ["a = 1\n", "a = 22\n"] {
        own.replace(text).expect("it is written");
        assert_eq!(fs::read_to_string(&path).expect("it is there"), text);
        assert_eq!(mode(&path), 0o600);
    }
    assert_eq!(mode(&beside(&path, ".lock")), 0o600);
    assert!(!beside(&path, ".new").exists());
    assert!(read(&path, 100).expect("it is mine").is_some());
    let told = |most| read(&path, most).expect_err("it is wrong").to_string();
    assert!(told(3).contains("must not be longer than 3 bytes"), "{}", told(3));
    for mode in [0o640, 0o604, 0o620] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("it is mine");
        assert!(told(100).contains("must be open to its owner only"), "{}", told(100));
    }
}

#[test]
fn one_process_at_a_time_has_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("state.toml");
    let first = OwnFile::take(&path).expect("a new one");
    let error = OwnFile::take(&path).err().expect("it is taken").to_string();
    assert!(error.contains("is in use by another process"), "{error}");
    drop(first);
    assert!(OwnFile::take(&path).is_ok());
    let nowhere = dir.path().join("none").join("state.toml");
    let error = OwnFile::take(&nowhere).err().expect("no directory").to_string();
    assert!(error.contains("needs a directory that can be written"), "{error}");
}

#[test]
fn a_file_that_cannot_be_replaced_stays() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("state.toml");
    let own = OwnFile::take(&path).expect("a new one");
    own.replace("a = 1\n").expect("it is written");
    // A directory stands where the next one would be written.
    fs::create_dir(beside(&path, ".new")).expect("a directory");
    assert!(own.replace("a = 2\n").is_err());
    assert_eq!(fs::read_to_string(&path).expect("it is there"), "a = 1\n");
    fs::remove_dir(beside(&path, ".new")).expect("it is empty");
    own.replace("a = 2\n").expect("it is written");
}

#[test]
fn what_could_not_be_put_in_its_place_is_not_left_beside_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("state.toml");
    let own = OwnFile::take(&path).expect("a new one");
    // A file does not replace a directory.
    fs::create_dir(&path).expect("a directory");
    assert!(own.replace("password").is_err());
    assert!(path.is_dir() && !beside(&path, ".new").exists());
}

#[test]
fn the_lock_must_be_a_regular_file() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("state.toml");
    let lock = beside(&path, ".lock");
    let refused = || {
        let error = OwnFile::take(&path).err().expect("it is wrong").to_string();
        assert!(error.contains("to be a regular file"), "{error}");
    };
    let elsewhere = dir.path().join("elsewhere");
    std::os::unix::fs::symlink(&elsewhere, &lock).expect("a link");
    refused();
    assert!(!elsewhere.exists());
    fs::remove_file(&lock).expect("the link");
    let fifo = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, &lock, fifo, rustix::fs::Mode::RUSR, 0).expect("a FIFO");
    refused();
    // Nor one that somebody reads.
    fs::set_permissions(&lock, fs::Permissions::from_mode(0o600)).expect("it is mine");
    let reader = OpenOptions::new()
        .read(true)
        .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
        .open(&lock)
        .expect("a reader");
    refused();
    drop(reader);
}
