//! A name server of the tests' own, in front of the service's resolver.
//!
//! No test can give a process another name server without privileges, so a library is
//! loaded into it that answers `getaddrinfo` for names under `.test`: with this machine's
//! address, or with silence.

use std::path::{Path, PathBuf};
use std::process::Command;

const SOURCE: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int is_there(const char *name) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", getenv("TEST_NAMES"), name);
    return access(path, F_OK) == 0;
}

static int ends(const char *name, const char *end) {
    size_t length = strlen(name), tail = strlen(end);
    return length >= tail && strcmp(name + length - tail, end) == 0;
}

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                struct addrinfo **found) {
    int (*next)(const char *, const char *, const struct addrinfo *, struct addrinfo **) =
        dlsym(RTLD_NEXT, "getaddrinfo");
    if (node == NULL || !ends(node, ".test")) return next(node, service, hints, found);
    int mute = ends(node, ".mute.test");
    while (is_there("names.c") && (mute || is_there("silent"))) usleep(20000);
    if (mute) return EAI_AGAIN;
    return next("127.0.0.1", service, hints, found);
}
"#;

/// The name server. When it is dropped, every look-up that waits for it ends.
pub struct Names(tempfile::TempDir);

impl Names {
    /// Knows every name under `.test` as this machine, and says nothing of those under
    /// `.mute.test`.
    pub fn start() -> Names {
        let names = Names(tempfile::tempdir().expect("a directory"));
        let source = names.path("names.c");
        std::fs::write(&source, SOURCE).unwrap();
        let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".to_owned());
        let library = names.path("names.so");
        let made = Command::new(compiler)
            .args(["-shared", "-fPIC", "-o"])
            .args([&library, &source])
            .arg("-ldl")
            .status();
        assert!(made.expect("a C compiler, as gRPC needs one too").success());
        names
    }

    fn path(&self, name: &str) -> PathBuf {
        Path::new(self.0.path()).join(name)
    }

    /// From now on it says nothing of any name.
    pub fn silence(&self) {
        std::fs::write(self.path("silent"), "").unwrap();
    }

    /// What the service is to be started with.
    pub fn environment(&self) -> [(&'static str, PathBuf); 2] {
        [("LD_PRELOAD", self.path("names.so")), ("TEST_NAMES", self.path(""))]
    }
}
