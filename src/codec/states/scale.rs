//! The integers that floats of one series stand for, so that they can be told by how far they are from what others let
//! expect.

use crate::codec::floats::{
    EXPONENT_MAX, POWERS, as_decimal, common_factor, extend_decimals, from_ordered_bits, larger_exponent,
    ordered_bits,
};
use crate::codec::integers::varint_bits;
use crate::codec::varint::{read_i64, read_u64, write_i64, write_u64};
use crate::codec::whole::{self, rounded};
use crate::codec::{Malformed, take_u8};

/// On disk in place of an exponent.
const BITS: u8 = 255;

/// How floats become integers and integers floats. Any float becomes one; not every one comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// `value = (offset + factor * integer) / 10^exponent`
    Decimal { exponent: usize, offset: i64, factor: i64 },
    /// The bits of the value, in an order that grows with it.
    Bits,
}

/// How a scale turns floats into integers and back; loops are compiled for each.
pub trait IntegerScale: Copy {
    fn integer_of(self, value: f64) -> i64;
    fn value_of(self, integer: i64) -> f64;

    /// Appends what lies so many `steps` of the scale from these values, one for each.
    fn extend_stepped(self, to: &mut Vec<f64>, values: &[f64], steps: &[i64]) {
        let stepped =
            |(&value, step): (&f64, &i64)| self.value_of(self.integer_of(value).wrapping_add(*step));
        to.extend(values.iter().zip(steps).map(stepped));
    }
}

impl IntegerScale for Scale {
    #[inline]
    fn integer_of(self, value: f64) -> i64 {
        match self {
            Scale::Decimal { exponent, offset, factor } => {
                let distance = rounded(value * POWERS[exponent]).wrapping_sub(offset);
                // Mostly, and a division takes longer than all else here.
                if factor == 1 { distance } else { distance.wrapping_div(factor) }
            }
            Scale::Bits => ordered_bits(value),
        }
    }

    #[inline]
    fn value_of(self, integer: i64) -> f64 {
        match self {
            Scale::Decimal { exponent, offset, factor } => {
                integer.wrapping_mul(factor).wrapping_add(offset) as f64 / POWERS[exponent]
            }
            Scale::Bits => from_ordered_bits(integer),
        }
    }
}

/// The scale of whole numbers with nothing else in common, as most values are: it takes no divisions.
#[derive(Clone, Copy)]
pub struct Whole;

impl Whole {
    /// If that is what a scale is.
    pub fn of(scale: Scale) -> Option<Whole> {
        (scale == Scale::Decimal { exponent: 0, offset: 0, factor: 1 }).then_some(Whole)
    }
}

impl IntegerScale for Whole {
    #[inline]
    fn integer_of(self, value: f64) -> i64 {
        rounded(value)
    }

    #[inline]
    fn value_of(self, integer: i64) -> f64 {
        integer as f64
    }

    fn extend_stepped(self, to: &mut Vec<f64>, values: &[f64], steps: &[i64]) {
        whole::extend_stepped(to, values, steps);
    }
}

impl Scale {
    /// A scale from whose integers nearly all values come back.
    pub fn find(columns: &[&[f64]]) -> Scale {
        let values = || columns.iter().copied().flatten().copied();
        if let Some(first) = values().next()
            && columns.iter().all(|column| whole::are_all(column))
        {
            let factor = common_factor(values().map(rounded));
            let offset = if factor > 1 { rounded(first) } else { 0 };
            return Scale::Decimal { exponent: 0, offset, factor };
        }
        // What does not come back takes nine bytes; bits of what is no decimal take up to eight each.
        let strangers_max = 1 + values().count() / 16;
        let (mut exponent, mut strangers) = (0, 0);
        for value in values() {
            if as_decimal(value, exponent).is_some() {
                continue;
            }
            match larger_exponent(value, exponent) {
                Some(larger) => {
                    exponent = larger;
                    // Mostly this suits all of them.
                    let mut integers = Vec::with_capacity(values().count());
                    if columns.iter().all(|column| extend_decimals(&mut integers, column, exponent)) {
                        return Scale::of_integers(exponent, &integers);
                    }
                }
                None => strangers += 1,
            }
            if strangers > strangers_max {
                return Scale::Bits;
            }
        }
        // What suited a small exponent may be too large for the one that others need.
        let integers: Vec<i64> = values().filter_map(|value| as_decimal(value, exponent)).collect();
        if integers.is_empty() || values().count() - integers.len() > strangers_max {
            return Scale::Bits;
        }
        Scale::of_integers(exponent, &integers)
    }

