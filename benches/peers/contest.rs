//! Contenders that take turns.

use std::time::Duration;

use crate::figures::{Line, Round, Side, Unit};
use crate::options::Options;
use crate::Answer;

/// Whatever can be run for a while.
pub struct Contender<'a> {
    pub name: String,
    run: Box<dyn FnMut(Duration) -> Answer<Round> + 'a>,
}

impl<'a> Contender<'a> {
    pub fn new(name: &str, run: impl FnMut(Duration) -> Answer<Round> + 'a) -> Contender<'a> {
        Contender { name: name.to_owned(), run: Box::new(run) }
    }
}

/// What opens connections, and fills caches.
const WARM: Duration = Duration::from_millis(300);

/// The peer and all of ours in turns, so that what changes on the machine meets all alike.
/// Who fails is left out from then on, and its error is printed.
pub fn contest(
    options: &Options,
    unit: Unit,
    peer: Contender<'_>,
    ours: Vec<Contender<'_>>,
) -> Vec<Line> {
    let mut contenders = vec![peer];
    contenders.extend(ours);
    let mut rounds: Vec<Vec<Round>> = contenders.iter().map(|_| Vec::new()).collect();
    let mut lost: Vec<bool> = contenders.iter().map(|_| false).collect();
    for turn in 0..=options.rounds {
        for (at, contender) in contenders.iter_mut().enumerate() {
            if lost[at] {
                continue;
            }
            match (contender.run)(if turn == 0 { WARM } else { options.length }) {
                Ok(round) if turn > 0 => rounds[at].push(round),
                Ok(_) => {}
                Err(error) => {
                    eprintln!("{}: {error}", contender.name);
                    lost[at] = true;
                }
            }
        }
    }
    let mut sides = contenders.iter().zip(&rounds).zip(&lost).map(|((contender, rounds), lost)| {
        (!lost).then(|| Side::of(&contender.name, unit, rounds))
    });
    let peer = sides.next().flatten();
    sides
        .flatten()
        .map(|ours| Line { row: ours.name.clone(), unit, ours, peer: peer.clone() })
        .collect()
}
