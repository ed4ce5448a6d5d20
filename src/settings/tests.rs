use std::time::Duration;

use super::file::{parse, read, FILE_MAX_BYTES};
use super::*;

fn faults_of(text: &str, read: impl Fn(&mut Table, &mut SettingFaults)) -> String {
    match parse("x.toml", text) {
        Err(faults) => faults.to_string(),
        Ok(mut root) => {
            let mut faults = SettingFaults::default();
            read(&mut root, &mut faults);
            root.finish(&mut faults);
            faults.to_string()
        }
    }
}

#[test]
fn every_value_knows_its_key_and_its_line() {
    let text = "port = 1\n\n[pool]\nsize = 2\n\"wait\" =\\\n 3\n".replace("\\\n", "");
    let mut root = parse("x.toml", &text).unwrap();
    let port = root.take("port").unwrap().unwrap();
    assert_eq!((port.key.as_str(), port.origin.to_string()), ("port", "x.toml:1".into()));
    let mut pool = root.take_table("pool").unwrap().unwrap();
    assert_eq!(pool.origin.to_string(), "x.toml:3");
    let size = pool.take("size").unwrap().unwrap();
    assert_eq!((size.key.as_str(), size.origin.to_string()), ("pool.size", "x.toml:4".into()));
    assert_eq!(pool.take("wait").unwrap().unwrap().origin.to_string(), "x.toml:5");
    assert!(pool.take("absent").unwrap().is_none());
}

#[test]
fn of_many_faults_some_are_shown_and_all_are_counted() {
    let text: String = (0..50_000).map(|n| format!("k{n}=1\n")).collect();
    let said = faults_of(&text, |_, _| ());
    assert_eq!(said.lines().count(), 21);
    assert!(said.ends_with("\nand 49980 more"), "{said}");
    let said = faults_of(&format!("{} = 1", "k".repeat(500_000)), |_, _| ());
    assert_eq!(said, format!("{}… (x.toml:1) is not known", "k".repeat(100)));
}

#[test]
fn a_key_that_nobody_took_is_an_error_with_what_is_allowed() {
    let said = faults_of("prot = 1\n[tables]\nx = 1\n", |root, _| {
        assert!(root.take("port").unwrap().is_none());
        assert!(root.take("listen").unwrap().is_none());
    });
    assert_eq!(
        said,
        "prot (x.toml:1) is not known; did you mean port? (allowed here: listen, port)\n\
         tables (x.toml:2) is not known (allowed here: listen, port)"
    );
}

#[test]
fn what_is_not_toml_names_its_line_and_shows_nothing() {
    for (text, line) in
        [("a = 1\nb = \"secret", 2), ("a = \"secret\" secret", 1), ("a = secret", 1), ("\0", 1)]
    {
        let said = faults_of(text, |root, _| drop(root.take("a")));
        assert!(said.starts_with(&format!("x.toml:{line}: ")), "{text:?}: {said}");
        assert!(!said.contains("secret"), "{said}");
    }
    for text in ["a = 1\na = \"secret\"", "[a]\n[a]"] {
        let said = faults_of(text, |root, _| drop(root.take("a")));
        assert_eq!(said, "a (x.toml:2) must not be there twice");
    }
    let deep = format!("a = {}1{}", "[".repeat(10_000), "]".repeat(10_000));
    assert!(faults_of(&deep, |_, _| {}).starts_with("x.toml:1: "));
    assert!(faults_of("a = 99999999999999999999", |_, _| {}).contains("64 bits"));
    assert!(faults_of("a = [1, {b = 1}]", |_, _| {}).contains("must not mix"));
}

#[test]
fn a_table_is_no_value_and_a_value_no_table() {
    let said = faults_of("a = 1\n[b]\n[[c]]\nd = 1\n[[c]]\n", |root, faults| {
        faults.keep(root.take_table("a"));
        faults.keep(root.take("b"));
        let tables = faults.keep(root.take_tables("c")).unwrap();
        assert_eq!(tables.len(), 2);
        assert_eq!(tables[1].origin.to_string(), "x.toml:5");
    });
    assert_eq!(said, "a (x.toml:1) must be a table\nb (x.toml:2) must be a value, and is a table");
}