    /// Of decimals that are these integers, one at least.
    fn of_integers(exponent: usize, integers: &[i64]) -> Scale {
        let factor = common_factor(integers.iter().copied());
        Scale::Decimal { exponent, offset: if factor > 1 { integers[0] } else { 0 }, factor }
    }

    /// The integers that values stand for in this scale, if it is the one that was found for them and every bit comes back from each:
    /// all at once.
    pub fn integers_of(self, values: &[f64]) -> Option<Vec<i64>> {
        let Scale::Decimal { exponent, offset, factor } = self else { return None };
        let mut integers = Vec::with_capacity(values.len());
        if !extend_decimals(&mut integers, values, exponent) {
            return None;
        }
        if factor != 1 {
            integers.iter_mut().for_each(|integer| *integer = integer.wrapping_sub(offset) / factor);
        }
        Some(integers)
    }

    /// A decimal scale that has an integer near nearly all values, and is coarse against what is near: so it takes many
    /// fewer bits than the values have.
    pub fn near(values: &[f64], error: f64) -> Scale {
        let is_near = |exponent: usize| {
            let scale = Scale::Decimal { exponent, offset: 0, factor: 1 };
            let far = values.iter().filter(|&&value| {
                let integer = scale.integer_of(value);
                let is_coarse = (integer.unsigned_abs() as f64) < 1.0 / (error * 4.0);
                !is_coarse || (scale.value_of(integer) - value).abs() > value.abs() * error
            });
            far.take(2 + values.len() / 16).count() <= 1 + values.len() / 16
        };
        let exponent = (0..=EXPONENT_MAX).find(|&exponent| is_near(exponent));
        exponent.map_or(Scale::Bits, |exponent| Scale::Decimal { exponent, offset: 0, factor: 1 })
    }

    /// The same for the sum of `count` values, in each of which the offset is once.
    pub fn of_sums(self, count: u64) -> Scale {
        match self {
            Scale::Decimal { exponent, offset, factor } => {
                Scale::Decimal { exponent, offset: offset.wrapping_mul(count as i64), factor }
            }
            Scale::Bits => Scale::Bits,
        }
    }

    /// How many bits it takes.
    pub fn cost_bits(self) -> usize {
        match self {
            Scale::Decimal { offset, factor, .. } => 8 + varint_bits(offset) + varint_bits(factor),
            Scale::Bits => 8,
        }
    }

    pub fn put(self, out: &mut Vec<u8>) {
        match self {
            Scale::Decimal { exponent, offset, factor } => {
                out.push(exponent as u8);
                write_i64(out, offset);
                write_u64(out, factor as u64);
            }
            Scale::Bits => out.push(BITS),
        }
    }

    pub fn take(bytes: &mut &[u8]) -> Result<Scale, Malformed> {
        match take_u8(bytes)? {
            BITS => Ok(Scale::Bits),
            exponent if usize::from(exponent) <= EXPONENT_MAX => {
                let offset = read_i64(bytes)?;
                let factor = i64::try_from(read_u64(bytes)?).ok().filter(|&factor| factor > 0);
                let factor = factor.ok_or(Malformed("a factor is zero or too large"))?;
                Ok(Scale::Decimal { exponent: exponent.into(), offset, factor })
            }
            _ => Err(Malformed("an exponent exceeds 18")),
        }
    }
}

