//! Texts that are all digits, perhaps behind a prefix that all share.
//!
//! Decimal ones become integers; hexadecimal ones of one length, two digits a byte.

use std::cell::Cell;
use std::ops::Range;

use super::joined::Joined;
use super::{Effort, TOO_LONG};
use crate::codec::varint::write_u64;
use crate::codec::{Malformed, compressed, integers, put_text, take_count, take_text, take_u8};

/// As they are counted: no zero in front.
const CANONICAL: u8 = 0;
/// Of one length, filled with zeros in front.
const FIXED: u8 = 1;
/// As after a decimal point: filled with zeros behind, which are not shown.
const FRACTION: u8 = 2;
/// Any: the integer has a 1 in front, which is not shown.
const MARKED: u8 = 3;

/// 10^18 is the largest power of ten below 2^63.
const DIGITS_MAX: usize = 18;

/// Appends the texts as decimal numbers, if they are.
pub fn encode_decimal(texts: &[&str], out: &mut Vec<u8>) -> bool {
    let prefix = texts[0].bytes().take_while(|b| !b.is_ascii_digit()).count();
    let prefix = &texts[0][..texts[0].floor_char_boundary(prefix)];
    let Some(shape) = DecimalShape::of(texts, prefix) else {
        return false;
    };
    let values = texts.iter().map(|text| shape.number(&text.as_bytes()[prefix.len()..]));
    let values: Vec<i64> = values.collect();
    put_text(out, prefix);
    out.extend([shape.kind, shape.width as u8]);
    integers::encode(&values, out);
    true
}

struct DecimalShape {
    kind: u8,
    /// The most digits of a text.
    width: usize,
}

impl DecimalShape {
    fn of(texts: &[&str], prefix: &str) -> Option<DecimalShape> {
        let (mut min, mut max) = (usize::MAX, 0);
        let (mut leads_with_zero, mut ends_with_zero) = (false, false);
        for text in texts {
            let digits = text.as_bytes().strip_prefix(prefix.as_bytes())?;
            let is_decimal = !digits.is_empty() && digits.len() <= DIGITS_MAX;
            if !is_decimal || !digits.iter().all(u8::is_ascii_digit) {
                return None;
            }
            (min, max) = (min.min(digits.len()), max.max(digits.len()));
            leads_with_zero |= digits[0] == b'0' && digits.len() > 1;
            ends_with_zero |= digits.ends_with(b"0");
        }
        let kind = match () {
            _ if !leads_with_zero => CANONICAL,
            _ if min == max => FIXED,
            _ if !ends_with_zero => FRACTION,
            _ if max < DIGITS_MAX => MARKED,
            _ => return None,
        };
        Some(DecimalShape { kind, width: max })
    }

    fn number(&self, digits: &[u8]) -> i64 {
        let front = i64::from(self.kind == MARKED);
        let number = digits.iter().fold(front, |number, digit| number * 10 + i64::from(digit - b'0'));
        if self.kind == FRACTION { number * 10i64.pow((self.width - digits.len()) as u32) } else { number }
    }
}

/// Of `count` texts all, or only those that `wanted` numbers, which increase.
pub fn open_decimal(
    mut bytes: &[u8],
    count: usize,
    wanted: Option<&[u32]>,
    max: usize,
) -> Result<Joined, Malformed> {
    let prefix = take_text(&mut bytes)?.as_bytes();
    let (kind, width) = (take_u8(&mut bytes)?, take_u8(&mut bytes)? as usize);
    if kind > MARKED || width > DIGITS_MAX || width == 0 {
        return Err(Malformed("unknown kind of decimal numbers"));
    }
    if (prefix.len() + 1).saturating_mul(count) > max {
        return Err(TOO_LONG);
    }
    let ends = Vec::with_capacity(wanted.map_or(count, <[u32]>::len));
    let mut texts =
        DecimalTexts { prefix, kind, width, max, bytes: Vec::new(), ends, end: 0, is_in_bounds: true };
    let Some(wanted) = wanted else {
        integers::for_each_group(&mut bytes, count, |group| texts.push_all(group.iter().copied()))?;
        return texts.finish();
    };
    let left = Cell::new(wanted);
    let wants = |run: Range<usize>| left.get().first().is_some_and(|&row| run.contains(&(row as usize)));
    integers::for_each_wanted_group(&mut bytes, count, wants, |first, group| {
        let inside = left.get().partition_point(|&row| (row as usize) < first + group.len());
        let (inside, behind) = left.get().split_at(inside);
        texts.push_all(inside.iter().map(|&row| group[row as usize - first]));
        left.set(behind);
    })?;
    texts.finish()
}

