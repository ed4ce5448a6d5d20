//! Notifications on their way to all who listen, and those of them who take nothing.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Instant;

use super::mailbox::{cost, Copies, Mailbox};
use super::Hub;
use crate::backend::listen::Notification;
use crate::core::budget::Held;
use crate::core::channels::ListenerId;
use crate::error::{CancelCause, RequestError, Work};

impl Hub {
    /// Gives a notification to all who listen to its channel.
    pub(in crate::pool) fn hand_out(&self, notification: &Notification) {
        let hearers = self.state.lock().channels.hearers(&notification.channel);
        let mailboxes = self.mailboxes(&hearers);
        let Some((_, first)) = mailboxes.first() else { return };
        let bytes = first.encoded(notification);
        let held = self.room_for_letters(cost(&bytes, mailboxes.len()));
        let mut copies = Copies::of(bytes, held);
        for (id, mailbox) in mailboxes {
            if !mailbox.notification(copies.next()) {
                self.give_up_listener(id);
            }
        }
    }

    /// Takes memory for letters. If there is none, those go who are furthest behind.
    /// Where nobody is behind, one letter is handed out without.
    fn room_for_letters(&self, bytes: usize) -> Held {
        let mut held = self.memory.hold_nothing();
        if held.grow(bytes).is_ok() {
            return held;
        }
        let backlog = |(id, mailbox): (ListenerId, Arc<dyn Mailbox>)| (mailbox.backlog(), id);
        let mut behind: Vec<_> = self.all_mailboxes().into_iter().map(backlog).collect();
        behind.retain(|(backlog, _)| *backlog > 0);
        behind.sort_by_key(|(backlog, _)| Reverse(*backlog));
        for (_, id) in behind {
            self.give_up_listener(id);
            if held.grow(bytes).is_ok() {
                break;
            }
        }
        held
    }

    /// Gives up those who have taken nothing of what waits for too long. Returns when
    /// to look again, if anything waits.
    pub(super) fn give_up_stalled(&self, now: Instant) -> Option<Instant> {
        let stall = self.account.context().live().limits.stall_timeout;
        let mut next = None;
        for (id, mailbox) in self.all_mailboxes() {
            let Some(since) = mailbox.waits_since() else { continue };
            let due = since + stall;
            if due <= now {
                self.give_up_listener(id);
            } else {
                next = Some(next.map_or(due, |next: Instant| next.min(due)));
            }
        }
        next
    }

    /// A listener that reads too slowly goes, for it has missed something.
    fn give_up_listener(&self, id: ListenerId) {
        if let Some(removed) = self.remove(id) {
            let error =
                RequestError::Cancelled { by: CancelCause::Stalled, work: Work::NOT_STARTED };
            removed.member.mailbox.give_up(error);
        }
    }
}
