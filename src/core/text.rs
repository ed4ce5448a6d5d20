//! Cuts texts to a length.

use std::borrow::Cow;

/// The whole text if its characters weigh `max` at most; otherwise its start and an ellipsis, which
/// together weigh no more.
pub fn cut(text: &str, max: usize, weight: impl Fn(char) -> usize) -> Cow<'_, str> {
    let Some(room) = max.checked_sub(weight(MARK)) else {
        let whole = text.chars().map(weight).sum::<usize>() <= max;
        return Cow::Borrowed(if whole { text } else { "" });
    };
    let (mut total, mut end) = (0, 0);
    for (at, c) in text.char_indices() {
        if total <= room {
            end = at;
        }
        total += weight(c);
        if total > max {
            let start = text.get(..end).unwrap_or_default();
            return Cow::Owned(format!("{start}{MARK}"));
        }
    }
    Cow::Borrowed(text)
}

/// Marks where a text was cut.
const MARK: char = '…';

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::testing::Xorshift;

    #[test]
    fn a_long_text_is_cut_between_characters_and_says_so() {
        let bytes = |text, max| cut(text, max, char::len_utf8);
        assert_eq!(bytes("short", 5), "short");
        assert_eq!(bytes("longer", 5), "lo…");
        assert_eq!(bytes("aäöb", 5), "a…");
        assert_eq!(bytes("aäöb", 6), "aäöb");
        assert_eq!(bytes("longer", 3), "…");
        assert_eq!((bytes("longer", 2), bytes("ab", 2)), ("".into(), "ab".into()));
        assert_eq!(bytes("", 0), "");
    }

    #[test]
    fn what_is_left_is_as_much_as_fits_and_no_more() {
        let mut random = Xorshift::new(7);
        let weight = |c: char| if c.is_ascii() { 1 } else { 3 * c.len_utf8() };
        let weigh = |text: &str| text.chars().map(weight).sum::<usize>();
        for _ in 0..5000 {
            let length = random.below(30);
            let letters = ['a', 'ä', '語', '🐘'];
            let text: String = (0..length).map(|_| letters[random.below(4) as usize]).collect();
            let max = 9 + random.below(100) as usize;
            let left = cut(&text, max, weight);
            assert!(weigh(&left) <= max, "{text} {max}");
            if weigh(&text) <= max {
                assert_eq!(left, text);
                continue;
            }
            let start = left.strip_suffix('…').expect("it is marked");
            let next = text.strip_prefix(start).and_then(|rest| rest.chars().next()).unwrap();
            assert!(weigh(start) + weight(next) + weight('…') > max, "{text} {max}");
        }
    }
}