/// Decimal numbers as they become texts.
struct DecimalTexts<'a> {
    prefix: &'a [u8],
    kind: u8,
    width: usize,
    max: usize,
    /// The texts, up to `end`.
    bytes: Vec<u8>,
    end: usize,
    ends: Vec<usize>,
    is_in_bounds: bool,
}

impl DecimalTexts<'_> {
    #[inline(always)]
    fn push_all(&mut self, numbers: impl ExactSizeIterator<Item = i64>) {
        if self.end > self.max {
            return;
        }
        let (prefix, kind, width) = (self.prefix, self.kind, self.width);
        let bound = if kind == MARKED { 2 * 10u64.pow(width as u32) } else { 10u64.pow(width as u32) };
        let mut end = self.end;
        self.bytes.resize(end + numbers.len() * (prefix.len() + Digits::LEN), 0);
        for number in numbers {
            self.is_in_bounds &= (number as u64) < bound;
            if !prefix.is_empty() {
                self.bytes[end..end + prefix.len()].copy_from_slice(prefix);
                end += prefix.len();
            }
            let digits = Digits::new(number as u64);
            let (from, to) = match kind {
                CANONICAL => (digits.first(), Digits::LEN),
                FIXED => (Digits::LEN - width, Digits::LEN),
                FRACTION => (Digits::LEN - width, digits.last().max(Digits::LEN - width + 1)),
                _ => (digits.first() + 1, Digits::LEN),
            };
            digits.write(from, &mut self.bytes[end..end + Digits::LEN]);
            end += to - from;
            self.ends.push(end);
        }
        self.end = end;
    }

    fn finish(mut self) -> Result<Joined, Malformed> {
        if !self.is_in_bounds {
            return Err(Malformed("a decimal number has too many digits"));
        }
        if self.end > self.max {
            return Err(TOO_LONG);
        }
        self.bytes.truncate(self.end);
        Joined::new(self.bytes, self.ends.into_iter(), 0)
    }
}

/// The last 24 digits of a number: the values of 16 and of the 8 before, the first in the lowest byte.
struct Digits {
    high: u64,
    low: u128,
}

impl Digits {
    const LEN: usize = 24;

    fn new(number: u64) -> Digits {
        const EIGHT: u64 = 100_000_000;
        if number < EIGHT {
            return Digits { high: 0, low: u128::from(eight_digits(number)) << 64 };
        }
        let (rest, last) = (number / EIGHT, number % EIGHT);
        let low = u128::from(eight_digits(rest % EIGHT)) | u128::from(eight_digits(last)) << 64;
        Digits { high: eight_digits(rest / EIGHT), low }
    }

    /// Where the first digit stands that is not a zero in front; of 0, the last.
    fn first(&self) -> usize {
        match self.high {
            0 => 8 + (self.low.trailing_zeros() as usize / 8).min(15),
            high => high.trailing_zeros() as usize / 8,
        }
    }

    /// Behind the last digit that is not a zero; of what has none among its last 16, the start of these.
    fn last(&self) -> usize {
        Digits::LEN - self.low.leading_zeros() as usize / 8
    }

    /// Writes the digits from a place on to the front of `text`, and something behind them.
    fn write(&self, place: usize, text: &mut [u8]) {
        const ZEROS: u128 = u128::from_le_bytes([b'0'; 16]);
        let low = self.low | ZEROS;
        if place >= 8 {
            let low = low.checked_shr(8 * (place as u32 - 8)).unwrap_or(0);
            text[..16].copy_from_slice(&low.to_le_bytes());
        } else {
            let high = (self.high | ZEROS as u64) >> (8 * place);
            text[..8].copy_from_slice(&high.to_le_bytes());
            text[8 - place..24 - place].copy_from_slice(&low.to_le_bytes());
        }
    }
}

/// The digits of a number below 10^8, one a byte, the first in the lowest. Both halves, then all quarters, are
/// divided at once, by multiplying with an inverse that is exact for so few digits.
fn eight_digits(number: u64) -> u64 {
    let halves = (number / 10_000) | ((number % 10_000) << 32);
    let hundreds = ((halves * 10_486) >> 20) & 0x0000_007f_0000_007f;
    let quarters = hundreds | (halves - 100 * hundreds) << 16;
    let tens = ((quarters * 103) >> 10) & 0x000f_000f_000f_000f;
    tens | (quarters - 10 * tens) << 8
}

const LOWER: &[u8; 16] = b"0123456789abcdef";
const UPPER: &[u8; 16] = b"0123456789ABCDEF";

