//! Values as texts that read back to the same bits.

use std::fmt::Write;

/// The NaN of Prometheus's own parsers, which is no stale marker.
pub const NAN: u64 = 0x7ff8_0000_0000_0001;

/// Shortest digits; with an exponent where zeros would be many. For what is finite.
pub fn push_finite(to: &mut String, value: f64) {
    let size = value.abs();
    let is_plain = size == 0.0 || (1e-6..1e21).contains(&size);
    let written = if is_plain { write!(to, "{value}") } else { write!(to, "{value:e}") };
    written.expect("writing to a string cannot fail");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_reads_back_to_the_same_bits(bits: u64) {
            let value = f64::from_bits(bits);
            prop_assume!(value.is_finite());
            let mut text = String::new();
            push_finite(&mut text, value);
            prop_assert_eq!(text.parse::<f64>().unwrap().to_bits(), bits);
        }
    }

    #[test]
    fn few_digits_are_written() {
        for (value, expected) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (0.1, "0.1"),
            (1e20, "100000000000000000000"),
            (5e-324, "5e-324"),
            (-1.5e300, "-1.5e300"),
        ] {
            let mut text = String::new();
            push_finite(&mut text, value);
            assert_eq!(text, expected);
        }
    }
}
