//! Columns of floats, every bit of which comes back: NaN payloads, -0, subnormals.
//!
//! Most metrics are integers or decimals of few digits, and many of those are multiples of something (bytes of
//! 4096): as integers they take a few bits. What is neither goes through its bits, or XOR.

use std::ops::Range;

use super::bits::{BitReader, BitWriter};
use super::integers::{Estimate, Mark, varint_bits};
use super::near_decimals::{self, NearDecimals};
use super::patches::{self, PATCH_BITS, Patches};
use super::varint::{read_i64, read_u64, write_i64, write_u64};
use super::whole::{self, ROUND, ROUNDED_MAX};
use super::{Effort, Malformed, integers, take, take_u8};

const CONSTANT: u8 = 1;
const CONSTANT_INTEGER: u8 = 2;
const DECIMAL: u8 = 3;
const BITS: u8 = 4;
const XOR: u8 = 5;
const NEAR_DECIMAL: u8 = 6;

pub(super) const EXPONENT_MAX: usize = 18;
pub(super) const POWERS: [f64; EXPONENT_MAX + 1] =
    [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18];

/// Appends codec and payload.
pub fn encode(values: &[f64], out: &mut Vec<u8>) {
    encode_with(values, Effort::Fast, out);
}

/// As [`encode`], but as small as the effort allows.
pub fn encode_with(values: &[f64], effort: Effort, out: &mut Vec<u8>) {
    Chosen::of(values, effort).put(effort, out);
}

/// A codec and what it makes of values; what is told beforehand is how many bits that takes.
pub enum Chosen {
    Decimals(Decimals),
    /// Codec and payload.
    Written(Vec<u8>),
}

impl Chosen {
    pub fn of(values: &[f64], effort: Effort) -> Chosen {
        let mut written = Vec::new();
        match values.first() {
            None => {
                written.push(BITS);
                integers::encode(&[], &mut written);
            }
            Some(first) if values.iter().all(|v| v.to_bits() == first.to_bits()) => {
                encode_constant(*first, &mut written)
            }
            Some(_) => match Decimals::find(values) {
                Some(decimals) => return Chosen::Decimals(decimals),
                None => encode_others(values, effort, &mut written),
            },
        }
        Chosen::Written(written)
    }

    /// About how many bits codec and payload take.
    pub fn cost_bits(&self) -> usize {
        match self {
            Chosen::Decimals(decimals) => decimals.cost_bits(),
            Chosen::Written(bytes) => 8 * bytes.len(),
        }
    }

    /// Appends codec and payload.
    pub fn put(self, effort: Effort, out: &mut Vec<u8>) {
        match self {
            Chosen::Decimals(decimals) => decimals.put(effort, out),
            Chosen::Written(mut bytes) => out.append(&mut bytes),
        }
    }
}

/// What are no decimals.
fn encode_others(values: &[f64], effort: Effort, out: &mut Vec<u8>) {
    if let Some(near) = NearDecimals::find(values) {
        out.push(NEAR_DECIMAL);
        return near.encode(effort, out);
    }
    let mut bits = vec![BITS];
    integers::encode_with(&values.iter().map(|&v| ordered_bits(v)).collect::<Vec<_>>(), effort, &mut bits);
    let mut xor = vec![XOR];
    xor.append(&mut encode_xor(values));
    out.append(if bits.len() <= xor.len() { &mut bits } else { &mut xor });
}

/// Appends the `count` values that codec and payload in `bytes` stand for.
pub fn decode(bytes: &[u8], count: usize, out: &mut Vec<f64>) -> Result<(), Malformed> {
    decode_in(bytes, count, 0..count, out).map(drop)
}

/// As [`decode`], but only the values in these places; little more is unpacked. Answers with a number that none of them exceeds, if
/// they are known to be whole numbers and not negative, nor -0.
pub fn decode_in(
    bytes: &[u8],
    count: usize,
    wanted: Range<usize>,
    out: &mut Vec<f64>,
) -> Result<Option<u64>, Malformed> {
    decode_from(&mut None, bytes, count, wanted, out)
}

