//! Floats that were decimals until somebody added or scaled them: 0.00083889799999 is a decimal of nine digits, but for the last
//! bit. The decimals take few bits as integers, and how many floats lie between them and the values fewer.

use std::ops::Range;

use super::floats::{POWERS, from_ordered_bits, ordered_bits};
use super::whole::{ROUND, ROUNDED_MAX};
use super::{Effort, Malformed, integers, take_u8};

/// Values this far from a decimal are near it.
const NEAR: u64 = 32;

/// So many floats lie between two decimals, or it would be chance that a value is near one.
const FLOATS_BETWEEN_MIN: u64 = 16 * NEAR;

/// Values as integers over a power of ten, and how far from them they are.
pub struct NearDecimals {
    exponent: usize,
    integers: Vec<i64>,
    /// In floats that lie between.
    distances: Vec<i64>,
}

impl NearDecimals {
    /// With the least exponent that nearly all values suit.
    pub fn find(values: &[f64]) -> Option<NearDecimals> {
        let exponent = (0..POWERS.len()).find(|&exponent| suits(values, exponent))?;
        let integers = all_nearest(values, exponent).unwrap_or_else(|| {
            let mut last = 0;
            let nearest = |&value: &f64| {
                last = nearest(value, exponent).unwrap_or(last);
                last
            };
            values.iter().map(nearest).collect()
        });
        let pairs = values.iter().zip(&integers);
        let distances = pairs.map(|(&value, &number)| distance(value, number, exponent)).collect();
        Some(NearDecimals { exponent, integers, distances })
    }

    pub fn encode(&self, effort: Effort, out: &mut Vec<u8>) {
        out.push(self.exponent as u8);
        integers::encode_with(&self.integers, effort, out);
        integers::encode_with(&self.distances, effort, out);
    }
}

/// True if most of a sample of the values are near decimals, and decimals are far from each other.
fn suits(values: &[f64], exponent: usize) -> bool {
    const SAMPLE: usize = 32;
    let (mut seen, mut near) = (0, 0);
    for &value in values.iter().step_by(values.len().div_ceil(SAMPLE)) {
        seen += 1;
        let Some(number) = nearest(value, exponent) else { continue };
        near += usize::from(
            may_be_near(value, number, exponent)
                && distance(value, number, exponent).unsigned_abs() <= NEAR
                && distance(value, number + 1, exponent).unsigned_abs() >= FLOATS_BETWEEN_MIN,
        );
        if near + seen / 4 + 2 < seen {
            return false;
        }
    }
    near + seen / 8 >= seen
}

/// The integer `m` with `m / 10^exponent` closest to the value, if that can be told.
fn nearest(value: f64, exponent: usize) -> Option<i64> {
    // Adding and taking away `ROUND` rounds, faster than a call of `round`.
    let scaled = value * POWERS[exponent];
    (scaled.abs() < ROUNDED_MAX).then_some(((scaled + ROUND) - ROUND) as i64)
}

/// The same of all values, if it can be told of each: a loop without branches, or conversions.
fn all_nearest(values: &[f64], exponent: usize) -> Option<Vec<i64>> {
    let power = POWERS[exponent];
    let mut below_max = -1;
    let nearest = values.iter().map(|value| {
        let scaled = value * power;
        // Negative where the one is less.
        below_max &= scaled.abs().to_bits() as i64 - ROUNDED_MAX.to_bits() as i64;
        (scaled + ROUND).to_bits().wrapping_sub(ROUND.to_bits()) as i64
    });
    let nearest = nearest.collect();
    (below_max < 0).then_some(nearest)
}

/// Told without a division of most that are not near: so many floats are half of this share of a value at most, and what is rounded
/// is much less than the other half.
fn may_be_near(value: f64, number: i64, exponent: usize) -> bool {
    const SHARE: f64 = 2.0 * NEAR as f64 * f64::EPSILON;
    let scaled = value * POWERS[exponent];
    // Beside 0 floats are as near to each other as they can be.
    number == 0 || (scaled - number as f64).abs() <= scaled.abs() * SHARE
}

fn distance(value: f64, number: i64, exponent: usize) -> i64 {
    ordered_bits(value).wrapping_sub(ordered_bits(number as f64 / POWERS[exponent]))
}

