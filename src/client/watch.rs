//! Hears from servers whether they serve, by `grpc.health.v1.Health/Watch`: one stream for each
//! address, on a connection of its own, because a server may allow one stream a connection.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::{abortable, AbortHandle};
use futures_util::StreamExt;
use grpcio::{CallOption, ClientSStreamReceiver, Method};

use super::bell::KeeperBell;
use super::channel::{ChannelState, Link};
use super::config::ServiceConfig;
use super::lineup::{Pauses, Word};
use super::probe::{health_request, serves, shows_life};
use super::raw::raw;
use super::runtime::Runtime;
use crate::core::backoff;
use crate::lock::Leaf;

/// A server that knows no such method is asked again after so long: it may be another one then.
const SELDOM: Duration = Duration::from_secs(600);

/// By that much each pause is longer than the one before.
const FACTOR: f64 = 1.6;

/// The streams of one pool.
pub(super) struct Watcher {
    method: Method<Vec<u8>, Vec<u8>>,
    request: Vec<u8>,
    /// A stream that was lost is begun again after so long: the first time, and at most.
    pauses: Pauses,
    runtime: Arc<Runtime>,
    bell: KeeperBell,
    /// By the number of an address. Held for some arithmetic.
    watches: Leaf<BTreeMap<usize, AddressWatch>>,
    /// What was heard until the keeper takes it. Held for a few instructions.
    heard: Arc<Leaf<Vec<WatchNews>>>,
}

/// What is known of one address.
struct AddressWatch {
    /// `None`: its stream has ended.
    stream: Option<WatchStream>,
    /// Since when.
    begun: Instant,
    /// It is begun again then.
    again: Instant,
    /// So often in a row it has ended soon after it began.
    losses: u32,
}

impl AddressWatch {
    /// Its stream was lost; returns what is left of it.
    fn lose(&mut self, pauses: Pauses, now: Instant) -> Option<WatchStream> {
        let Pauses { min, max } = pauses;
        if now.saturating_duration_since(self.begun) > max {
            self.losses = 0;
        }
        self.again = now + backoff::delay(self.losses, min, max, FACTOR, 0.0);
        self.losses = self.losses.saturating_add(1);
        self.stream.take()
    }
}

/// Ends the stream when dropped.
struct WatchStream {
    link: Arc<Link>,
    abort: AbortHandle,
}

impl Drop for WatchStream {
    fn drop(&mut self) {
        self.abort.abort();
    }
}

/// Something that a server has said.
struct WatchNews {
    number: usize,
    link: Arc<Link>,
    said: WatchAnswer,
}

/// What a server has said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WatchAnswer {
    Serves,
    Refuses,
    /// It knows no such method, or will not tell.
    Unknown,
    /// Nothing any more.
    Lost,
}

impl Watcher {
    /// `None` if the settings do not want one.
    pub(super) fn of(
        config: &ServiceConfig,
        runtime: &Arc<Runtime>,
        bell: &KeeperBell,
    ) -> Option<Arc<Watcher>> {
        let watcher = || Watcher {
            method: raw("/grpc.health.v1.Health/Watch"),
            request: health_request(&config.health.service),
            pauses: Pauses {
                min: config.connection.reconnect_backoff_min,
                max: config.connection.max_reconnect_delay,
            },
            runtime: Arc::clone(runtime),
            bell: bell.clone(),
            watches: Leaf::default(),
            heard: Arc::default(),
        };
        config.health.watch.then(|| Arc::new(watcher()))
    }

    /// The numbers of the addresses that it listens to.
    pub(super) fn numbers(&self) -> Vec<usize> {
        self.watches.lock().keys().copied().collect()
    }

    /// What was heard since the last time, by the numbers of addresses.
    pub(super) fn take(&self, now: Instant) -> Vec<(usize, Word)> {
        let heard = std::mem::take(&mut *self.heard.lock());
        let mut ended = Vec::new();
        let mut watches = self.watches.lock();
        let words = heard.iter().filter_map(|WatchNews { number, link, said }| {
            let number = *number;
            let watch = watches.get_mut(&number)?;
            let stream = watch.stream.as_ref()?;
            if !Arc::ptr_eq(&stream.link, link) {
                // Of a stream before.
                return None;
            }
            match said {
                WatchAnswer::Serves => return Some((number, Word::Serves)),
                WatchAnswer::Refuses => return Some((number, Word::Refuses)),
                WatchAnswer::Unknown => {
                    ended.push(watch.stream.take());
                    watch.again = now + SELDOM;
                }
                WatchAnswer::Lost => ended.push(watch.lose(self.pauses, now)),
            }
            Some((number, Word::Silent))
        });
        let words = words.collect();
        drop(watches);
        // Channels are dropped here, under no lock.
        drop((ended, heard));
        words
    }

