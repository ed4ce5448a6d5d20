//! The figures as JSON, for who compares runs.

use std::fmt::Write as _;

use crate::figures::{Line, Promise, Side};
use crate::process::Cpu;

/// One object; `about` says what was measured where.
pub fn document(about: &[(&str, String)], lines: &[Line], promises: &[Promise]) -> String {
    let mut text = "{\n".to_owned();
    for (name, value) in about {
        let _ = writeln!(text, "  {}: {},", quoted(name), quoted(value));
    }
    let lines: Vec<String> = lines.iter().map(line).collect();
    let promises: Vec<String> = promises.iter().map(promise).collect();
    let _ = writeln!(text, "  \"rows\": [\n{}\n  ],", lines.join(",\n"));
    let _ = writeln!(text, "  \"promises\": [\n{}\n  ]\n}}", promises.join(",\n"));
    text
}

fn line(line: &Line) -> String {
    let peer = line.peer.as_ref().map_or("null".to_owned(), side);
    let ratio = line.ratio().map_or("null".to_owned(), number);
    format!(
        "    {{\"row\": {}, \"unit\": {}, \"ratio\": {ratio}, \"ours\": {}, \"peer\": {peer}}}",
        quoted(&line.row),
        quoted(line.unit.text()),
        side(&line.ours)
    )
}

fn side(side: &Side) -> String {
    let values: Vec<String> = side.values.iter().map(|value| number(*value)).collect();
    let cpu = side.cpu.map_or("null".to_owned(), cpu);
    let quantiles = side.quantiles.map_or("null".to_owned(), |(half, most)| {
        format!("{{\"p50\": {}, \"p99\": {}}}", number(half), number(most))
    });
    format!(
        "{{\"name\": {}, \"median\": {}, \"rounds\": [{}], \"cpu_us\": {cpu}, \
         \"call_us\": {quantiles}, \"failed\": {}}}",
        quoted(&side.name),
        number(side.median()),
        values.join(", "),
        side.failed
    )
}

fn cpu(cpu: Cpu) -> String {
    format!(
        "{{\"client\": {}, \"service\": {}, \"postgres\": {}, \"pgbouncer\": {}}}",
        number(cpu.client),
        number(cpu.service),
        number(cpu.postgres),
        number(cpu.pgbouncer)
    )
}

fn promise(promise: &Promise) -> String {
    let (text, seen) = (quoted(promise.text), quoted(&promise.seen));
    format!("    {{\"promise\": {text}, \"met\": {}, \"seen\": {seen}}}", promise.met)
}

/// JSON has no word for what is no number.
fn number(value: f64) -> String {
    if value.is_finite() {
        format!("{value:.3}")
    } else {
        "null".to_owned()
    }
}

fn quoted(text: &str) -> String {
    let mut out = "\"".to_owned();
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out + "\""
}
