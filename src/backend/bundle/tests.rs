use super::*;

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![kind];
    out.extend((body.len() as u32 + 4).to_be_bytes());
    out.extend_from_slice(body);
    out
}

/// Bundled in pieces of `size` bytes, as messages.
fn bundled(bundling: Bundling, bytes: &[u8], size: usize) -> Vec<(u8, Vec<u8>)> {
    let mut plan = Plan { bundling, ..Plan::default() };
    planned(&mut plan, bytes, size)
}

fn planned(plan: &mut Plan, bytes: &[u8], size: usize) -> Vec<(u8, Vec<u8>)> {
    let (mut bundler, mut out) = (Bundler::default(), Vec::new());
    bytes.chunks(size).for_each(|piece| bundler.bundle(plan, piece, &mut out));
    let (mut messages, mut rest) = (Vec::new(), out.as_slice());
    while let Some(length) = length(rest) {
        messages.push((rest[0], rest[HEADER..1 + length].to_vec()));
        rest = &rest[1 + length..];
    }
    assert!(rest.is_empty());
    messages
}

/// Messages in which rows and data stand among others, some of them empty.
fn conversation() -> Vec<(u8, Vec<u8>)> {
    let body = |n: u8| vec![b'D'; usize::from(n) * 7];
    let kinds = b"2DDDNDDddddNdCZ".iter().zip(0..);
    kinds.map(|(kind, n)| (*kind, body(if *kind == b'N' { 0 } else { n }))).collect()
}

fn bytes(messages: &[(u8, Vec<u8>)]) -> Vec<u8> {
    messages.iter().flat_map(|(kind, body)| message(*kind, body)).collect()
}

#[test]
fn without_bundling_every_byte_stays_as_it_is() {
    let said = conversation();
    let rows: Vec<_> = said.iter().filter(|(kind, _)| *kind != b'd').cloned().collect();
    for size in [1, 3, 10, 10_000] {
        assert_eq!(bundled(Bundling::None, &bytes(&rows), size), rows);
    }
}

#[test]
fn bundles_come_apart_into_the_rows_in_their_place() {
    let rows = conversation().into_iter().filter(|(kind, _)| *kind != b'd');
    let rows: Vec<_> = rows.collect();
    for columns in [1, 3] {
        for size in [1, 2, 3, 5, 7, 19, 64, 10_000] {
            let mut apart = Vec::new();
            for (kind, body) in bundled(Bundling::Rows(columns), &bytes(&rows), size) {
                if kind != b'D' {
                    apart.push((kind, body));
                    continue;
                }
                let nulls = 4 * (columns - 1);
                assert_eq!(body[..2], (columns as u16).to_be_bytes());
                assert!(body[2..2 + nulls].iter().all(|byte| *byte == 0xff));
                let content = &body[2 + nulls + 4..];
                assert_eq!(body[2 + nulls..][..4], (content.len() as u32).to_be_bytes());
                apart.extend(unbundle(content).map(|row| (b'D', row.to_vec())));
            }
            assert_eq!(apart, rows, "{columns} columns, pieces of {size}");
        }
    }
}

#[test]
fn rows_of_one_read_are_one_and_those_that_are_whole_do_not_wait() {
    let mut rows = bytes(&[(b'D', vec![1; 20]), (b'D', vec![2; 20])]);
    let (mut bundler, mut out) = (Bundler::default(), Vec::new());
    let mut plan = Plan { bundling: Bundling::Rows(1), ..Plan::default() };
    bundler.bundle(&mut plan, &rows, &mut out);
    assert_eq!(length(&out), Some(out.len() - 1));
    assert_eq!(out.len(), rows.len() + 11);
    out.clear();
    rows.extend(message(b'D', &[3; 20]));
    bundler.bundle(&mut plan, &rows[..rows.len() - 5], &mut out);
    assert_eq!(length(&out), Some(50 + 10));
}

#[test]
fn data_is_joined_between_other_messages() {
    let said = conversation();
    let joined = |size| {
        let messages = bundled(Bundling::Data, &bytes(&said), size).into_iter();
        messages.filter(|(kind, _)| *kind == b'd' || *kind == b'N').collect::<Vec<_>>()
    };
    let kinds = |messages: &[(u8, Vec<u8>)]| messages.iter().map(|m| m.0).collect::<Vec<_>>();
    assert_eq!(kinds(&joined(10_000)), b"NdNd");
    let content = |messages: &[(u8, Vec<u8>)]| {
        messages.iter().flat_map(|(_, body)| body.clone()).collect::<Vec<_>>()
    };
    let whole: Vec<_> = said.iter().filter(|(kind, _)| *kind == b'd').cloned().collect();
    for size in [1, 4, 9, 33, 10_000] {
        assert_eq!(content(&joined(size)), content(&whole), "{size}");
    }
}

/// A message of this length without its body, which counts as sent.
fn announced(kind: u8, body: usize) -> Vec<u8> {
    let mut out = Vec::new();
    head(kind, body, &mut out);
    out
}

