//! LISTEN and UNLISTEN, on a backend dedicated to them.

use crate::backend::pg::body::PgBackend;
use crate::backend::pg::question::simple;
use crate::backend::session::{RunError, Sent};
use crate::core::channels::Change;

impl PgBackend {
    /// Sends the changes in one message, so that they apply as a whole. Notifications that
    /// arrived before are kept.
    pub(super) fn change_channels(&mut self, change: &Change) -> Result<(), RunError> {
        let says =
            |word: &str, channel: &String| format!("{word} \"{}\"; ", channel.replace('"', "\"\""));
        let unlisten = change.unlisten.iter().map(|channel| says("UNLISTEN", channel));
        let listen = change.listen.iter().map(|channel| says("LISTEN", channel));
        let sql: String = unlisten.chain(listen).collect();
        simple(&mut self.conversation, &sql, |_| ()).map_err(|refused| match refused {
            Some(fault) => self.faulted(fault),
            None => self.lost(Sent::Whole),
        })
    }
}