/// Appends the texts as hexadecimal digits, if they are of one length and case.
pub fn encode_hexadecimal(texts: &[&str], effort: Effort, out: &mut Vec<u8>) -> bool {
    let prefix = texts[0].bytes().take_while(|b| !b.is_ascii_hexdigit()).count();
    let prefix = &texts[0][..texts[0].floor_char_boundary(prefix)];
    let digit_count = texts[0].len() - prefix.len();
    let mut letters =
        texts.iter().flat_map(|text| text.bytes().skip(prefix.len())).filter(u8::is_ascii_alphabetic);
    let is_upper = letters.next().is_some_and(|letter| letter.is_ascii_uppercase());
    let value_of = values_of(if is_upper { UPPER } else { LOWER });
    let mut packed = Vec::with_capacity(texts.len() * digit_count.div_ceil(2));
    for text in texts {
        let digits = match text.as_bytes().strip_prefix(prefix.as_bytes()) {
            Some(digits) if digits.len() == digit_count && digit_count > 0 => digits,
            _ => return false,
        };
        let mut seen = 0;
        let (pairs, odd) = digits.as_chunks::<2>();
        for &[high, low] in pairs {
            let (high, low) = (value_of[high as usize], value_of[low as usize]);
            seen |= high | low;
            packed.push(high << 4 | low & 0xf);
        }
        if let [digit] = odd {
            let high = value_of[*digit as usize];
            seen |= high;
            packed.push(high << 4);
        }
        if seen > 0xf {
            return false;
        }
    }
    put_text(out, prefix);
    write_u64(out, digit_count as u64);
    out.push(u8::from(is_upper));
    compressed::encode_at(effort.zstd_level(), &packed, out);
    true
}

/// What each byte means as a digit; 0xff: it is none.
fn values_of(digits: &[u8; 16]) -> [u8; 256] {
    let mut values = [0xff; 256];
    (0..16).for_each(|value| values[digits[value] as usize] = value as u8);
    values
}

/// As [`open_decimal`].
pub fn open_hexadecimal(
    mut bytes: &[u8],
    count: usize,
    wanted: Option<&[u32]>,
    max: usize,
) -> Result<Joined, Malformed> {
    let prefix = take_text(&mut bytes)?.as_bytes();
    let digit_count = take_count(&mut bytes, max)?;
    let digits = match take_u8(&mut bytes)? {
        0 => LOWER,
        1 => UPPER,
        _ => return Err(Malformed("unknown kind of hexadecimal numbers")),
    };
    let len = prefix.len() + digit_count;
    len.checked_mul(count).filter(|&total| total <= max).ok_or(TOO_LONG)?;
    let packed_len = digit_count.div_ceil(2);
    let packed = compressed::decode_block(bytes, packed_len * count, 0)?;
    if packed.len() != packed_len * count {
        return Err(Malformed("hexadecimal numbers have another length"));
    }
    let pairs: Vec<[u8; 2]> = (0..=255usize).map(|b| [digits[b >> 4], digits[b & 15]]).collect();
    // Of an odd count, the digit that is too many lies where the next text begins.
    let text_count = wanted.map_or(count, <[u32]>::len);
    let mut texts = vec![0; text_count * len + 1];
    for text in 0..text_count {
        let row = wanted.map_or(text, |wanted| wanted[text] as usize);
        let mut at = text * len;
        texts[at..at + prefix.len()].copy_from_slice(prefix);
        at += prefix.len();
        for &byte in &packed[row * packed_len..(row + 1) * packed_len] {
            texts[at..at + 2].copy_from_slice(&pairs[byte as usize]);
            at += 2;
        }
    }
    texts.truncate(text_count * len);
    Joined::new(texts, (0..text_count).map(|text| (text + 1) * len), 0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn eight_digits_are_those_of_the_number() {
        let numbers = (0..10_000).flat_map(|n| [n, n * 10_000, 99_999_999 - n, n * 9_973]);
        for number in numbers {
            let digits = eight_digits(number).to_le_bytes().map(|digit| char::from(b'0' + digit));
            assert_eq!(digits.iter().collect::<String>(), format!("{number:08}"));
        }
    }

    proptest! {
        #[test]
        fn digits_are_written_as_everywhere(number: u64, shift in 0u32..64, place in 0usize..=24) {
            let number = number >> shift;
            let (digits, text) = (Digits::new(number), format!("{number:024}"));
            let mut written = [0; Digits::LEN];
            digits.write(place, &mut written);
            prop_assert_eq!(&written[..24 - place], &text.as_bytes()[place..]);
            prop_assert_eq!(&text[digits.first()..], number.to_string());
        }
    }
}
