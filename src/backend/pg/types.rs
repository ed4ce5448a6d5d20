//! The types of parameters and columns. Built-in types are known; others are queried, and
//! cached for a while for all backends of a tenant.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use postgres::types::{Kind, Type};

use crate::backend::conversation::Conversation;
use crate::backend::pg::question::NoAnswer;
use crate::backend::sqlstate;
use crate::clock;
use crate::core::text;
use crate::error::{Excess, PgFault};
use crate::pgwire::fault::fault_in;
use crate::pgwire::message::Message;
use crate::pgwire::row::RawRow;
use crate::pgwire::values::{Encoded, Shape};

/// The deepest nesting of types. Most clients accept messages nested 100 deep, and an array
/// takes two levels. Domains can nest types to any depth.
const LEVELS_MAX: usize = 64;
/// The most types cached for a tenant.
const KEPT_MAX: usize = 10_000;
/// How long a type is cached: it may be renamed, or recreated under the same OID.
const KEPT_FOR: Duration = Duration::from_secs(60);

/// A name of PostgreSQL has 63 bytes, unless it was built with longer ones.
const NAME_BYTES: usize = 256;

/// A type's properties.
#[derive(Debug, Clone, PartialEq, Eq)]
struct KnownType {
    name: Arc<str>,
    made_of: MadeOf,
    /// The server has no binary output for it.
    is_text: bool,
}

/// The structure of a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MadeOf {
    Itself,
    Labels,
    /// Of this type.
    Array(u32),
    Vector(u32),
    Domain(u32),
}

/// A type of a statement, resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    pub name: Arc<str>,
    /// How its values are read.
    pub shape: Shape,
    /// Its values are sent as text: the server has no binary output for it.
    pub is_text: bool,
}

/// The types of one tenant. A leaf lock.
#[derive(Debug, Default)]
pub struct Types(Mutex<HashMap<u32, (KnownType, Instant)>>);

/// Built-in types without binary output: `typsend` is 0 for them, or for their elements.
const TEXT_ONLY: [Type; 4] =
    [Type::ACLITEM, Type::ACLITEM_ARRAY, Type::GTS_VECTOR, Type::GTS_VECTOR_ARRAY];

/// Every name in it is qualified with pg_catalog.
const LOOK_UP: &str = "SELECT t.oid, t.typname, t.typtype, t.typelem, t.typbasetype, \
                       t.typsend OPERATOR(pg_catalog.=) 0::pg_catalog.oid \
                       FROM pg_catalog.pg_type t \
                       WHERE t.oid OPERATOR(pg_catalog.=) ANY ($1::pg_catalog.oid[])";

/// The name of the query's prepared statement. The unnamed statement may be the caller's.
const NAME: &str = "connpool.types";

fn built_in(oid: u32) -> Option<KnownType> {
    let kind = Type::from_oid(oid)?;
    let made_of = match kind.kind() {
        Kind::Array(element) if matches!(kind, Type::INT2_VECTOR | Type::OID_VECTOR) => {
            MadeOf::Vector(element.oid())
        }
        Kind::Array(element) => MadeOf::Array(element.oid()),
        Kind::Domain(base) => MadeOf::Domain(base.oid()),
        Kind::Enum(_) => MadeOf::Labels,
        _ => MadeOf::Itself,
    };
    Some(KnownType { name: kind.name().into(), made_of, is_text: TEXT_ONLY.contains(&kind) })
}

impl Types {
    fn lock(&self) -> MutexGuard<'_, HashMap<u32, (KnownType, Instant)>> {
        // The value is consistent at every step, so a poisoned lock is usable.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, oid: u32, now: Instant) -> Option<KnownType> {
        built_in(oid).or_else(|| {
            let types = self.lock();
            let (known, since) = types.get(&oid)?;
            let is_fresh = now.saturating_duration_since(*since) < KEPT_FOR;
            is_fresh.then(|| known.clone())
        })
    }

    fn keep(&self, oid: u32, known: KnownType, now: Instant) {
        let mut types = self.lock();
        if types.len() >= KEPT_MAX {
            types.clear();
        }
        types.insert(oid, (known, now));
    }

    /// Resolves these types; queries those that are not known.
    ///
    /// # Errors
    /// The query failed, or a type is nested too deeply or does not exist; `None` if the
    /// connection is gone.
    pub(super) fn resolve(
        &self,
        oids: &[u32],
        conversation: &mut Conversation,
    ) -> Result<Vec<Resolved>, NoAnswer> {
        let now = clock::now();
        let mut found = HashMap::new();
        let mut wanted: Vec<u32> = oids.to_vec();
        let mut asked = false;
        // Each round queries the parts of the types found in the round before.
        for _ in 0..=LEVELS_MAX {
            wanted.sort_unstable();
            wanted.dedup();
            wanted.retain(|oid| !found.contains_key(oid));
            let mut unknown = Vec::new();
            for oid in &wanted {
                match self.get(*oid, now) {
                    Some(known) => drop(found.insert(*oid, known)),
                    None => unknown.push(*oid),
                }
            }
            if !unknown.is_empty() {
                if !std::mem::replace(&mut asked, true) {
                    conversation.bounds.start_lookups();
                }
                for (oid, known) in look_up(conversation, &unknown)? {
                    self.keep(oid, known.clone(), now);
                    found.insert(oid, known);
                }
            }
            let inner = wanted.iter().map(|oid| match found.get(oid).map(|known| known.made_of) {
                Some(MadeOf::Array(oid) | MadeOf::Vector(oid) | MadeOf::Domain(oid)) => {
                    Ok(Some(oid))
                }
                Some(MadeOf::Itself | MadeOf::Labels) => Ok(None),
                None => Err(Some(Box::new(missing()))),
            });
            let inner: Vec<Option<u32>> = inner.collect::<Result<_, _>>()?;
            wanted = inner.into_iter().flatten().collect();
            if wanted.is_empty() {
                break;
            }
        }
        let one = |oid: &u32| resolved(*oid, &found).ok_or_else(|| Some(Box::new(too_complex())));
        oids.iter().map(one).collect()
    }
}