#[test]
fn tables_have_names_of_the_writers_own() {
    let mut root = parse("x.toml", "[t.one]\n[t.\"two.x\"]\n[t]\nthree = 1\n").unwrap();
    let named = root.take_table("t").unwrap().unwrap().into_named();
    let names: Vec<&str> = named.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["one", "three", "two.x"]);
    assert_eq!(named[0].1.as_ref().unwrap().key, "t.one");
    let fault = named[1].1.as_ref().unwrap_err();
    assert_eq!(fault.to_string(), "t.three (x.toml:4) must be a table");
}

fn text(value: &str) -> SettingValue {
    SettingValue::text_of("key", value, Origin::Variable("VAR".into()))
}

#[test]
fn a_reader_takes_what_is_allowed_from_texts_and_typed_values() {
    let typed = |content| SettingValue { key: "key".into(), content, origin: Origin::Default };
    assert_eq!(text("7").number(1..=9), Ok(7));
    assert_eq!(typed(Content::Integer(7)).number(1..=9), Ok(7));
    assert_eq!(text("on").boolean(), Ok(true));
    assert_eq!(typed(Content::Boolean(false)).boolean(), Ok(false));
    assert_eq!(text("0.5").fraction(0.0..=1.0), Ok(0.5));
    let day = Duration::ZERO..=Duration::from_secs(86_400);
    assert_eq!(text("1m30s").duration(day.clone()), Ok(Duration::from_secs(90)));
    assert_eq!(typed(Content::Integer(5)).duration(day), Ok(Duration::from_secs(5)));
    assert_eq!(text("4KiB").bytes(0..=8192), Ok(4096));
    assert_eq!(text("b").choice(&[("a", 1), ("b", 2)]), Ok(2));
    assert_eq!(text("a, b").texts(), Ok(vec!["a".into(), "b".into()]));
    assert_eq!(text("").texts(), Ok(Vec::new()));
}

#[test]
fn a_reader_says_what_is_allowed() {
    let day = Duration::ZERO..=Duration::from_secs(86_400);
    let said = |fault: SettingFault| fault.to_string();
    for (fault, expected) in [
        (text("x").number(1..=9).map_err(said), "must be an integer from 1 to 9, and is \"x\""),
        (text("10").number(1..=9).map_err(said), "must be an integer from 1 to 9, and is \"10\""),
        (text("-1").number(0..=u64::MAX).map_err(said), "must be an integer, and is \"-1\""),
        (text("0").number(1..=u64::MAX).map_err(said), "must be an integer greater than 0"),
    ] {
        let fault = fault.unwrap_err();
        assert!(fault.starts_with("key (VAR) ") && fault.contains(expected), "{fault}");
    }
    assert!(text("maybe").boolean().is_err_and(|it| said(it).contains("true or false")));
    assert!(text("NaN").fraction(0.0..=1.0).is_err_and(|it| said(it).contains("from 0 to 1")));
    assert!(text("2d").duration(day).is_err_and(|it| said(it).contains("from 0 s to 86400 s")));
    assert!(text("1MB").bytes(1..=9).is_err_and(|it| said(it).contains("512MiB, from 1 to 9")));
    let one = text("c").choice(&[("a", 1), ("b", 2)]);
    assert!(one.is_err_and(|it| said(it).ends_with("must be a or b, and is \"c\"")));
    let number = SettingValue { content: Content::Integer(1), ..text("") };
    // It may be a secret.
    assert!(number.text().is_err_and(|it| said(it).ends_with("and is an integer")));
}

#[test]
fn no_debug_shows_a_value() {
    let root = parse("x.toml", "password = \"hunter2\"\nlist = [\"hunter2\"]").unwrap();
    assert!(!format!("{root:?}").contains("hunter2"));
}

#[test]
fn a_file_that_is_none_or_is_too_long_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.toml");
    let said = |path: &std::path::Path| read(path).map(drop).unwrap_err().to_string();
    assert!(said(&path).contains("cannot be read"));
    assert!(said(dir.path()).contains("must be a regular file"));
    std::fs::write(&path, "#".repeat(FILE_MAX_BYTES as usize)).unwrap();
    assert!(read(&path).is_ok());
    std::fs::write(&path, "#".repeat(FILE_MAX_BYTES as usize + 1)).unwrap();
    assert!(said(&path).contains("not be longer than 1048576 bytes"));
    std::fs::write(&path, b"a = \"\xff\"").unwrap();
    assert!(said(&path).contains("UTF-8"));
}
