//! Numbers as Prometheus's API writes them: Go's `strconv.FormatFloat(v, fmt, -1, 64)`, shortest digits that read
//! back to the same value. Rust's own formatting, and the crate that is asked for many digits, pick the same; only the
//! dress differs.

use std::fmt::Write;

use crate::model::Timestamp;

/// Format 'f': never an exponent.
pub fn push_plain(to: &mut String, value: f64) {
    if let Some(whole) = as_whole(value) {
        push_sign(to, value);
        push_integer(to, whole);
    } else if let Some(millionths) = as_millionths(value) {
        push_sign(to, value);
        push_millionths(to, millionths);
    } else if value.is_nan() {
        to.push_str("NaN");
    } else if value.is_infinite() {
        to.push_str(if value > 0.0 { "+Inf" } else { "-Inf" });
    } else if (1e-5..1e15).contains(&value.abs()) && !may_be_a_tie(value) {
        // Averages and rates have seventeen digits, and to find them in this way takes a third of the time.
        let mut digits = zmij::Buffer::new();
        let text = digits.format_finite(value);
        to.push_str(text);
    } else {
        write!(to, "{value}").expect("writing to a string cannot fail");
    }
}

/// Whether two shortest texts may be equally near, of which everybody picks another. Then the value has eighteen digits
/// at most, one more than any text; as 5 to the 26th has nineteen, it has 25 binary places at most; whole
/// numbers are among these.
fn may_be_a_tie(value: f64) -> bool {
    const PLACES: f64 = (1 << 25) as f64;
    (value * PLACES).trunc() == value * PLACES
}

/// The size of a whole number below 2^53. To round it to fewer digits is to miss it by one at least, and floats of that size
/// are one apart at most: so all its digits are the shortest ones.
fn as_whole(value: f64) -> Option<u64> {
    const MAX: f64 = (1u64 << 53) as f64;
    let size = value.abs();
    (size < MAX && size as u64 as f64 == size).then_some(size as u64)
}

const MILLION: u64 = 1_000_000;

/// The size of a value that six decimals tell exactly, as most do: such have fifteen digits at most, and two of those are
/// never the same float, so these are the shortest digits. A third of the time that finding them takes.
fn as_millionths(value: f64) -> Option<u64> {
    let size = value.abs();
    if size < 1e9 {
        let millionths = (size * MILLION as f64).round_ties_even();
        return (millionths / MILLION as f64 == size).then_some(millionths as u64);
    }
    None
}

fn push_sign(to: &mut String, value: f64) {
    if value.is_sign_negative() {
        to.push('-');
    }
}

fn push_millionths(to: &mut String, millionths: u64) {
    push_integer(to, millionths / MILLION);
    let mut decimals = millionths % MILLION;
    if decimals > 0 {
        let mut digit_count = 6;
        while decimals.is_multiple_of(10) {
            decimals /= 10;
            digit_count -= 1;
        }
        to.push('.');
        push_digits(to, decimals, digit_count);
    }
}

fn push_integer(to: &mut String, value: u64) {
    to.push_str(itoa::Buffer::new().format(value));
}

/// So many digits of a number that has no more, without the machinery that `write!` sets up for each.
fn push_digits(to: &mut String, value: u64, digit_count: u32) {
    let led_by_one = 10u64.pow(digit_count) + value;
    to.push_str(&itoa::Buffer::new().format(led_by_one)[1..]);
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
    if timestamp < 0 {
        to.push('-');
    }
    let (seconds, ms) = (timestamp.unsigned_abs() / 1_000, timestamp.unsigned_abs() % 1_000);
    push_integer(to, seconds);
    if ms > 0 {
        to.push('.');
        push_digits(to, ms, 3);
    }
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
        fn what_few_decimals_tell_is_written_as_all_else_is(number in -2_000_000_000_000_000i64..2_000_000_000_000_000, decimals in 0u32..8, off_by in -1i64..=1, whole in -1i64 << 54..1 << 54) {
            prop_assert_eq!(text(|t| push_plain(t, whole as f64)), (whole as f64).to_string());
            let near = number as f64 / 10f64.powi(decimals as i32);
            let value = f64::from_bits(near.to_bits().wrapping_add_signed(off_by));
            prop_assume!(value.is_finite());
            prop_assert_eq!(text(|t| push_plain(t, value)), value.to_string());
            let small = number as f64 / 1e9;
            prop_assert_eq!(text(|t| push_plain(t, small)), small.to_string());
        }

        #[test]
        fn many_digits_are_those_that_rust_writes(mantissa: i64, exponent in -80i32..40, bits: u64) {
            for value in [mantissa as f64 * 2f64.powi(exponent), f64::from_bits(bits)] {
                prop_assume!(value.is_finite());
                prop_assert_eq!(text(|t| push_plain(t, value)), value.to_string());
            }
        }

        #[test]
        fn any_timestamp_is_written_with_its_digits(timestamp: i64) {
            let (size, sign) = (timestamp.unsigned_abs(), if timestamp < 0 { "-" } else { "" });
            let expected = match (size / 1_000, size % 1_000) {
                (seconds, 0) => format!("{sign}{seconds}"),
                (seconds, ms) => format!("{sign}{seconds}.{ms:03}"),
            };
            prop_assert_eq!(text(|t| push_timestamp(t, timestamp)), expected);
        }

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