/// `None`: it is nested too deeply.
fn resolved(oid: u32, found: &HashMap<u32, KnownType>) -> Option<Resolved> {
    let outer = found.get(&oid)?;
    let (mut at, mut around, mut is_text) = (oid, Vec::new(), outer.is_text);
    let mut shape = loop {
        let known = found.get(&at)?;
        is_text |= known.is_text;
        if around.len() >= LEVELS_MAX {
            return None;
        }
        around.push(known.made_of);
        at = match known.made_of {
            MadeOf::Itself => break Shape::Scalar(at),
            MadeOf::Labels => break Shape::Enum(at),
            MadeOf::Array(inner) | MadeOf::Vector(inner) | MadeOf::Domain(inner) => inner,
        };
    };
    for made_of in around.into_iter().rev() {
        shape = match made_of {
            MadeOf::Array(_) => Shape::Array(Box::new(shape)),
            MadeOf::Vector(_) => Shape::Vector(Box::new(shape)),
            MadeOf::Itself | MadeOf::Labels | MadeOf::Domain(_) => shape,
        };
    }
    if is_text {
        shape = Shape::Enum(oid);
    }
    Some(Resolved { name: Arc::clone(&outer.name), shape, is_text })
}

fn look_up(
    conversation: &mut Conversation,
    oids: &[u32],
) -> Result<Vec<(u32, KnownType)>, NoAnswer> {
    let list: Vec<String> = oids.iter().map(u32::to_string).collect();
    let list = Encoded::Text(format!("{{{}}}", list.join(",")).into());
    let out = &mut conversation.out;
    let written = out.close(NAME).and_then(|()| out.parse(NAME, LOOK_UP));
    let written = written.and_then(|()| out.bind(NAME, &[list], &[true; 6]));
    written.and_then(|()| out.execute(0)).map_err(|_| None)?;
    out.sync();
    conversation.send().map_err(|_| None)?;
    let (mut found, mut is_whole) = (Vec::new(), false);
    let mut failed = None;
    loop {
        let excess = match conversation.receive().map_err(|_| None)? {
            Message::Closed | Message::Parsed | Message::Bound => continue,
            Message::Complete(_) => {
                is_whole = true;
                continue;
            }
            Message::Error(fields) => {
                failed = Some(Box::new(fault_in(fields)));
                continue;
            }
            Message::Row(body) => match row(body) {
                Some(known) if found.len() < oids.len() => {
                    found.push(known);
                    continue;
                }
                Some(_) => Excess::OutOfTurn("more types than were asked for"),
                None => Excess::Garbage(b'D'),
            },
            Message::Ready(_) if is_whole || failed.is_some() => {
                return failed.map_or(Ok(found), |fault| Err(Some(fault)));
            }
            _ => Excess::OutOfTurn("in the answer to a look-up of types"),
        };
        conversation.refuse(excess);
        return Err(None);
    }
}

fn row(body: &[u8]) -> Option<(u32, KnownType)> {
    let raw = RawRow::read(body, 6)?;
    let mut values = raw.values().map(|value| std::str::from_utf8(value?).ok());
    let mut next = || values.next().flatten();
    let oid = next()?.parse().ok()?;
    let name = Arc::from(&*text::cut(next()?, NAME_BYTES, char::len_utf8));
    let is_enum = next()? == "e";
    let element = next()?.parse().ok()?;
    let base = next()?.parse().ok()?;
    let is_text = next()? == "t";
    let made_of = match (is_enum, element, base) {
        (true, ..) => MadeOf::Labels,
        (_, 0, 0) => MadeOf::Itself,
        (_, element, 0) => MadeOf::Array(element),
        (.., base) => MadeOf::Domain(base),
    };
    Some((oid, KnownType { name, made_of, is_text }))
}

fn missing() -> PgFault {
    PgFault {
        severity: "ERROR".to_owned(),
        sqlstate: "42704".to_owned(),
        message: "the type is not in pg_catalog.pg_type".to_owned(),
        ..PgFault::default()
    }
}

fn too_complex() -> PgFault {
    PgFault {
        severity: "ERROR".to_owned(),
        sqlstate: sqlstate::TOO_COMPLEX.to_owned(),
        message: format!("the statement needs more than {LEVELS_MAX} levels of types"),
        ..PgFault::default()
    }
}

#[cfg(test)]
mod tests;