    /// Ends the streams of addresses where nothing stands any more, and of connections that could
    /// not be made. Returns the first ones, and those of `standing` that are to be asked now.
    pub(super) fn due(&self, standing: &BTreeSet<usize>, now: Instant) -> (Vec<usize>, Vec<usize>) {
        let (mut ended, mut gone) = (Vec::new(), Vec::new());
        let links: Vec<(usize, Arc<Link>)> = {
            let watches = self.watches.lock();
            let link = |(number, watch): (&usize, &AddressWatch)| {
                watch.stream.as_ref().map(|stream| (*number, Arc::clone(&stream.link)))
            };
            watches.iter().filter_map(link).collect()
        };
        let is_dead = |(_, link): &(usize, Arc<Link>)| {
            matches!(link.state(), ChannelState::Failed(_) | ChannelState::Ended)
        };
        let dead: BTreeSet<usize> =
            links.iter().filter(|one| is_dead(one)).map(|(n, _)| *n).collect();
        let mut watches = self.watches.lock();
        for (number, watch) in watches.iter_mut() {
            if dead.contains(number) {
                ended.push(watch.lose(self.pauses, now));
            }
        }
        watches.retain(|number, watch| {
            let stays = standing.contains(number);
            if !stays {
                gone.push(*number);
                ended.push(watch.stream.take());
            }
            stays
        });
        let is_due = |number: &usize| {
            let watch = watches.get(number);
            watch.is_none_or(|watch| watch.stream.is_none() && watch.again <= now)
        };
        let due = standing.iter().copied().filter(is_due).collect();
        drop(watches);
        drop(ended);
        (gone, due)
    }

    /// When a stream is begun again.
    pub(super) fn next(&self) -> Option<Instant> {
        let watches = self.watches.lock();
        let again = |watch: &AddressWatch| watch.stream.is_none().then_some(watch.again);
        watches.values().filter_map(again).min()
    }

    /// There is no channel to ask over.
    pub(super) fn missed(&self, number: usize, now: Instant) {
        self.put(number, None, now);
    }

    fn put(&self, number: usize, stream: Option<WatchStream>, now: Instant) {
        let mut watches = self.watches.lock();
        let losses = watches.get(&number).map_or(0, |watch| watch.losses);
        let missed = stream.is_none();
        let mut watch = AddressWatch { stream, begun: now, again: now, losses };
        if missed {
            let _ = watch.lose(self.pauses, now);
        }
        let before = watches.insert(number, watch);
        drop(watches);
        drop(before);
    }

    /// Asks over this channel. Does not wait.
    pub(super) fn ask(&self, number: usize, link: Arc<Link>, now: Instant) {
        let options = CallOption::default().wait_for_ready(true);
        let client = link.client_for_once();
        let asked = client.server_streaming(&self.method, &self.request, options);
        let Ok(receiver) = asked else {
            return self.missed(number, now);
        };
        let (places, bell, weak) =
            (Arc::clone(&self.heard), self.bell.clone(), Arc::downgrade(&link));
        let tell = move |said| {
            if let Some(link) = weak.upgrade() {
                places.lock().push(WatchNews { number, link, said });
                bell.ring();
            }
        };
        let (listening, abort) = abortable(listen(Cancelled(receiver), tell));
        self.runtime.spawn(async move {
            let _ = listening.await;
        });
        self.put(number, Some(WatchStream { link, abort }), now);
    }
}

/// Ends the call when dropped.
struct Cancelled(ClientSStreamReceiver<Vec<u8>>);

impl Drop for Cancelled {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

async fn listen(mut stream: Cancelled, tell: impl Fn(WatchAnswer)) {
    loop {
        let said = match stream.0.next().await {
            Some(Ok(answer)) if serves(&answer) => WatchAnswer::Serves,
            Some(Ok(_)) => WatchAnswer::Refuses,
            Some(Err(error)) if shows_life(&error) => WatchAnswer::Unknown,
            Some(Err(_)) | None => WatchAnswer::Lost,
        };
        tell(said);
        if matches!(said, WatchAnswer::Unknown | WatchAnswer::Lost) {
            return;
        }
    }
}
