//! The one place that draws random numbers: for keys, names and jitter.

use std::cell::RefCell;

use openssl::error::ErrorStack;

/// Random bytes that nobody can guess.
///
/// # Errors
/// If OpenSSL has none.
pub fn bytes<const N: usize>() -> Result<[u8; N], ErrorStack> {
    let mut bytes = [0; N];
    openssl::rand::rand_bytes(&mut bytes)?;
    Ok(bytes)
}

/// A number from 0 to 1, for jitter. It is 0 if there are no random bytes, which is
/// safe: then there is no jitter.
pub fn chance() -> f64 {
    f64::from(u16::from_be_bytes(bytes().unwrap_or_default())) / 65_536.0
}

/// Bytes that are drawn at once for seeds: each reset of a session needs one, and OpenSSL takes
/// as long for four bytes as for these.
const DRAWN: usize = 256;

thread_local! {
    /// What is left of them.
    static AHEAD: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A number from -1 to 1, as a seed. It is 0 if there are no random bytes.
pub fn seed() -> f64 {
    let drawn = AHEAD.with_borrow_mut(|ahead| {
        if ahead.is_empty() {
            ahead.extend(bytes::<DRAWN>().iter().flatten());
        }
        let drawn = ahead.last_chunk().copied().unwrap_or_default();
        ahead.truncate(ahead.len().saturating_sub(size_of::<i32>()));
        drawn
    });
    f64::from(i32::from_be_bytes(drawn)) / 2_147_483_648.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_differ_and_are_drawn_anew_when_those_at_hand_are_used_up() {
        let seeds: Vec<f64> = (0..DRAWN).map(|_| seed()).collect();
        assert!(seeds.iter().all(|seed| (-1.0..1.0).contains(seed)));
        let mut distinct = seeds;
        distinct.sort_by(f64::total_cmp);
        distinct.dedup();
        assert!(distinct.len() > DRAWN - 4, "{}", distinct.len());
    }
}