#[test]
fn data_passes_in_pieces_however_long_it_is_and_whatever_is_bundled() {
    let mut bundler = Bundler::default();
    for bundling in [Bundling::None, Bundling::Data, Bundling::Rows(2)] {
        let mut plan = Plan { bundling, ..Plan::default() };
        let mut out = Vec::new();
        bundler.bundle(&mut plan, &announced(b'd', 1000 << 20), &mut out);
        assert!(out.is_empty());
        for _ in 0..1000 << 8 {
            out.clear();
            bundler.bundle(&mut plan, &[7; 4096], &mut out);
            assert_eq!(out.len(), 4096 + HEADER);
        }
        out.clear();
        let ready = message(b'Z', b"I");
        bundler.bundle(&mut plan, &ready, &mut out);
        assert_eq!(out, ready);
    }
}

#[test]
fn of_a_row_that_is_too_long_only_its_length_passes() {
    let (before, after) = (message(b'D', &[1; 9]), message(b'C', b"SELECT 2\0"));
    let long = announced(b'D', 100 << 20);
    for cut in 0..long.len() {
        for columns in [0, 1, 3] {
            let (mut bundler, mut out) = (Bundler::default(), Vec::new());
            let mut plan = Plan { bundling: Bundling::rows(columns), ..Plan::default() };
            bundler.bundle(&mut plan, &before, &mut out);
            out.clear();
            bundler.bundle(&mut plan, &long[..cut], &mut out);
            bundler.bundle(&mut plan, &long[cut..], &mut out);
            for _ in 0..100 << 4 {
                // It is told when it is over, so that nobody is in a hurry before.
                assert!(out.is_empty());
                bundler.bundle(&mut plan, &[9; 64 << 10], &mut out);
            }
            let marker = if columns > 0 { HEADER + 2 + 4 * columns + LENGTH } else { 0 };
            assert_eq!(out.len(), marker);
            let content = out.len().saturating_sub(LENGTH);
            assert_eq!(too_long(&out[content..]).is_some(), columns > 0);
            out.clear();
            bundler.bundle(&mut plan, &after, &mut out);
            assert_eq!(out, after);
        }
    }
    assert_eq!(too_long(&[0, 0, 1, 2]), Some(258));
    assert_eq!(too_long(&before), None);
}

#[test]
fn notifications_pass_only_where_they_are_heard() {
    let said = [(b'A', vec![1; 30]), (b'N', vec![2; 9]), (b'A', vec![]), (b'Z', vec![b'I'])];
    let bytes = bytes(&said);
    for size in 1..bytes.len() {
        for hears in [false, true] {
            let heard = planned(&mut Plan { hears, ..Plan::default() }, &bytes, size);
            let expected = said.iter().filter(|(kind, _)| hears || *kind != b'A');
            assert!(heard.iter().eq(expected), "{size}");
        }
    }
}

#[test]
fn notices_beyond_their_limit_are_dropped() {
    let bytes = message(b'N', &[1; 9]).repeat(NOTICES_MAX + 5);
    for size in [1, 13, 4096] {
        let mut plan = Plan::default();
        assert_eq!(planned(&mut plan, &bytes, size).len(), NOTICES_MAX);
    }
}

#[test]
fn look_ups_beyond_their_limit_find_nothing() {
    let lookup = [(b'2', vec![]), (b'D', vec![3; 40]), (b'C', b"SELECT 1\0".to_vec())];
    let bytes = bytes(&lookup).repeat(LOOKUPS_MAX + 10);
    let found = |plan: &mut Plan, size| {
        let said = planned(plan, &bytes, size);
        said.iter().filter(|(kind, _)| *kind == b'D').count()
    };
    for size in [1, 7, 61, 4096] {
        let mut plan = Plan { bundling: Bundling::Lookups, ..Plan::default() };
        assert_eq!(found(&mut plan, size), LOOKUPS_MAX);
        assert_eq!(plan.lookups, LOOKUPS_MAX + 10);
        assert_eq!(found(&mut Plan::default(), size), LOOKUPS_MAX + 10);
    }
}

#[test]
fn impossible_lengths_reach_the_driver_as_they_are() {
    for length in [0u8, 3] {
        let bytes = [b'D', 0, 0, 0, length, b'd', 0, 0, 0, length];
        for bundling in [Bundling::None, Bundling::Rows(2), Bundling::Data] {
            let (mut bundler, mut out) = (Bundler::default(), Vec::new());
            let mut plan = Plan { bundling, ..Plan::default() };
            bundler.bundle(&mut plan, &bytes, &mut out);
            assert_eq!(out, bytes);
        }
    }
    assert_eq!(unbundle(&[b'D', 0, 0, 0, 0, 1]).count(), 0);
    assert_eq!(unbundle(&[b'D', 0, 0, 0, 9, 1]).count(), 0);
}
