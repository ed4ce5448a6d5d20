//! DSNs that requests bring. Most bring one that came before, and its text is parsed once.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use crate::config::dsn::{Dsn, DsnError, HostPort};
use crate::lock::Leaf;
use crate::pool::identity::Fingerprint;

/// So many texts are remembered at least, and twice as many at most.
const REMEMBERED: usize = 500;
/// Texts that may take more bytes are parsed each time: all that is remembered takes 3 MiB at most.
const REMEMBERED_BYTES: usize = 3 << 10;
/// A text takes so often its length at most: itself, its values in strings that may have grown to
/// twice as much, and its user as the name of the database.
const COPIES: usize = 4;
/// A place in the list of hosts, which may have grown to twice as many, and a short name's block.
const HOST_BYTES: usize = 2 * size_of::<HostPort>() + BLOCK_BYTES;
/// A setting's place in a tree whose nodes may be half full, and the blocks of two short texts.
const PARAMETER_BYTES: usize = 5 * size_of::<String>() + 2 * BLOCK_BYTES;
/// The least that the allocator takes.
const BLOCK_BYTES: usize = 32;
/// An entry itself, and its place in a table that may be half empty.
const ENTRY_BYTES: usize = size_of::<GivenDsn>() + 2 * size_of::<(u64, (Box<str>, usize))>();

/// A DSN that a request brought.
pub struct GivenDsn {
    dsn: Dsn,
    /// What tells it from others, once somebody has asked.
    pub(super) digest: OnceLock<Fingerprint>,
}

/// The DSNs that came last, each by the host that brought it. Were they shared, the time that a
/// request takes would tell a guesser that somebody uses this DSN.
#[derive(Default)]
pub struct GivenDsns {
    /// Its key is secret, so nobody can bring two texts that it does not tell apart.
    hasher: RandomState,
    recent: Leaf<RecentDsns>,
}

/// Those that one host brings.
pub struct HostDsns<'a> {
    all: &'a GivenDsns,
    host: &'a str,
}

type DsnsByHash = HashMap<u64, (Box<str>, Arc<GivenDsn>)>;

/// What was asked for since they were last exchanged, and what was before.
#[derive(Default)]
struct RecentDsns {
    young: DsnsByHash,
    old: DsnsByHash,
}

impl Deref for GivenDsn {
    type Target = Dsn;

    fn deref(&self) -> &Dsn {
        &self.dsn
    }
}

impl From<Dsn> for GivenDsn {
    fn from(dsn: Dsn) -> GivenDsn {
        GivenDsn { dsn, digest: OnceLock::new() }
    }
}

impl GivenDsns {
    /// Those of the client at this address, as gRPC writes it.
    pub fn of<'a>(&'a self, address: &'a str) -> HostDsns<'a> {
        let host = address.rsplit_once(':').map_or(address, |(host, _port)| host);
        HostDsns { all: self, host }
    }
}

impl HostDsns<'_> {
    /// The DSN with this text.
    ///
    /// # Errors
    /// Those of `Dsn::parse`.
    pub fn parse(&self, text: &str) -> Result<Arc<GivenDsn>, DsnError> {
        if COPIES * text.len() > REMEMBERED_BYTES {
            return Ok(Arc::new(Dsn::parse(text)?.into()));
        }
        let GivenDsns { hasher, recent } = self.all;
        let hash = hasher.hash_one((self.host, text));
        let known = recent.lock().find(hash, text);
        if let Some(dsn) = known {
            return Ok(dsn);
        }
        let dsn = Arc::new(GivenDsn::from(Dsn::parse(text)?));
        if most_bytes(text, &dsn) > REMEMBERED_BYTES {
            return Ok(dsn);
        }
        let entry = (Box::from(text), Arc::clone(&dsn));
        let forgotten = recent.lock().put(hash, entry);
        drop(forgotten);
        Ok(dsn)
    }
}

/// What it takes at most to remember this text.
fn most_bytes(text: &str, dsn: &Dsn) -> usize {
    let lists = dsn.hosts.len() * HOST_BYTES + dsn.parameters.len() * PARAMETER_BYTES;
    ENTRY_BYTES + COPIES * text.len() + lists
}

