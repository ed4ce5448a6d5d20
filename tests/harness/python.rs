//! Programs in Python.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Where the Python with grpcio lies that `make test` sets up beside the build.
pub fn pythons() -> PathBuf {
    let bin = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("python/bin");
    let python = bin.join("python3");
    assert!(python.exists(), "{} is missing: run `.ci/install-deps.sh tests`", python.display());
    bin
}

/// That Python. A program that hangs is killed, so that its test fails and has a name.
pub fn python() -> Command {
    let mut python = Command::new("timeout");
    python.args(["--signal=KILL", "300"]).arg(pythons().join("python3"));
    python
}

/// What a program has printed.
pub fn says(out: &Output) -> String {
    let texts = [&out.stdout, &out.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    texts.concat()
}
