//! The pages whose tenant is used by its name and whose callers have tokens, and the files that
//! the first of them makes.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use tempfile::TempDir;

use super::{examples, is_like, stubs};
use crate::harness::{command, python, repository, says, tenant, Service};

/// Those pages.
pub(super) const PAGES: [&str; 2] = ["docs/tenants.md", "docs/administration.md"];

/// A service in a directory, as the page of tenants makes it from nothing.
struct Named {
    service: Service,
    directory: TempDir,
    stubs: TempDir,
}

impl Named {
    fn start() -> Named {
        let directory = tempfile::tempdir().unwrap();
        let mut shell = Command::new("sh");
        shell.args(["-ec", &commands()[0]]).current_dir(directory.path());
        let out = shell.output().unwrap();
        assert!(out.status.success(), "{}", says(&out));
        fs::write(directory.path().join("acme.dsn"), &tenant().dsn).unwrap();
        let mut serve = command();
        serve.current_dir(directory.path());
        let service = Service::run(serve, &["--config", "config.toml"]);
        symlink(service.certs.path(), directory.path().join("certs")).unwrap();
        symlink(repository("examples"), directory.path().join("examples")).unwrap();
        Named { service, directory, stubs: stubs() }
    }

    /// Runs Python in that directory, and returns what it prints.
    fn run(&self, arguments: &[&str]) -> String {
        let mut python = python();
        python.args(arguments).current_dir(self.directory.path());
        let out = python.env("PYTHONPATH", self.stubs.path()).output().unwrap();
        assert!(out.status.success(), "{}", says(&out));
        String::from_utf8(out.stdout).unwrap()
    }
}

/// The blocks of shell in the section of the page of tenants.
fn commands() -> Vec<String> {
    let page = fs::read_to_string(repository("docs/tenants.md")).unwrap();
    let (_, section) = page.split_once("\n### A tenant by its name, from nothing\n").unwrap();
    let blocks = section.split("\n```sh\n").skip(1);
    blocks.map(|block| format!("{}\n", block.split("\n```").next().unwrap())).collect()
}

#[test]
fn the_examples_with_tokens_print_what_stands_behind_them() {
    let named = Named::start();
    let port = format!("localhost:{}", named.service.port);
    for page in PAGES {
        let examples = examples(page);
        assert!(!examples.is_empty(), "{page}");
        for example in examples {
            let said = named.run(&["-c", &example.program.replace("localhost:50052", &port)]);
            let prints = &example.prints;
            assert!(is_like(&said, prints), "{page}: printed\n{said}and not\n{prints}");
        }
    }
}

#[test]
fn a_whole_lease_of_the_example_needs_a_name_and_a_token() {
    let named = Named::start();
    let line = commands()[1].clone();
    let token = fs::read_to_string(named.directory.path().join("shop.token")).unwrap();
    let shown = line.trim().replace("\"$(cat shop.token)\"", token.trim());
    let mut words: Vec<&str> = shown.split(' ').skip(1).collect();
    let port = named.service.port.to_string();
    words.extend(["--port", &port]);
    let said = named.run(&words);
    assert!(said.contains("RELEASE_OUTCOME_RELEASED"), "{said}");
}
