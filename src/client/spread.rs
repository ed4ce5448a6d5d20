//! Over which addresses the channels of a pool are spread.
//!
//! Architecture Invariant: pure.

/// How an address stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Stand {
    /// Channels that are connected to it.
    pub ready: usize,
    /// Channels that are being connected to it.
    pub connecting: usize,
    /// It did not answer last.
    pub is_down: bool,
    /// Its pause is over.
    pub is_due: bool,
}

impl Stand {
    /// It is down, and nobody looks whether it is back.
    fn is_unscouted(&self) -> bool {
        self.is_down && self.connecting == 0
    }

    fn channels(&self) -> usize {
        self.ready + self.connecting
    }
}

/// The address that the next of `missing` channels is for, if one may be dialled now.
///
/// An address that is down gets one channel, the scout, when its pause is over. The others share
/// what is left, but for one channel that is kept for each scout to come; without any channel
/// nothing is kept.
pub(super) fn place(stands: &[Stand], missing: usize) -> Option<usize> {
    let scout = stands.iter().position(|stand| stand.is_unscouted() && stand.is_due);
    if scout.is_some() {
        return scout;
    }
    let kept = stands.iter().filter(|stand| stand.is_unscouted()).count();
    let has_channels = stands.iter().any(|stand| stand.channels() > 0);
    if missing <= kept && has_channels {
        return None;
    }
    let up = stands.iter().enumerate().filter(|(_, stand)| !stand.is_down);
    up.min_by_key(|(_, stand)| stand.channels()).map(|(address, _)| address)
}

/// The address that has at least two channels more than another that answers, while nothing is
/// being connected.
pub(super) fn surplus(stands: &[Stand]) -> Option<usize> {
    let up = || stands.iter().enumerate().filter(|(_, stand)| !stand.is_down);
    let (from, most) = up().max_by_key(|(_, stand)| stand.ready)?;
    let (_, least) = up().min_by_key(|(_, stand)| stand.ready)?;
    let is_quiet = stands.iter().all(|stand| stand.connecting == 0);
    (is_quiet && most.ready >= least.ready + 2).then_some(from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn up(ready: usize) -> Stand {
        Stand { ready, is_due: true, ..Stand::default() }
    }

    fn down(connecting: usize, is_due: bool) -> Stand {
        Stand { ready: 0, connecting, is_down: true, is_due }
    }

    #[test]
    fn a_channel_goes_where_there_are_fewest() {
        assert_eq!(place(&[up(2), up(1), up(3)], 1), Some(1));
        assert_eq!(place(&[up(0), up(0)], 9), Some(0));
        assert_eq!(place(&[], 1), None);
    }

    #[test]
    fn a_scout_goes_first_one_at_a_time_and_when_the_pause_is_over() {
        assert_eq!(place(&[up(0), down(0, true)], 3), Some(1));
        assert_eq!(place(&[up(0), down(1, true)], 3), Some(0));
        assert_eq!(place(&[down(1, true)], 3), None);
        assert_eq!(place(&[down(0, false)], 3), None);
    }

    #[test]
    fn one_channel_is_kept_for_each_scout_unless_there_is_none_at_all() {
        assert_eq!(place(&[up(2), down(0, false)], 2), Some(0));
        assert_eq!(place(&[up(3), down(0, false)], 1), None);
        assert_eq!(place(&[up(0), down(0, false)], 1), Some(0));
    }

    #[test]
    fn channels_move_while_all_is_quiet_and_two_more_are_too_many() {
        assert_eq!(surplus(&[up(3), up(1)]), Some(0));
        assert_eq!(surplus(&[up(2), up(1)]), None);
        assert_eq!(surplus(&[up(3), down(0, false)]), None);
        assert_eq!(surplus(&[up(3), up(1), down(1, true)]), None);
        assert_eq!(surplus(&[]), None);
    }
}
