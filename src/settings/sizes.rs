//! Sizes as people write them.

/// Units and their sizes.
const UNITS: [(&str, usize); 4] = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("", 1)];

/// Reads a size such as `512MiB`: an integer and KiB, MiB, GiB, or nothing for bytes.
pub fn bytes(text: &str) -> Option<usize> {
    let unit = UNITS.iter().find(|(unit, _)| text.ends_with(unit));
    let (unit, factor) = unit.copied().unwrap_or_default();
    let number = text.strip_suffix(unit).unwrap_or(text).trim_end();
    let digits = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
    let number = number.parse::<usize>().ok().filter(|_| digits);
    number.and_then(|number| number.checked_mul(factor))
}

/// Shows a size with the largest unit that leaves an integer.
pub fn shown_bytes(bytes: usize) -> String {
    let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match units.into_iter().find(|(unit, _)| bytes >= *unit && bytes.is_multiple_of(*unit)) {
        Some((unit, name)) => format!("{}{name}", bytes / unit),
        None => bytes.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_a_unit_or_are_bytes() {
        for (size, count) in
            [("7", 7), ("0", 0), ("1KiB", 1024), ("512MiB", 512 << 20), ("2 GiB", 2 << 30)]
        {
            assert_eq!(bytes(size), Some(count), "{size}");
        }
        for wrong in [
            "",
            "MiB",
            "-1",
            "+1",
            "1.5MiB",
            "1MB",
            "1mib",
            "99999999999999999999",
            "9999999999999GiB",
        ] {
            assert_eq!(bytes(wrong), None, "{wrong}");
        }
    }
}