/// As [`decode_in`]; starts from a mark that was set in the same bytes, if there is one near those places, and sets one
/// there.
pub fn decode_from(
    mark: &mut Option<Mark>,
    mut bytes: &[u8],
    count: usize,
    wanted: Range<usize>,
    out: &mut Vec<f64>,
) -> Result<Option<u64>, Malformed> {
    match take_u8(&mut bytes)? {
        CONSTANT_INTEGER => {
            let integer = read_i64(&mut bytes)?;
            fill_constant(bytes, wanted.len(), integer as f64, out)?;
            Ok(u64::try_from(integer).ok().filter(|&integer| integer < ROUNDED_MAX as u64))
        }
        DECIMAL => decode_decimals(mark, bytes, count, wanted, out),
        codec => decode_others(codec, mark, bytes, count, wanted, out).map(|()| None),
    }
}

fn decode_others(
    codec: u8,
    mark: &mut Option<Mark>,
    mut bytes: &[u8],
    count: usize,
    wanted: Range<usize>,
    out: &mut Vec<f64>,
) -> Result<(), Malformed> {
    match codec {
        CONSTANT => {
            let bits = u64::from_le_bytes(take(&mut bytes, 8)?.try_into().expect("eight bytes"));
            fill_constant(bytes, wanted.len(), f64::from_bits(bits), out)
        }
        BITS => integers::for_each_group_from(mark, bytes, count, wanted, |group| {
            out.extend(group.iter().map(|&bits| from_ordered_bits(bits)))
        }),
        XOR => decode_xor(bytes, wanted, out),
        NEAR_DECIMAL => near_decimals::decode_in(bytes, count, wanted, out),
        _ => Err(Malformed("unknown codec of floats")),
    }
}

fn fill_constant(rest: &[u8], count: usize, value: f64, out: &mut Vec<f64>) -> Result<(), Malformed> {
    if !rest.is_empty() {
        return Err(Malformed("bytes after the values"));
    }
    out.resize(out.len() + count, value);
    Ok(())
}

fn encode_constant(value: f64, out: &mut Vec<u8>) {
    match as_decimal(value, 0) {
        Some(integer) => {
            out.push(CONSTANT_INTEGER);
            write_i64(out, integer);
        }
        None => {
            out.push(CONSTANT);
            out.extend_from_slice(&value.to_bits().to_le_bytes());
        }
    }
}

/// The integer `m` with `m / 10^exponent` equal to `value` to the bit.
pub(super) fn as_decimal(value: f64, exponent: usize) -> Option<i64> {
    if exponent == 0 {
        let integer = value as i64;
        return ((integer as f64).to_bits() == value.to_bits()).then_some(integer);
    }
    // Adding and taking away `ROUND` rounds, faster than a call of `round`.
    let scaled = value * POWERS[exponent];
    if scaled.abs() >= ROUNDED_MAX {
        return None;
    }
    let rounded = (scaled + ROUND) - ROUND;
    let integer = rounded as i64;
    // Through the integer, as the reader will do it: there -0 is 0, and NaN is 0.
    ((integer as f64 / POWERS[exponent]).to_bits() == value.to_bits()).then_some(integer)
}

/// Values as integers over a power of ten, but for a few patches.
pub struct Decimals {
    exponent: usize,
    /// What each integer stands for: so many times the factor behind the offset.
    offset: i64,
    factor: i64,
    integers: Vec<i64>,
    estimate: Estimate,
    /// Position and bits of what is no such integer.
    patches: Vec<(usize, u64)>,
}

impl Decimals {
    fn find(values: &[f64]) -> Option<Decimals> {
        // A patch takes nine bytes; values that are no decimals take up to eight each.
        let patches_max = 1 + values.len() / 16;
        // As most are.
        if let Some(integers) = whole::integers_of(values) {
            return Some(Decimals::of(0, integers, Vec::new()));
        }
        let mut exponent = 0;
        loop {
            match Decimals::with_exponent(values, exponent, patches_max) {
                Ok(decimals) => return Some(decimals),
                Err(next) => exponent = next?,
            }
        }
    }