impl RecentDsns {
    fn find(&mut self, hash: u64, text: &str) -> Option<Arc<GivenDsn>> {
        if let Some((known, dsn)) = self.young.get(&hash) {
            return (**known == *text).then(|| Arc::clone(dsn));
        }
        // Its place is among the young again, if there is room.
        let (known, _) = self.old.get(&hash)?;
        if **known != *text {
            return None;
        }
        if self.young.len() >= REMEMBERED {
            return self.old.get(&hash).map(|(_, dsn)| Arc::clone(dsn));
        }
        let entry = self.old.remove(&hash)?;
        let dsn = Arc::clone(&entry.1);
        self.young.insert(hash, entry);
        Some(dsn)
    }

    /// Returns what is forgotten, to be dropped without the lock.
    fn put(&mut self, hash: u64, entry: (Box<str>, Arc<GivenDsn>)) -> Option<DsnsByHash> {
        let full = self.young.len() >= REMEMBERED;
        let young = full.then(|| std::mem::take(&mut self.young));
        let forgotten = young.map(|young| std::mem::replace(&mut self.old, young));
        self.young.insert(hash, entry);
        forgotten
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: &str = "ipv4:192.0.2.1:7";

    fn text(n: usize) -> String {
        format!("host=h{n} user=u password=p")
    }

    #[test]
    fn a_text_that_came_before_is_not_parsed_again() {
        let all = GivenDsns::default();
        let dsns = all.of(HERE);
        let first = dsns.parse(&text(1)).unwrap();
        assert_eq!(first.hosts, Dsn::parse(&text(1)).unwrap().hosts);
        assert!(Arc::ptr_eq(&first, &dsns.parse(&text(1)).unwrap()));
        // Another spelling of the same DSN is another text.
        let same = dsns.parse("postgres://u:p@h1").unwrap();
        assert!(!Arc::ptr_eq(&first, &same) && **same == **first);
        assert!(dsns.parse(&text(2)).unwrap().hosts != first.hosts);
        // A host has several connections, and none of those of another.
        assert!(Arc::ptr_eq(&first, &all.of("ipv4:192.0.2.1:8").parse(&text(1)).unwrap()));
        for other in ["ipv4:192.0.2.11:7", "ipv6:%5B2001:db8::1%5D:7", "unix:", ""] {
            assert!(!Arc::ptr_eq(&first, &all.of(other).parse(&text(1)).unwrap()), "{other}");
        }
    }

    #[test]
    fn what_cannot_be_parsed_and_what_is_long_are_not_remembered() {
        let all = GivenDsns::default();
        let dsns = all.of(HERE);
        for _ in 0..2 {
            assert!(dsns.parse("host=h").is_err());
        }
        // Some take many times their length.
        let hosts = vec!["h"; 32].join(",");
        let parameters = ('a'..='z').map(|name| format!(" a.{name}=1")).collect::<String>();
        for large in [
            format!("{} application_name={}", text(1), "a".repeat(REMEMBERED_BYTES / COPIES)),
            format!("host=h user={}", "u".repeat(REMEMBERED_BYTES / COPIES - 100)),
            format!("host={hosts} user=u"),
            format!("host=h user=u{parameters}"),
        ] {
            let [first, second] = [(); 2].map(|()| dsns.parse(&large).unwrap());
            assert!(**first == **second && !Arc::ptr_eq(&first, &second), "{large}");
        }
        assert!(all.recent.lock().young.is_empty());
    }

    #[test]
    fn what_is_used_stays_and_the_rest_is_forgotten() {
        let all = GivenDsns::default();
        let dsns = all.of(HERE);
        let [used, unused] = ["host=used user=u", "host=unused user=u"];
        let [first, forgotten] = [used, unused].map(|text| dsns.parse(text).unwrap());
        for n in 0..5 * REMEMBERED {
            dsns.parse(&text(n)).unwrap();
            assert!(Arc::ptr_eq(&first, &dsns.parse(used).unwrap()), "{n}");
            let recent = all.recent.lock();
            assert!(recent.young.len() <= REMEMBERED && recent.old.len() <= REMEMBERED);
        }
        assert!(!Arc::ptr_eq(&forgotten, &dsns.parse(unused).unwrap()));
    }

    #[test]
    fn a_text_with_the_hash_of_another_is_not_that() {
        let mut recent = RecentDsns::default();
        let given = |text: &str| Arc::new(GivenDsn::from(Dsn::parse(text).unwrap()));
        recent.put(7, (Box::from("host=h user=u"), given("host=h user=u")));
        assert!(recent.find(7, "host=h user=v").is_none());
        assert!(recent.find(7, "host=h user=u").is_some());
        recent.old = std::mem::take(&mut recent.young);
        assert!(recent.find(7, "host=h user=v").is_none());
        assert!(recent.find(7, "host=h user=u").is_some());
    }
}
