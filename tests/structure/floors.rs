//! Floors inside the large rooms: a file names its own floor and those below.

use std::collections::BTreeSet;

use crate::rings::arrows;
use crate::{assert_none, sources};

/// A room, and what lies on each of its floors, from the top.
const ROOMS: &[(&str, &[&[&str]])] = &[(
    "rpc",
    &[
        &["mod", "server", "credentials", "bind_error", "excess_calls"],
        &["services"],
        &["calls"],
        &["convert"],
        &["streams", "descriptors"],
    ],
)];

/// The part of a room that a file is in: `calls` of `rpc/calls/reply.rs` in `rpc`.
fn part<'a>(file: &'a str, room: &str) -> Option<&'a str> {
    let inside = file.strip_prefix(room)?.strip_prefix('/')?;
    let end = inside.find(['/', '.'])?;
    Some(&inside[..end])
}

#[test]
fn inside_a_room_imports_go_down_only() {
    let arrows = arrows();
    let mut found = Vec::new();
    for (room, floors) in ROOMS {
        let floor = |part: &str| floors.iter().position(|floor| floor.contains(&part));
        let mut down = 0;
        for (file, to) in &arrows {
            let Some(own) = part(file, room) else { continue };
            let Some(from) = floor(own) else {
                found.push(format!("src/{file}: {own} is on no floor of {room}"));
                continue;
            };
            for other in to {
                let Some(floor) = part(other, room).and_then(floor) else { continue };
                down += usize::from(floor > from);
                if floor < from {
                    found.push(format!("src/{file} must not name src/{other}, which is above it"));
                }
            }
        }
        assert!(down > 5, "{room}: this test looks wrongly");
    }
    assert_none(&found);
}

#[test]
fn a_large_room_is_named_by_one_path_a_line() {
    // A list in braces would hide its arrows from these tests.
    let rooms: BTreeSet<&str> = ROOMS.iter().map(|(room, _)| *room).collect();
    let mut found = Vec::new();
    for source in sources().iter().filter(|source| rooms.contains(source.module())) {
        for (number, line) in source.numbered() {
            if line.contains(&format!("crate::{}::{{", source.module())) {
                found.push(format!("src/{}:{number}: name one path a line", source.name));
            }
        }
    }
    assert_none(&found);
}
