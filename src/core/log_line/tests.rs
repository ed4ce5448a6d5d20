use super::*;
use crate::core::quoted::{Quoted, QUOTED_MAX};
use crate::core::testing::Xorshift;

fn object_of(line: &str) -> String {
    object(&LogHead { ts: "T", level: "info", target: "x::y" }, line)
}

/// The fields of the object behind the head.
fn fields(line: &str) -> String {
    let object = object_of(line);
    let start = "{\"ts\":\"T\",\"level\":\"info\",\"target\":\"x::y\",\"event\":";
    object.strip_prefix(start).expect("the head comes first").to_owned()
}

#[test]
fn the_fields_keep_their_types_and_their_order() {
    assert_eq!(
        fields("event=pool_created tenant=7 server=\"h:1,\\\"g\\\":2\" max=20 idle_s=0.5 tls=true v=1.2.3"),
        "\"pool_created\",\"tenant\":\"7\",\"server\":\"h:1,\\\"g\\\":2\",\"max\":20,\
         \"idle_s\":0.5,\"tls\":true,\"v\":\"1.2.3\"}"
    );
    assert_eq!(fields("event=forced_exit"), "\"forced_exit\"}");
    assert_eq!(fields("event=x n=\"7\""), "\"x\",\"n\":\"7\"}");
}

#[test]
fn a_line_of_another_crate_is_a_message() {
    assert_eq!(fields("broken pipe: k=v"), "\"line\",\"message\":\"broken pipe: k=v\"}");
    assert_eq!(fields(""), "\"line\"}");
    assert_eq!(
        fields("event=backtrace thread=main\n  0: a\n  1: b"),
        "\"backtrace\",\"thread\":\"main\",\"message\":\"0: a\\u000a  1: b\"}"
    );
    assert_eq!(
        fields("event=x message=\"a\" and more"),
        "\"x\",\"message\":\"a\",\"event_message\":\"and more\"}"
    );
}

#[test]
fn no_key_is_there_twice() {
    assert_eq!(
        fields("event=grpc_core level=error a=1 a=2 a=3"),
        "\"grpc_core\",\"event_level\":\"error\",\"a\":1,\"event_a\":2,\"event_event_a\":3}"
    );
}

/// Reads a JSON string at the start of a text; the text, and what comes after it.
fn string(text: &str) -> Option<(String, &str)> {
    let (mut out, mut rest) = (String::new(), text.strip_prefix('"')?.chars());
    loop {
        match rest.next()? {
            '"' => return Some((out, rest.as_str())),
            '\\' => match rest.next()? {
                'u' => {
                    let code: String = rest.by_ref().take(4).collect();
                    out.push(char::from_u32(u32::from_str_radix(&code, 16).ok()?)?);
                }
                c @ ('"' | '\\') => out.push(c),
                _ => return None,
            },
            c if c.is_control() => return None,
            c => out.push(c),
        }
    }
}

/// The members of an object without another one in it; `None` if it is no JSON.
fn members(text: &str) -> Option<Vec<(String, String)>> {
    let (mut all, mut rest) = (Vec::new(), text.strip_prefix('{')?);
    loop {
        let (key, after) = string(rest)?;
        let after = after.strip_prefix(':')?;
        let (value, after) = match string(after) {
            Some(text) => text,
            None => {
                let end = after.find([',', '}'])?;
                is_plain(&after[..end]).then(|| (after[..end].to_owned(), &after[end..]))?
            }
        };
        all.push((key, value));
        match after.strip_prefix(',') {
            Some(more) => rest = more,
            None => return (after == "}").then_some(all),
        }
    }
}

/// Texts of what has a meaning in a line, in JSON or in neither.
fn text(random: &mut Xorshift) -> String {
    const PIECES: [&str; 24] = [
        "\"",
        "\\",
        "\n",
        "\r",
        "\0",
        "\u{1b}[31m",
        "\u{7f}",
        "\u{2028}",
        "\u{202e}",
        "=",
        " ",
        "event=",
        "k=v",
        "k=\"",
        "{",
        "}",
        ",",
        "\\u{",
        "\\u{d800}",
        "ä",
        "語🐘",
        "'",
        "1e9",
        "a",
    ];
    let length = random.below(12);
    (0..length).map(|_| PIECES[random.below(PIECES.len() as u64) as usize]).collect()
}

#[test]
fn a_value_comes_back_as_it_was_whatever_it_holds() {
    let mut random = Xorshift::new(11);
    for _ in 0..20_000 {
        let (one, two) = (text(&mut random), text(&mut random));
        assert!(one.len() < QUOTED_MAX);
        let line = format!("event=x one={} n=5 two={}", Quoted(&one), Quoted(&two));
        let object = object_of(&line);
        let members = members(&object).unwrap_or_else(|| panic!("{line:?} is no JSON: {object}"));
        let own: Vec<(&str, &str)> =
            members.iter().skip(4).map(|(key, value)| (key.as_str(), value.as_str())).collect();
        assert_eq!(own, [("one", &*one), ("n", "5"), ("two", &*two)], "{line:?}");
    }
}

#[test]
fn every_line_is_one_object_whatever_it_is() {
    let mut random = Xorshift::new(12);
    for _ in 0..20_000 {
        let start = ["", "event=x ", "event=", "event=\"", "x"][random.below(5) as usize];
        let line = format!("{start}{}", text(&mut random));
        let object = object_of(&line);
        let members = members(&object).unwrap_or_else(|| panic!("{line:?} is no JSON: {object}"));
        let keys: BTreeSet<&str> = members.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(keys.len(), members.len(), "{line:?}: {object}");
        assert!(!object.contains('\n'), "{object}");
    }
}