    /// Fails with a larger exponent that suits more of the values, or with `None` if none does.
    fn with_exponent(values: &[f64], exponent: usize, patches_max: usize) -> Result<Decimals, Option<usize>> {
        let mut integers = Vec::with_capacity(values.len());
        if exponent > 0 && extend_decimals(&mut integers, values, exponent) {
            return Ok(Decimals::of(exponent, integers, Vec::new()));
        }
        integers.clear();
        let mut patches = Vec::new();
        let mut last = 0;
        for (at, &value) in values.iter().enumerate() {
            if let Some(integer) = as_decimal(value, exponent) {
                last = integer;
            } else if let Some(larger) = larger_exponent(value, exponent) {
                return Err(Some(larger));
            } else if patches.len() < patches_max {
                patches.push((at, value.to_bits()));
            } else {
                return Err(None);
            }
            integers.push(last);
        }
        Ok(Decimals::of(exponent, integers, patches))
    }

    fn of(exponent: usize, mut integers: Vec<i64>, patches: Vec<(usize, u64)>) -> Decimals {
        let factor = common_factor(integers.iter().copied());
        let offset = if factor > 1 { integers[0] } else { 0 };
        if factor > 1 {
            integers.iter_mut().for_each(|m| *m = (*m - offset) / factor);
        }
        let estimate = Estimate::of(&integers);
        Decimals { exponent, offset, factor, integers, estimate, patches }
    }

    fn cost_bits(&self) -> usize {
        let scale_bits = 16 + varint_bits(self.offset) + varint_bits(self.factor);
        self.patches.len() * PATCH_BITS + scale_bits + self.estimate.bits
    }

    fn put(self, effort: Effort, out: &mut Vec<u8>) {
        out.push(DECIMAL);
        patches::put(&self.patches, out);
        out.push(self.exponent as u8);
        write_i64(out, self.offset);
        write_u64(out, self.factor as u64);
        integers::encode_as(&self.integers, self.estimate, effort, out);
    }
}

/// The integers of values that are decimals of this exponent below 2^51, all of them: those that [`as_decimal`] tells of each, which tells
/// larger ones only of exponent 0. Else some of them, or none. A loop without branches, or conversions.
pub(super) fn extend_decimals(integers: &mut Vec<i64>, values: &[f64], exponent: usize) -> bool {
    /// If one is no decimal, others are none either: most of them need not be looked at then.
    const AT_ONCE: usize = 32;
    let power = POWERS[exponent];
    values.chunks(AT_ONCE).all(|values| {
        let (mut differing, mut below_max) = (0, -1);
        integers.extend(values.iter().map(|value| {
            let scaled = value * power;
            let sum = scaled + ROUND;
            differing |= ((sum - ROUND) / power).to_bits() ^ value.to_bits();
            // Negative where the one is less.
            below_max &= scaled.abs().to_bits() as i64 - ROUNDED_MAX.to_bits() as i64;
            sum.to_bits().wrapping_sub(ROUND.to_bits()) as i64
        }));
        differing == 0 && below_max < 0
    })
}

/// The least power of ten above this one that makes the value an integer.
pub(super) fn larger_exponent(value: f64, exponent: usize) -> Option<usize> {
    let mut larger = exponent + 1..=EXPONENT_MAX;
    // A decimal of few digits is one of more digits, too: what is none of the most that can be told is none at all.
    let most = larger.clone().rev().find(|&e| (value * POWERS[e]).abs() < ROUNDED_MAX)?;
    as_decimal(value, most)?;
    larger.find(|&e| as_decimal(value, e).is_some())
}

/// The greatest factor of all distances from the first one; 1 where a distance leaves 64 bits.
pub(super) fn common_factor(integers: impl IntoIterator<Item = i64>) -> i64 {
    let mut integers = integers.into_iter();
    let Some(first) = integers.next() else { return 1 };
    let mut factor = 0i64;
    for integer in integers {
        let Some(distance) = integer.checked_sub(first).and_then(i64::checked_abs) else { return 1 };
        if factor == 0 {
            factor = distance;
        } else if distance % factor != 0 {
            let (mut a, mut b) = (factor, distance % factor);
            while b != 0 {
                (a, b) = (b, a % b);
            }
            factor = a;
        }
        if factor == 1 {
            return 1;
        }
    }
    factor.max(1)
}