/// What is left out of the 52 bits of a sum where nothing better is found.
const SUM_BITS_DROPPED: u32 = 8;

/// The high bits of a float as an integer that grows with it; -0 is 0.
pub fn to_rounded_bits(value: f64) -> i64 {
    let magnitude = value.to_bits() & (u64::MAX >> 1);
    // Half of what is dropped rounds it; it may carry into the exponent, which is the next power of two then.
    let rounded = (magnitude.saturating_add(1 << (SUM_BITS_DROPPED - 1)) >> SUM_BITS_DROPPED) as i64;
    if value.is_sign_negative() { -rounded } else { rounded }
}

pub fn from_rounded_bits(integer: i64) -> f64 {
    let value = f64::from_bits((integer.unsigned_abs() << SUM_BITS_DROPPED) & (u64::MAX >> 1));
    if integer < 0 { -value } else { value }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Value by value, with nothing known of all.
    fn plainly_found(values: &[f64]) -> Scale {
        let strangers_max = 1 + values.len() / 16;
        let (mut exponent, mut strangers) = (0, 0);
        for &value in values {
            if as_decimal(value, exponent).is_none() {
                match larger_exponent(value, exponent) {
                    Some(larger) => exponent = larger,
                    None => strangers += 1,
                }
            }
        }
        let integers: Vec<i64> = values.iter().filter_map(|&value| as_decimal(value, exponent)).collect();
        if strangers > strangers_max || integers.is_empty() || values.len() - integers.len() > strangers_max {
            return Scale::Bits;
        }
        let factor = common_factor(integers.iter().copied());
        Scale::Decimal { exponent, offset: if factor > 1 { integers[0] } else { 0 }, factor }
    }

    /// Decimals of up to so many digits behind the point, multiples of a factor.
    fn decimals() -> impl Strategy<Value = Vec<f64>> {
        let factor = prop::sample::select(vec![1i64, 1, 1, 5, 4096]);
        let digits = prop_oneof![9 => -100_000i64..100_000, 1 => -(1i64 << 55)..1 << 55];
        let numbers = prop::collection::vec((digits, 0usize..3), 0..80);
        (factor, 0usize..16, numbers).prop_map(|(factor, exponent, numbers)| {
            let value = |(digits, fewer): (i64, usize)| {
                digits.wrapping_mul(factor) as f64 / POWERS[exponent.saturating_sub(fewer)]
            };
            numbers.into_iter().map(value).collect()
        })
    }

    fn stranger() -> impl Strategy<Value = f64> {
        prop_oneof![
            any::<u64>().prop_map(f64::from_bits),
            prop::sample::select(vec![-0.0, f64::NAN, f64::INFINITY, 1.0 / 3.0, 1e15, (1u64 << 60) as f64]),
        ]
    }

    proptest! {
        #[test]
        fn a_scale_is_found_as_value_by_value(
            mut values in decimals(), strangers in prop::collection::vec((any::<prop::sample::Index>(), stranger()), 0..8),
            cuts: [prop::sample::Index; 2],
        ) {
            for with_strangers in [false, true] {
                if with_strangers && !values.is_empty() {
                    for (at, stranger) in &strangers {
                        let at = at.index(values.len());
                        values[at] = *stranger;
                    }
                }
                let [low, high] = cuts.map(|cut| cut.index(values.len() + 1));
                let columns = [&values[..low.min(high)], &values[low.min(high)..low.max(high)], &values[low.max(high)..]];
                let scale = Scale::find(&columns);
                prop_assert_eq!(scale, plainly_found(&values));
                for column in columns {
                    if let Some(integers) = scale.integers_of(column) {
                        let plain: Vec<i64> = column.iter().map(|&value| scale.integer_of(value)).collect();
                        prop_assert_eq!(&integers, &plain);
                        prop_assert!(integers.into_iter().zip(column).all(|(integer, value)| scale.value_of(integer).to_bits() == value.to_bits()));
                    }
                }
            }
        }
    }
}
