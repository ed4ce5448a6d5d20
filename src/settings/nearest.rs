//! What was probably meant by a name that is not known.

/// A longer name is nobody's slip of the pen, and comparing takes its length for each known one.
const NAME_MAX: usize = 100;

/// The known name with the fewest changes, if they are few: at most a third of its letters, not
/// counting a prefix that all names share.
pub fn nearest<'a>(
    name: &str,
    prefix: usize,
    known: impl Iterator<Item = &'a str>,
) -> Option<&'a str> {
    if name.len() > NAME_MAX {
        return None;
    }
    let most = (name.len().saturating_sub(prefix)).div_ceil(3).max(2);
    let with_distance = known.map(|one| (distance(name, one), one));
    with_distance.min().filter(|(distance, _)| *distance <= most).map(|(_, one)| one)
}

/// Letters to insert, remove or replace, and neighbours to swap, until one text is the
/// other.
fn distance(one: &str, other: &str) -> usize {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in other.iter().enumerate() {
            let mut least = (last[j] + usize::from(a != b)).min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *a == other[j - 1] && one[i - 1] == *b {
                least = least.min(before[j - 1] + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_swap_is_one_change() {
        for (one, other, changes) in
            [("", "", 0), ("ab", "ba", 1), ("abc", "abd", 1), ("abc", "", 3), ("prot", "port", 1)]
        {
            assert_eq!(distance(one, other), changes, "{one} {other}");
        }
    }
}