fn decode_decimals(
    mark: &mut Option<Mark>,
    mut bytes: &[u8],
    count: usize,
    wanted: Range<usize>,
    out: &mut Vec<f64>,
) -> Result<Option<u64>, Malformed> {
    let (start, first) = (out.len(), wanted.start);
    let patches = Patches::take(&mut bytes, count)?;
    let exponent = take_u8(&mut bytes)? as usize;
    let power = *POWERS.get(exponent).ok_or(Malformed("an exponent exceeds 18"))?;
    let (offset, factor) = (read_i64(&mut bytes)?, read_u64(&mut bytes)? as i64);
    let mut whole_max = (exponent == 0 && factor == 1 && patches.is_empty()).then_some(0);
    match (exponent, factor) {
        (0, 1) => integers::for_each_group_from(mark, bytes, count, wanted, |group| {
            let max = whole::extend_sums(out, group, offset);
            whole_max = whole_max.zip(max).map(|(known, max)| known.max(max));
        })?,
        (0, _) => integers::for_each_group_from(mark, bytes, count, wanted, |group| {
            out.extend(group.iter().map(|&m| m.wrapping_mul(factor).wrapping_add(offset) as f64))
        })?,
        _ => integers::for_each_group_from(mark, bytes, count, wanted, |group| {
            out.extend(group.iter().map(|&m| m.wrapping_mul(factor).wrapping_add(offset) as f64 / power))
        })?,
    }
    patches.apply(first, &mut out[start..]);
    Ok(whole_max)
}

/// Bits as an integer that grows with the value.
pub(super) fn ordered_bits(value: f64) -> i64 {
    from_sign_magnitude(value.to_bits() as i64)
}

pub(super) fn from_ordered_bits(bits: i64) -> f64 {
    f64::from_bits(from_sign_magnitude(bits) as u64)
}

/// Its own inverse.
fn from_sign_magnitude(bits: i64) -> i64 {
    bits ^ ((bits >> 63) & i64::MAX)
}

fn encode_xor(values: &[f64]) -> Vec<u8> {
    let mut writer = BitWriter::default();
    let mut last = values[0].to_bits();
    writer.write(last, 64);
    // Leading zeros and length of the window; no window yet.
    let (mut leading, mut length) = (0, 0);
    for value in &values[1..] {
        let xor = value.to_bits() ^ last;
        last = value.to_bits();
        if xor == 0 {
            writer.write(0, 1);
            continue;
        }
        let (zeros, trailing) = (xor.leading_zeros(), xor.trailing_zeros());
        let needed = 64 - zeros - trailing;
        // A window of its own takes twelve bits more.
        let fits = length > 0 && zeros >= leading && trailing >= 64 - leading - length;
        if fits && length <= needed + 12 {
            writer.write(0b10, 2);
        } else {
            (leading, length) = (zeros, needed);
            writer.write(0b11, 2);
            writer.write(u64::from(leading), 6);
            writer.write(u64::from(length - 1), 6);
        }
        writer.write(xor >> (64 - leading - length), length);
    }
    writer.finish()
}

