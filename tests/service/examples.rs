//! What the documents and `examples/` show, run as it stands there, with Python.

mod named;

use std::process::Command;

use tempfile::TempDir;

use crate::harness::demo::Demo;
use crate::harness::{python, pythons, repository, says};

#[test]
fn the_example_runs_by_the_command_line_that_the_demo_prints() {
    let demo = Demo::start();
    let mut shell = demo.beside(Command::new("sh"));
    let path = std::env::var("PATH").unwrap();
    shell.args(["-c", &demo.shown]).env("PATH", format!("{}:{path}", pythons().display()));
    let out = shell.output().unwrap();
    let said = says(&out);
    assert!(out.status.success(), "{said}");
    for part in ["leased lease-", "[['alice', '90.50'], ['bob', '7']]", "SQLSTATE 23505"] {
        assert!(said.contains(part), "{said}");
    }
    assert!(said.contains("RELEASE_OUTCOME_RELEASED"), "{said}");
}

/// A demo with stubs in Python beside it.
struct Scene {
    demo: Demo,
    stubs: TempDir,
}

/// A directory with the stubs in Python, of the administration too.
fn stubs() -> TempDir {
    let stubs = tempfile::tempdir().unwrap();
    let program = "import sys; sys.path.insert(0, sys.argv[1]); import lease; \
                   lease.PROTOS.append('admin.proto'); lease.compile_protos(sys.argv[2])";
    let out = python()
        .args(["-c", program])
        .args([repository("examples").as_path(), stubs.path()])
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", says(&out));
    stubs
}

impl Scene {
    fn new() -> Scene {
        Scene { demo: Demo::start(), stubs: stubs() }
    }

    /// Runs a program in Python as a page tells its reader to; the ports alone are others.
    fn run(&self, program: &str) -> String {
        let dsn = self.demo.option("dsn");
        let database = dsn.split_once(" port=").unwrap().1.split(' ').next().unwrap();
        let program = program
            .replace("localhost:50052", &format!("localhost:{}", self.demo.option("port")))
            .replace(" port=5432 ", &format!(" port={database} "));
        let mut python = self.demo.beside(python());
        python.args(["-c", &program]).env("PYTHONPATH", self.stubs.path());
        let out = python.output().unwrap();
        assert!(out.status.success(), "{}", says(&out));
        String::from_utf8(out.stdout).unwrap()
    }

    /// The leases of the demo's tenant, and its statements that sleep.
    fn left(&self) -> String {
        self.run(&format!("{}{LEFT}", example("docs/leases.md", 0)))
    }
}

const LEFT: &str = r#"
from connection_pool_pb2 import StatsRequest
sleep = "select count(*) from pg_stat_activity where state = 'active' and query ~ '^select pg_sleep'"
counted = sql.Execute(ExecuteRequest(tenant_id=tenant, dsn=dsn, statements=[Statement(sql=sleep)]))
leases = pool.GetPoolStats(StatsRequest(tenant_id=tenant)).leases
print(leases, counted.results[0].rows[0].values[0].int)
"#;

/// A block of Python in a page, and what it prints: the block of text behind it.
struct Example {
    program: String,
    prints: String,
}

/// The blocks of Python of a page. One after the other, they are a program.
fn examples(page: &str) -> Vec<Example> {
    let text = std::fs::read_to_string(repository(page)).unwrap();
    let pieces: Vec<&str> = text.split("\n```").collect();
    assert!(pieces.len() % 2 == 1, "{page}: a fence is left open");
    let mut examples: Vec<Example> = Vec::new();
    // What is behind an odd fence is code, after the name of its language.
    for code in pieces.iter().skip(1).step_by(2) {
        let (language, code) = code.split_once('\n').unwrap();
        let code = format!("{code}\n");
        match (language, examples.last_mut()) {
            ("python", _) => examples.push(Example { program: code, prints: String::new() }),
            ("text", Some(last)) if last.prints.is_empty() => last.prints = code,
            _ => {}
        }
    }
    examples
}

fn example(page: &str, number: usize) -> String {
    examples(page).into_iter().nth(number).expect("a block of Python").program
}

/// Whether a text is this one, in which `…` stands for anything.
fn is_like(text: &str, pattern: &str) -> bool {
    match pattern.split_once('…') {
        None => text == pattern,
        Some((start, pattern)) => text
            .strip_prefix(start)
            .is_some_and(|rest| rest.char_indices().any(|(at, _)| is_like(&rest[at..], pattern))),
    }
}

/// Behind the examples of a page: none of their calls is left. gRPC's thread behind a call ends
/// with the program, in any line; if that is one in which it holds the call's lock, the call's
/// finalizer waits for it for ever (Python's gRPC 1.85).
const NO_CALL: &str = r#"
import gc, grpc
calls = [type(call).__name__ for call in gc.get_objects() if isinstance(call, grpc.Call)]
assert not calls, calls
"#;

/// The pages that may have examples, by their paths.
fn pages() -> Vec<String> {
    let mut pages = vec!["README.md".to_owned()];
    for entry in std::fs::read_dir(repository("docs")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        pages.extend(name.ends_with(".md").then(|| format!("docs/{name}")));
    }
    pages
}

#[test]
fn the_examples_of_every_page_print_what_stands_behind_them() {
    const END: &str = "--- the end of an example ---\n";
    let scene = Scene::new();
    let mut with_examples = 0;
    for page in pages() {
        let examples = examples(&page);
        if examples.is_empty() || named::PAGES.contains(&page.as_str()) {
            continue;
        }
        with_examples += 1;
        let marked = |example: &Example| format!("{}print({:?})\n", example.program, END.trim());
        let program: String = examples.iter().map(marked).collect();
        let said = scene.run(&format!("{program}{NO_CALL}"));
        assert_eq!(said.matches(END).count(), examples.len(), "{page}: {said}");
        for (said, example) in said.split(END).zip(&examples) {
            let prints = &example.prints;
            assert!(is_like(said, prints), "{page}: printed\n{said}and not\n{prints}");
        }
        assert_eq!(scene.left(), "0 0\n", "{page}");
    }
    assert!(with_examples > 2, "{with_examples}: this test looks wrongly");
}

/// Runs a lease so many times; the deadline of each `Execute` is cut to a tenth of a second.
const HASTY: &str = r#"
class Hasty:
    stub = sql
    def Execute(self, request, timeout):
        request.statements[0].sql = "select pg_sleep(3600)"
        return self.stub.Execute(request, timeout=0.1)

sql = Hasty()
for _ in range(10):
    try:
        exec(compile(lines, "leases.md", "exec"))
    except grpc.RpcError as error:
        print(error.code().name)
"#;

#[test]
fn the_example_of_a_lease_leaves_none_when_its_deadline_passes() {
    let scene = Scene::new();
    let [before, lease] = [0, 1].map(|number| example("docs/leases.md", number));
    let said = scene.run(&format!("{before}\nlines = r'''{lease}'''\n{HASTY}"));
    assert_eq!(said, "DEADLINE_EXCEEDED\n".repeat(10), "what the caller hears");
    assert_eq!(scene.left(), "0 0\n");
}
