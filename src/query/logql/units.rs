//! Quantities as Go programs write them, in queries and in labels: `1h1.5s` and `5KiB`.

use crate::model::Nanos;
use crate::query::lexical::duration::format_duration;

const DURATION_UNITS: [(&str, i64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000), // U+00B5, the sign
    ("μs", 1_000), // U+03BC, the letter
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Reads what Go's `time.ParseDuration` reads: `-1h1.5s`, `100µs`, `0`.
pub fn parse_go_duration(text: &str) -> Option<Nanos> {
    let (is_negative, mut rest) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let (nanos, len) = one_unit(rest)?;
        total = total.checked_add(nanos)?;
        rest = &rest[len..];
    }
    if is_negative { 0i64.checked_sub_unsigned(total) } else { i64::try_from(total).ok() }
}

/// The nanoseconds of `1.5s` at the start of `text`, and its length.
fn one_unit(text: &str) -> Option<(u64, usize)> {
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let whole = digits(text);
    let fraction_at = whole + usize::from(text[whole..].starts_with('.'));
    let fraction = digits(&text[fraction_at..]);
    let unit_at = fraction_at + fraction;
    if whole + fraction == 0 {
        return None;
    }
    let after = &text[unit_at..];
    let unit_len = after.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(after.len());
    let (_, unit) = *DURATION_UNITS.iter().find(|(name, _)| *name == &after[..unit_len])?;
    let count: u64 = if whole == 0 { 0 } else { text[..whole].parse().ok()? };
    let mut nanos = count.checked_mul(unit.unsigned_abs())?;
    if fraction > 0 {
        // Digits beyond the eighteenth are below a nanosecond whatever the unit.
        let shown = &text[fraction_at..unit_at][..fraction.min(18)];
        let numerator: u64 = shown.parse().ok()?;
        let scale = 10u128.pow(u32::try_from(shown.len()).ok()?);
        let part = u128::from(numerator) * u128::from(unit.unsigned_abs()) / scale;
        nanos = nanos.checked_add(u64::try_from(part).ok()?)?;
    }
    Some((nanos, unit_at + unit_len))
}

const BYTE_UNITS: [(&str, u64); 25] = [
    ("", 1),
    ("b", 1),
    ("kib", 1 << 10),
    ("kb", 1_000),
    ("ki", 1 << 10),
    ("k", 1_000),
    ("mib", 1 << 20),
    ("mb", 1_000_000),
    ("mi", 1 << 20),
    ("m", 1_000_000),
    ("gib", 1 << 30),
    ("gb", 1_000_000_000),
    ("gi", 1 << 30),
    ("g", 1_000_000_000),
    ("tib", 1 << 40),
    ("tb", 1_000_000_000_000),
    ("ti", 1 << 40),
    ("t", 1_000_000_000_000),
    ("pib", 1 << 50),
    ("pb", 1_000_000_000_000_000),
    ("pi", 1 << 50),
    ("p", 1_000_000_000_000_000),
    ("eib", 1 << 60),
    ("eb", 1_000_000_000_000_000_000),
    ("ei", 1 << 60),
];

/// Reads a size: `5KiB`, `1.5 MB`, `1,024`. Units in any case; without one, bytes.
pub fn parse_bytes(text: &str) -> Option<u64> {
    let number_len = text.bytes().take_while(|b| b.is_ascii_digit() || matches!(b, b'.' | b',')).count();
    let number: f64 = text[..number_len].replace(',', "").parse().ok()?;
    let unit = text[number_len..].trim();
    let (_, scale) = BYTE_UNITS.iter().find(|(name, _)| unit.eq_ignore_ascii_case(name))?;
    let bytes = number * *scale as f64;
    // 2^64 itself does not fit.
    (bytes < u64::MAX as f64).then_some(bytes as u64)
}

/// As a query writes it: what it reads back as is the same.
pub fn format_nanos(nanos: Nanos) -> String {
    if nanos % 1_000_000 == 0 { format_duration(nanos / 1_000_000) } else { format!("{nanos}ns") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_reads_them() {
        for (text, nanos) in [
            ("0", 0),
            ("1.5s", 1_500_000_000),
            ("-1h1.5s", -3_601_500_000_000),
            ("100µs", 100_000),
            ("100μs", 100_000),
            ("100us", 100_000),
            (".5ms", 500_000),
            ("1.s", 1_000_000_000),
            ("+3ns", 3),
            ("1s1s", 2_000_000_000),
            ("0.0000000000000000000000000001h", 0),
            ("9223372036854775807ns", i64::MAX),
            ("-9223372036854775808ns", i64::MIN),
        ] {
            assert_eq!(parse_go_duration(text), Some(nanos), "{text}");
        }
        for text in
            ["", "-", "5", "s", ".s", "1d", "1 s", "1.2.3s", "9223372036854775808ns", "3000000h", "1s-"]
        {
            assert_eq!(parse_go_duration(text), None, "{text}");
        }
    }

    #[test]
    fn sizes_are_read_in_decimal_and_binary_units() {
        for (text, bytes) in [
            ("5", 5),
            ("5B", 5),
            ("5KB", 5_000),
            ("5kib", 5_120),
            ("1.5 MB", 1_500_000),
            ("1,024", 1_024),
            ("2PiB", 2 << 50),
        ] {
            assert_eq!(parse_bytes(text), Some(bytes), "{text}");
        }
        for text in ["", "KB", "-5KB", "5XB", "1.2.3KB", "99EB", "5 K B"] {
            assert_eq!(parse_bytes(text), None, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_is_printed_reads_back(nanos: i64) {
            let text = format_nanos(nanos);
            let digits = text.trim_start_matches('-');
            let read = crate::query::lexical::duration::parse_duration(digits).map(|ms| ms * 1_000_000);
            let read = read.or_else(|| parse_go_duration(digits));
            proptest::prop_assert_eq!(read, nanos.checked_abs(), "{}", text);
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,20}|[0-9.,a-zµ +-]{0,20}") {
            let _ = (parse_go_duration(&text), parse_bytes(&text));
        }
    }
}
