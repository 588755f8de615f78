//! Numbers as Prometheus's API writes them: Go's `strconv.FormatFloat(v, fmt, -1, 64)`, shortest digits that read
//! back to the same value. Rust's own formatting picks the same digits; only the dress differs.

use std::fmt::Write;

use crate::model::Timestamp;

/// Format 'f': never an exponent.
pub fn push_plain(to: &mut String, value: f64) {
    if value.is_nan() {
        to.push_str("NaN");
    } else if value.is_infinite() {
        to.push_str(if value > 0.0 { "+Inf" } else { "-Inf" });
    } else {
        write!(to, "{value}").expect("writing to a string cannot fail");
    }
}

/// A sample's value: 'f', but 'e' for what is very small or very large.
pub fn push_sample(to: &mut String, value: f64) {
    let size = value.abs();
    if value != 0.0 && size.is_finite() && !(1e-6..1e21).contains(&size) {
        push_exponent(to, value);
    } else {
        push_plain(to, value);
    }
}

/// Format 'e': the exponent has a sign and at least two digits.
pub fn push_exponent(to: &mut String, value: f64) {
    if !value.is_finite() {
        return push_plain(to, value);
    }
    let text = format!("{value:e}");
    let (digits, exponent) = text.split_once('e').expect("{:e} writes an exponent");
    let exponent: i32 = exponent.parse().expect("{:e} writes a whole exponent");
    write!(to, "{digits}e{exponent:+03}").expect("writing to a string cannot fail");
}

/// Format 'g' as the text format has it: 'e' from a million on and below a ten-thousandth; no negative zero.
pub fn push_shortest(to: &mut String, value: f64) {
    if value == 0.0 {
        return to.push('0');
    }
    // What is not finite has none.
    let text = format!("{value:e}");
    let exponent = text.split_once('e').and_then(|(_, exponent)| exponent.parse::<i32>().ok());
    match exponent {
        Some(exponent) if !(-4..6).contains(&exponent) => push_exponent(to, value),
        _ => push_plain(to, value),
    }
}

/// Milliseconds as seconds; three decimals where there are any.
pub fn push_timestamp(to: &mut String, timestamp: Timestamp) {
    let (size, sign) = (timestamp.unsigned_abs(), if timestamp < 0 { "-" } else { "" });
    let (seconds, ms) = (size / 1_000, size % 1_000);
    let written = if ms == 0 { write!(to, "{sign}{seconds}") } else { write!(to, "{sign}{seconds}.{ms:03}") };
    written.expect("writing to a string cannot fail");
}

/// Milliseconds as a plain JSON number of seconds, for scalars and strings.
pub fn push_timestamp_as_float(to: &mut String, timestamp: Timestamp) {
    write!(to, "{}", timestamp as f64 / 1_000.0).expect("writing to a string cannot fail");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(push: impl Fn(&mut String)) -> String {
        let mut text = String::new();
        push(&mut text);
        text
    }

    #[test]
    fn values_are_written_as_go_writes_them() {
        for (value, sample, plain) in [
            (0.0, "0", "0"),
            (-0.0, "-0", "-0"),
            (1e-7, "1e-07", "0.0000001"),
            (1e-6, "0.000001", "0.000001"),
            (-1.5e-300, "-1.5e-300", ""),
            (1.5e21, "1.5e+21", "1500000000000000000000"),
            (1e20, "100000000000000000000", "100000000000000000000"),
            (5e-324, "5e-324", ""),
            (f64::NAN, "NaN", "NaN"),
            (f64::INFINITY, "+Inf", "+Inf"),
            (f64::NEG_INFINITY, "-Inf", "-Inf"),
            (0.1 + 0.2, "0.30000000000000004", "0.30000000000000004"),
        ] {
            assert_eq!(text(|t| push_sample(t, value)), sample);
            if !plain.is_empty() {
                assert_eq!(text(|t| push_plain(t, value)), plain);
            }
        }
        for (value, shortest) in [
            (-0.0, "0"),
            (1.0, "1"),
            (123_456.5, "123456.5"),
            (1e6, "1e+06"),
            (1_234_567.0, "1.234567e+06"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (-2.5e-300, "-2.5e-300"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Inf"),
        ] {
            assert_eq!(text(|t| push_shortest(t, value)), shortest);
        }
        assert_eq!(text(|t| push_exponent(t, 25.0)), "2.5e+01");
        assert_eq!(text(|t| push_exponent(t, 0.0)), "0e+00");
    }

    #[test]
    fn timestamps_have_three_decimals_or_none() {
        for (ms, exact, float) in [
            (1_435_781_451_100, "1435781451.100", "1435781451.1"),
            (4_000, "4", "4"),
            (-1, "-0.001", "-0.001"),
            (-1_500, "-1.500", "-1.5"),
        ] {
            assert_eq!(text(|t| push_timestamp(t, ms)), exact);
            assert_eq!(text(|t| push_timestamp_as_float(t, ms)), float);
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back_to_the_same_bits(bits: u64) {
            let value = f64::from_bits(bits);
            prop_assume!(value.is_finite());
            for text in [text(|t| push_sample(t, value)), text(|t| push_plain(t, value)), text(|t| push_exponent(t, value))] {
                prop_assert_eq!(text.parse::<f64>().unwrap().to_bits(), bits);
            }
        }
    }
}
