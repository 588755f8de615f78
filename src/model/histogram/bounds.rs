//! Where buckets begin and end.

use super::{CUSTOM_BUCKETS_SCHEMA, SCHEMA_MAX};

/// 2^(1/2), 2^(1/4) … 2^(1/256). The first is one unit in the last place below the nearest double: so are the
/// bounds that Prometheus prints, and clients compare them as text.
const ROOTS_OF_TWO: [f64; SCHEMA_MAX as usize] = [
    std::f64::consts::SQRT_2.next_down(),
    1.189207115002721,
    1.0905077326652577,
    1.0442737824274138,
    1.0218971486541166,
    1.0108892860517005,
    1.0054299011128027,
    1.0027112750502025,
];

/// The upper bound of bucket `index` on the positive side; its lower bound is that of `index - 1`.
pub(super) fn upper_bound(index: i32, schema: i32, custom_bounds: &[f64]) -> f64 {
    if schema == CUSTOM_BUCKETS_SCHEMA {
        return match usize::try_from(index) {
            Ok(i) => custom_bounds.get(i).copied().unwrap_or(f64::INFINITY),
            Err(_) => f64::NEG_INFINITY,
        };
    }
    exponential_bound(index, schema)
}

/// 2^(index / 2^schema).
pub(super) fn exponential_bound(index: i32, schema: i32) -> f64 {
    let index = i64::from(index);
    if schema <= 0 {
        return power_of_two(index << schema.unsigned_abs().min(31), 1.0);
    }
    let schema = schema.min(SCHEMA_MAX) as u32;
    let fraction = index & ((1 << schema) - 1);
    // The bits of the fraction, highest first, are halves, quarters … of the exponent.
    let factor = (0..schema)
        .filter(|bit| fraction >> (schema - 1 - bit) & 1 == 1)
        .fold(1.0, |product, bit| product * ROOTS_OF_TWO[bit as usize]);
    power_of_two(index >> schema, factor)
}

/// `factor * 2^exponent` for a factor in [1, 2).
fn power_of_two(exponent: i64, factor: f64) -> f64 {
    // 2^1024 is no double, yet it bounds the last bucket of finite observations; the next one holds ±Inf.
    if exponent == 1024 && factor == 1.0 {
        return f64::MAX;
    }
    match exponent {
        ..-1074 => 0.0,
        // Below the normal range in two steps, since 2^-1074 alone would lose the factor.
        -1074..-1022 => factor * f64::MIN_POSITIVE * f64::from_bits(((exponent + 1022 + 1023) as u64) << 52),
        -1022..1024 => factor * f64::from_bits(((exponent + 1023) as u64) << 52),
        1024.. => f64::INFINITY,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_those_that_prometheus_prints() {
        assert_eq!(exponential_bound(1, 1).to_string(), "1.414213562373095");
        assert_eq!(exponential_bound(7, 3).to_string(), "1.8340080864093422");
        assert_eq!(exponential_bound(-3, 0), 0.125);
        assert_eq!(exponential_bound(2, -2), 256.0);
        assert_eq!(exponential_bound(-1, -4), 2f64.powi(-16));
    }

    #[test]
    fn every_bound_is_the_power_of_two_that_it_should_be() {
        for schema in -4..=8 {
            for index in [-5000, -257, -1, 0, 1, 2, 3, 63, 127, 255, 256, 1000] {
                let exact = (f64::from(index) * 2f64.powi(-schema)).exp2();
                let bound = exponential_bound(index, schema);
                assert!(
                    bound == exact || (bound - exact).abs() <= 1e-15 * exact,
                    "schema {schema} index {index}: {bound}"
                );
            }
        }
    }

    #[test]
    fn the_last_finite_bucket_ends_at_the_largest_double() {
        assert_eq!(exponential_bound(1024, 0), f64::MAX);
        assert_eq!(exponential_bound(1024 << 8, 8), f64::MAX);
        assert_eq!(exponential_bound(64, -4), f64::MAX);
        assert_eq!(exponential_bound(1025, 0), f64::INFINITY);
        assert_eq!(exponential_bound((1024 << 8) + 1, 8), f64::INFINITY);
        assert_eq!(exponential_bound(i32::MAX, -4), f64::INFINITY);
        assert_eq!(exponential_bound(i32::MIN, -4), 0.0);
        assert_eq!(exponential_bound(-1074, 0), f64::from_bits(1));
    }

    #[test]
    fn custom_buckets_open_at_both_ends() {
        let bounds = [1.0, 5.0];
        let uppers = [-1, 0, 1, 2, 3].map(|i| upper_bound(i, CUSTOM_BUCKETS_SCHEMA, &bounds));
        assert_eq!(uppers, [f64::NEG_INFINITY, 1.0, 5.0, f64::INFINITY, f64::INFINITY]);
    }
}
