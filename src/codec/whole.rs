//! Whole numbers from integers to floats and back. Added to 1.5 × 2^52, what is below 2^51 has its integer in its low bits:
//! so loops over many take neither a branch nor a conversion for each.

pub const ROUND: f64 = 6_755_399_441_055_744.0;
/// What is nearer to 0 may be added to [`ROUND`].
pub const ROUNDED_MAX: f64 = (1u64 << 51) as f64;

/// The nearest integer, ties to even; what is too large for that is cut.
#[inline]
pub fn rounded(value: f64) -> i64 {
    // The sum lies between 2^52 and 2^53, where floats are the whole numbers: its low bits are the integer.
    if value.abs() < ROUNDED_MAX {
        (value + ROUND).to_bits() as i64 - ROUND.to_bits() as i64
    } else {
        value as i64
    }
}

/// Whether all of these are whole numbers near enough to 0, none of them -0: every bit comes back from what [`rounded`] makes of them.
pub fn are_all(values: &[f64]) -> bool {
    let (mut seen, mut differing) = (Exponents::default(), 0);
    for value in values {
        let sum = value + ROUND;
        seen.see(sum.to_bits() as i64);
        differing |= (sum - ROUND).to_bits() ^ value.to_bits();
    }
    differing == 0 && seen.are_of_round()
}

/// The integers that values are, if [`are_all`] whole numbers.
pub fn integers_of(values: &[f64]) -> Option<Vec<i64>> {
    let integer = |value: &f64| (value + ROUND).to_bits() as i64 - ROUND.to_bits() as i64;
    are_all(values).then(|| values.iter().map(integer).collect())
}

/// Appends `integers`, each with `offset` added. Answers with a number that no sum exceeds, if none is negative or too large to tell.
pub fn extend_sums(to: &mut Vec<f64>, integers: &[i64], offset: i64) -> Option<u64> {
    let first = to.len();
    let mut seen = Exponents::default();
    let offset_bits = offset.wrapping_add(ROUND.to_bits() as i64);
    to.extend(integers.iter().map(|integer| seen.float_of(integer.wrapping_add(offset_bits))));
    if !seen.are_of_round() {
        to.truncate(first);
        to.extend(integers.iter().map(|integer| integer.wrapping_add(offset) as f64));
    }
    seen.max()
}

/// Appends what lies so many `steps` from the integers nearest to these values, one for each.
pub fn extend_stepped(to: &mut Vec<f64>, values: &[f64], steps: &[i64]) {
    let first = to.len();
    let mut seen = Exponents::default();
    let stepped = values.iter().zip(steps).map(|(value, step)| {
        let bits = (value + ROUND).to_bits() as i64;
        seen.see(bits);
        seen.float_of(bits.wrapping_add(*step))
    });
    to.extend(stepped);
    if !seen.are_of_round() {
        to.truncate(first);
        to.extend(values.iter().zip(steps).map(|(value, step)| rounded(*value).wrapping_add(*step) as f64));
    }
}

/// How bits differ from those of [`ROUND`]. Where sign and exponent are the same in all, none of them left 2^52 to 2^53.
#[derive(Default)]
struct Exponents {
    differing: u64,
}

impl Exponents {
    #[inline]
    fn see(&mut self, bits: i64) {
        self.differing |= bits as u64 ^ ROUND.to_bits();
    }

    /// What was added to [`ROUND`].
    #[inline]
    fn float_of(&mut self, bits: i64) -> f64 {
        self.see(bits);
        f64::from_bits(bits as u64) - ROUND
    }

    fn are_of_round(&self) -> bool {
        self.differing >> (f64::MANTISSA_DIGITS - 1) == 0
    }

    /// What was added, if nothing was below 0, and nothing 2^51 or more, is in bits that [`ROUND`] does not have: so nothing was
    /// more than all of these bits together.
    fn max(&self) -> Option<u64> {
        (self.differing < ROUNDED_MAX as u64).then_some(self.differing)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn integer() -> impl Strategy<Value = i64> {
        let edges: Vec<i64> = [51, 52, 53, 63].map(|bit| (1u64 << bit) as i64).to_vec();
        prop_oneof![
            30 => -1_000i64..1_000,
            1 => (prop::sample::select(edges), -2i64..3, any::<bool>())
                .prop_map(|(edge, by, is_below)| if is_below { edge.wrapping_neg() } else { edge }.wrapping_add(by)),
            1 => any::<i64>(),
        ]
    }

    fn value() -> impl Strategy<Value = f64> {
        prop_oneof![
            30 => (-1_000i32..1_000).prop_map(f64::from),
            3 => (-10i32..10).prop_map(|v| f64::from(v) / 2.0),
            1 => integer().prop_map(|v| v as f64),
            1 => ((1i64 << 51) - 2..(1 << 51) + 2, 0u8..8).prop_map(|(v, by)| v as f64 - f64::from(by) / 4.0),
            1 => any::<u64>().prop_map(f64::from_bits),
        ]
    }

    fn bits(values: &[f64]) -> Vec<u64> {
        values.iter().map(|value| value.to_bits()).collect()
    }

    proptest! {
        #[test]
        fn integers_of_whole_numbers_are_those_that_every_bit_comes_back_from(values in prop::collection::vec(value(), 0..3), zero: bool) {
            let values: Vec<f64> = values.into_iter().chain(zero.then_some(-0.0)).collect();
            let comes_back = |value: &f64| (rounded(*value) as f64).to_bits() == value.to_bits();
            let is_near = |value: &f64| (-ROUNDED_MAX..ROUNDED_MAX).contains(value);
            let expected = values.iter().all(|value| comes_back(value) && is_near(value));
            prop_assert_eq!(are_all(&values), expected);
            let integers = integers_of(&values);
            prop_assert_eq!(integers, expected.then(|| values.iter().map(|value| rounded(*value)).collect()));
        }

        #[test]
        fn sums_are_those_of_one_at_a_time(integers in prop::collection::vec(integer(), 0..20), offset in integer()) {
            let expected: Vec<f64> = integers.iter().map(|integer| integer.wrapping_add(offset) as f64).collect();
            let mut found = vec![0.5];
            let max = extend_sums(&mut found, &integers, offset);
            prop_assert_eq!(bits(&found[1..]), bits(&expected));
            let sums = integers.iter().map(|integer| integer.wrapping_add(offset));
            prop_assert_eq!(max.is_some(), sums.clone().all(|sum| (0..1 << 51).contains(&sum)));
            prop_assert!(max.is_none_or(|max| sums.max().unwrap_or(0) as u64 <= max));
        }

        #[test]
        fn steps_are_those_of_one_at_a_time(rows in prop::collection::vec((value(), integer()), 0..20), is_negative in any::<bool>()) {
            let (mut values, steps): (Vec<f64>, Vec<i64>) = rows.into_iter().unzip();
            if is_negative {
                values.iter_mut().for_each(|value| *value = -*value);
            }
            let step = |(value, step): (&f64, &i64)| rounded(*value).wrapping_add(*step) as f64;
            let expected: Vec<f64> = values.iter().zip(&steps).map(step).collect();
            let mut found = vec![0.5];
            extend_stepped(&mut found, &values, &steps);
            prop_assert_eq!(bits(&found[1..]), bits(&expected));
        }
    }
}
