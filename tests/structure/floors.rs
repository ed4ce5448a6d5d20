//! Floors inside the large rooms: a file names its own floor and those below.

use std::collections::BTreeSet;

use crate::rings::{arrows, room};
use crate::{assert_none, sources};

/// A large room, and what lies on each of its floors, from the top.
const ROOMS: &[(&str, &[&[&str]])] = &[
    (
        "rpc",
        &[
            &["mod", "server", "credentials", "bind_error", "excess_calls"],
            &["services"],
            &["calls"],
            &["convert"],
            &["streams", "descriptors"],
        ],
    ),
    (
        "pool",
        &[
            // What can be done, and what can be shown.
            &["admin", "report", "state_writer"],
            &["service"],
            // What one request does.
            &["one_shot", "on_lease", "stream", "retries", "grant", "snapshot"],
            &["registry"],
            &["tenant"],
            &["leases", "listen", "line"],
            &["job", "busy"],
            &["work"],
            &["checkout"],
            // The backends of one tenant.
            &["backends"],
            &["account"],
            &["context"],
            &["store", "manager", "breaker", "open_backends", "numbers", "servers"],
            &["waiting_room", "memory", "caller", "requests", "peers"],
            // What knows nothing else of the pool.
            &["access", "acquainted", "ask", "conversions", "identity", "keeping", "mod", "port"],
            &["lease_log_line", "rates", "reloading", "serving", "tools"],
        ],
    ),
    (
        "backend",
        &[
            &["connect", "statement_result"],
            &["pg"],
            &["session"],
            &["cancel"],
            &["handshake", "dsn_reach", "lent", "tls"],
            // Bytes between here and PostgreSQL.
            &["conversation", "classify", "copy", "logins", "cert_files", "resolve", "login"],
            &["stream", "lookups", "resource_exhaustion", "startup", "refusal", "timed"],
            // Words.
            &[
                "statement",
                "arrival",
                "mod",
                "notice",
                "listen",
                "target_session",
                "decoy",
                "door",
                "sqlstate",
            ],
        ],
    ),
];

#[test]
fn inside_a_room_imports_go_down_only() {
    let arrows = arrows();
    let mut found = Vec::new();
    for (folder, floors) in ROOMS {
        let floor = |part: &str| floors.iter().position(|floor| floor.contains(&part));
        let mut down = 0;
        for (file, to) in &arrows {
            let Some(own) = room(file, folder) else { continue };
            let Some(from) = floor(own) else {
                found.push(format!("src/{file}: {own} is on no floor of {folder}"));
                continue;
            };
            for other in to {
                let Some(floor) = room(other, folder).and_then(floor) else { continue };
                down += usize::from(floor > from);
                if floor < from {
                    found.push(format!("src/{file} must not name src/{other}, which is above it"));
                }
            }
        }
        assert!(down > 5, "{folder}: this test looks wrongly");
    }
    assert_none(&found);
}

#[test]
fn a_large_room_is_named_by_one_path_a_line() {
    // A list in braces would hide its arrows from these tests.
    let rooms: BTreeSet<&str> = ROOMS.iter().map(|(folder, _)| *folder).collect();
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