/// Appends those in these places of the `count` values that `bytes` hold.
pub fn decode_in(
    mut bytes: &[u8],
    count: usize,
    wanted: Range<usize>,
    out: &mut Vec<f64>,
) -> Result<(), Malformed> {
    let exponent = usize::from(take_u8(&mut bytes)?);
    let power = *POWERS.get(exponent).ok_or(Malformed("an exponent exceeds 18"))?;
    let mut at = out.len();
    // All of them: only at their end the distances begin.
    let numbers = integers::take_integers(&mut bytes, count)?;
    out.extend(numbers[wanted.clone()].iter().map(|&m| m as f64 / power));
    integers::for_each_group_in(bytes, count, wanted, |group| {
        for (value, &distance) in out[at..].iter_mut().zip(group) {
            *value = from_ordered_bits(ordered_bits(*value).wrapping_add(distance));
        }
        at += group.len();
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The bytes, if the values are near decimals.
    fn bytes_of(values: &[f64]) -> Option<Vec<u8>> {
        let found = NearDecimals::find(values)?;
        let mut sizes = [Effort::Fast, Effort::Best].map(|effort| {
            let mut bytes = Vec::new();
            found.encode(effort, &mut bytes);
            let mut back = vec![0.5];
            decode_in(&bytes, values.len(), 0..values.len(), &mut back).unwrap();
            assert!(back[1..].iter().map(|v| v.to_bits()).eq(values.iter().map(|v| v.to_bits())));
            bytes
        });
        Some(std::mem::take(&mut sizes[1]))
    }

    /// 240 durations in nanoseconds, added up in seconds as clients do.
    fn sums() -> Vec<f64> {
        let mut sum = 0.0;
        let add = |i: u64| {
            sum += (40_000 + i * i * 7919 % 4096) as f64 * 1e-9;
            sum
        };
        (0..240).map(add).collect()
    }

    #[test]
    fn sums_of_decimals_cost_their_digits() {
        assert!(bytes_of(&sums()).unwrap().len() < 240 * 17 / 8);
    }

    #[test]
    fn a_stale_marker_costs_its_bits() {
        let (mut values, plain) = (sums(), bytes_of(&sums()).unwrap().len());
        values[239] = f64::from_bits(0x7ff0_0000_0000_0002);
        assert!(bytes_of(&values).unwrap().len() < plain + 20);
    }

    #[test]
    fn values_of_all_digits_are_near_none() {
        let values: Vec<f64> = (1..240).map(|i| f64::from(i).sqrt()).collect();
        assert!(bytes_of(&values).is_none());
        assert!(bytes_of(&[f64::NAN, f64::INFINITY]).is_none());
    }

    proptest! {
        #[test]
        fn what_is_near_may_be_and_all_are_found_at_once(
            numbers in prop::collection::vec((prop_oneof![-100i64..100, -(1i64 << 52)..1 << 52], -40i64..40), 1..20),
            stranger: u64, exponent in 0usize..=18,
        ) {
            let near = |&(number, distance): &(i64, i64)| {
                from_ordered_bits(ordered_bits(number as f64 / POWERS[exponent]).wrapping_add(distance))
            };
            let mut values: Vec<f64> = numbers.iter().map(near).collect();
            for _ in 0..2 {
                let plain: Option<Vec<i64>> = values.iter().map(|&value| nearest(value, exponent)).collect();
                prop_assert_eq!(all_nearest(&values, exponent), plain);
                for &value in &values {
                    let is_near = |number| distance(value, number, exponent).unsigned_abs() <= NEAR;
                    let number = nearest(value, exponent);
                    prop_assert!(number.is_none_or(|number| !is_near(number) || may_be_near(value, number, exponent)));
                }
                values.push(f64::from_bits(stranger));
            }
        }

        #[test]
        fn every_bit_comes_back(
            numbers in prop::collection::vec((-1_000_000i64..1_000_000, -3i64..3), 1..300), exponent in 0usize..12,
            strangers in prop::collection::vec((any::<prop::sample::Index>(), any::<u64>()), 0..4),
        ) {
            let near = |&(number, distance): &(i64, i64)| {
                from_ordered_bits(ordered_bits(number as f64 / POWERS[exponent]).wrapping_add(distance))
            };
            let mut values: Vec<f64> = numbers.iter().map(near).collect();
            for (at, bits) in strangers {
                let at = at.index(values.len());
                values[at] = f64::from_bits(bits);
            }
            bytes_of(&values);
        }
    }
}
