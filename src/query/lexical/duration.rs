//! Lengths of time as Prometheus writes them: `1h30m`, whole milliseconds that fit i64 nanoseconds.

/// The units in the order in which they may follow each other.
const UNITS: [(&str, i64); 7] = [
    ("y", 365 * 24 * 3_600_000),
    ("w", 7 * 24 * 3_600_000),
    ("d", 24 * 3_600_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// Reads `1h30m`: units from years to milliseconds, each at most once, in that order; a bare `0` is allowed.
/// `None` where the text is none or does not fit.
pub fn parse_duration(text: &str) -> Option<i64> {
    if text == "0" {
        return Some(0);
    }
    let (mut rest, mut units, mut total) = (text, UNITS.as_slice(), 0i64);
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let count: i64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
        let at = units.iter().position(|(name, _)| *name == &rest[..letters])?;
        total = count.checked_mul(units[at].1).and_then(|ms| total.checked_add(ms))?;
        units = &units[at + 1..];
        rest = &rest[letters..];
    }
    let fits = !text.is_empty() && total <= i64::MAX / 1_000_000;
    fits.then_some(total)
}

/// As [`parse_duration`] reads it; years and weeks only where they are whole, as Prometheus writes them.
pub fn format_duration(ms: i64) -> String {
    if ms == 0 {
        return "0s".to_owned();
    }
    let mut text = if ms < 0 { "-".to_owned() } else { String::new() };
    let mut rest = ms.unsigned_abs();
    for (name, unit_ms) in UNITS.map(|(name, unit_ms)| (name, unit_ms.unsigned_abs())) {
        let only_whole = matches!(name, "y" | "w");
        if rest < unit_ms || only_whole && !rest.is_multiple_of(unit_ms) {
            continue;
        }
        text.push_str(&format!("{}{name}", rest / unit_ms));
        rest %= unit_ms;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_come_once_and_in_order() {
        let read = |text| parse_duration(text);
        assert_eq!(read("1h30m"), Some(5_400_000));
        assert_eq!(read("1y2w3d4h5m6s7ms"), Some(33_019_506_007));
        assert_eq!(read("0"), Some(0));
        for bad in ["", "5", "5mm", "5m1h", "5m1m", "m", "5m 1s", "1h-1m", "293y", "99999999999999999999s"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn durations_print_as_prometheus_prints_them() {
        let pairs = [(0, "0s"), (300_000, "5m"), (5_400_000, "1h30m"), (-7, "-7ms"), (604_800_000, "1w")];
        for (ms, text) in pairs {
            assert_eq!(format_duration(ms), text);
        }
        assert_eq!(format_duration(8 * 24 * 3_600_000), "8d");
        assert_eq!(format_duration(365 * 24 * 3_600_000), "1y");
    }

    proptest::proptest! {
        #[test]
        fn what_is_printed_reads_back(ms in 0i64..9_000_000_000_000) {
            proptest::prop_assert_eq!(parse_duration(&format_duration(ms)), Some(ms));
        }
    }
}