fn decode_xor(bytes: &[u8], wanted: Range<usize>, out: &mut Vec<f64>) -> Result<(), Malformed> {
    let mut reader = BitReader::new(bytes);
    let mut last = 0;
    let (mut leading, mut length) = (0, 0);
    for at in 0..wanted.end {
        if at == 0 {
            last = reader.read(64)?;
        } else if reader.read(1)? == 1 {
            if reader.read(1)? == 1 {
                leading = reader.read(6)? as u32;
                length = reader.read(6)? as u32 + 1;
            }
            if length == 0 || leading + length > 64 {
                return Err(Malformed("a XOR window exceeds 64 bits"));
            }
            last ^= reader.read(length)? << (64 - leading - length);
        }
        if at >= wanted.start {
            out.push(f64::from_bits(last));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes_of(values: &[f64]) -> Vec<u8> {
        bytes_with(values, Effort::Best);
        bytes_with(values, Effort::Fast)
    }

    fn bytes_with(values: &[f64], effort: Effort) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode_with(values, effort, &mut bytes);
        let mut back = vec![0.5];
        decode(&bytes, values.len(), &mut back).unwrap();
        let bits = |values: &[f64]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&back[1..]), bits(values));
        bytes
    }

    #[test]
    fn a_constant_takes_a_few_bytes_whatever_its_length() {
        assert_eq!(bytes_of(&[7.0; 8192]).len(), 2);
        assert_eq!(bytes_of(&[0.1; 8192]).len(), 9);
        assert_eq!(bytes_of(&[-0.0; 100]).len(), 9);
    }

    #[test]
    fn multiples_cost_only_their_steps() {
        let pages: Vec<f64> = (0..1024).map(|i| 8e9 + 4096.0 * f64::from(i * i % 8)).collect();
        assert!(bytes_of(&pages).len() < 1024 / 2);
    }

    #[test]
    fn decimals_cost_only_their_digits() {
        let seconds: Vec<f64> = (0..1024).map(|i| f64::from(1_234_567 + i * 3 + i % 4) / 100.0).collect();
        let bytes = bytes_of(&seconds);
        assert_eq!(bytes[0], DECIMAL);
        assert!(bytes.len() < 1024 / 2);
    }

    #[test]
    fn a_stale_marker_among_integers_costs_a_patch() {
        let mut counter: Vec<f64> = (0..1000).map(|i| f64::from(i * 5)).collect();
        let plain = bytes_of(&counter).len();
        counter[999] = f64::from_bits(0x7ff0_0000_0000_0002);
        assert!(bytes_of(&counter).len() <= plain + 24);
    }

    #[test]
    fn extremes_come_back() {
        let extremes = [0.0, -0.0, f64::NAN, -f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MIN_POSITIVE];
        bytes_of(&extremes);
        bytes_of(&[]);
        bytes_of(&[9_223_372_036_854_775_808.0, -9_223_372_036_854_775_808.0, 0.0]);
        bytes_of(&[
            5e-324,
            f64::MAX,
            f64::from_bits(0x7ff0_0000_0000_0002),
            f64::from_bits(0xfff8_dead_beef_0001),
        ]);
    }

    /// Decimals, of as many digits as can be told and more, and what is beside them.
    fn near_a_decimal() -> impl Strategy<Value = f64> {
        let digits =
            prop_oneof![-1000i64..1000, -(1i64 << 53)..1 << 53, (-8i64..8).prop_map(|by| (1 << 51) + by)];
        let beside = prop_oneof![6 => Just(0i64), 1 => -3i64..3, 1 => -1000i64..1000];
        let decimal = (digits, 0..=EXPONENT_MAX, beside, any::<bool>()).prop_map(
            |(digits, exponent, beside, is_below)| {
                let value = from_ordered_bits(ordered_bits(digits as f64 / POWERS[exponent]) + beside);
                if is_below { -value } else { value }
            },
        );
        prop_oneof![19 => decimal, 1 => any_bits()]
    }

    fn any_bits() -> impl Strategy<Value = f64> {
        any::<u64>().prop_map(f64::from_bits)
    }

    proptest! {
        #[test]
        fn decimals_are_found_at_once_as_one_by_one(
            values in prop::collection::vec(near_a_decimal(), 0..4), some in prop::collection::vec(-100_000i64..100_000, 0..70),
            exponent in 0..=EXPONENT_MAX,
        ) {
            for &value in &values {
                let plain = (exponent + 1..=EXPONENT_MAX).find(|&e| as_decimal(value, e).is_some());
                prop_assert_eq!(larger_exponent(value, exponent), plain, "of {}", value);
            }
            let some: Vec<f64> = some.into_iter().map(|digits| digits as f64 / POWERS[exponent]).collect();
            let alone: Vec<Vec<f64>> = values.iter().map(|&value| vec![value]).collect();
            for values in alone.into_iter().chain([some.clone(), [some, values].concat()]) {
                let mut integers = Vec::new();
                let found = extend_decimals(&mut integers, &values, exponent).then_some(integers);
                let is_below_max = |value: f64| exponent > 0 || value.abs() < ROUNDED_MAX;
                let plain = |value: f64| as_decimal(value, exponent).filter(|_| is_below_max(value));
                prop_assert_eq!(found, values.iter().map(|&value| plain(value)).collect::<Option<Vec<_>>>());
            }
        }

        #[test]
        fn any_floats_come_back(values in prop::collection::vec(any_bits(), 0..300)) {
            bytes_of(&values);
        }

        #[test]
        fn decimals_with_strangers_come_back(
            digits in prop::collection::vec(-100_000i64..100_000, 1..300),
            exponent in 0usize..8,
            strangers in prop::collection::vec((any::<prop::sample::Index>(), any_bits()), 0..10),
        ) {
            let mut values: Vec<f64> = digits.iter().map(|&d| d as f64 / POWERS[exponent]).collect();
            for (at, bits) in strangers {
                let at = at.index(values.len());
                values[at] = bits;
            }
            bytes_of(&values);
        }

        #[test]
        fn smooth_floats_come_back(steps in prop::collection::vec(-1.0f64..1.0, 1..300)) {
            let mut sum = 100.0;
            let walk: Vec<f64> = steps.iter().map(|s| { sum += s / 3.0; sum }).collect();
            bytes_of(&walk);
            let mut xor = Vec::new();
            decode_xor(&encode_xor(&walk), 0..walk.len(), &mut xor).unwrap();
            prop_assert_eq!(xor, walk);
        }

        #[test]
        fn some_come_back_as_all_do(
            steps in prop::collection::vec(-500i64..500, 1..60), len in 1usize..6000, kind in 0usize..5, strangers: bool,
            places: (prop::sample::Index, prop::sample::Index), best: bool,
        ) {
            let mut sum = 0;
            let mut next = |i: usize| { sum += steps[i * i % steps.len()]; sum };
            let integers: Vec<i64> = (0..len).map(&mut next).collect();
            let value = |&sum: &i64| match kind {
                0 => 7.0,
                1 => sum as f64,
                2 => sum as f64 / 100.0 * 4096.0,
                3 => sum as f64 / 3.0,
                _ => from_ordered_bits(ordered_bits(sum as f64 / 1e6 + 3.0) + sum % 3),
            };
            let mut values: Vec<f64> = integers.iter().map(value).collect();
            if strangers {
                values[len / 2] = f64::from_bits(0x7ff0_0000_0000_0002);
            }
            let bytes = bytes_with(&values, if best { Effort::Best } else { Effort::Fast });
            let (from, to) = (places.0.index(len), places.1.index(len) + 1);
            let wanted = from.min(to)..from.max(to);
            let mut some = vec![0.5];
            let whole_max = decode_in(&bytes, len, wanted.clone(), &mut some).unwrap();
            let (mut mark, mut again) = (None, vec![0.5]);
            decode_from(&mut mark, &bytes, len, len * 3 / 4..len, &mut Vec::new()).unwrap();
            prop_assert_eq!(decode_from(&mut mark, &bytes, len, wanted.clone(), &mut again).unwrap(), whole_max);
            prop_assert!(again.iter().map(|v| v.to_bits()).eq(some.iter().map(|v| v.to_bits())));
            let is_known = |value: &f64, max| (0.0..=max as f64).contains(value) && value.fract().to_bits() == 0;
            prop_assert!(whole_max.is_none_or(|max| some[1..].iter().all(|value| is_known(value, max))));
            prop_assert!(some[1..].iter().map(|v| v.to_bits()).eq(values[wanted].iter().map(|v| v.to_bits())));
        }

        #[test]
        fn foreign_bytes_never_panic(codec in 0u8..8, bytes: Vec<u8>, count in 0usize..1000) {
            let bytes = [&[codec], &bytes[..]].concat();
            let _ = decode(&bytes, count, &mut Vec::new());
            let _ = decode_in(&bytes, count, count / 3..count / 2, &mut Vec::new());
        }
    }
}
