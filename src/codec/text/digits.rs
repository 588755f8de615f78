//! Texts that are all digits, perhaps behind a prefix that all share.
//!
//! Decimal ones become integers; hexadecimal ones of one length, two digits a byte.

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

pub fn open_decimal(mut bytes: &[u8], count: usize, max: usize) -> Result<Joined, Malformed> {
    let prefix = take_text(&mut bytes)?.as_bytes();
    let (kind, width) = (take_u8(&mut bytes)?, take_u8(&mut bytes)? as usize);
    if kind > MARKED || width > DIGITS_MAX || width == 0 {
        return Err(Malformed("unknown kind of decimal numbers"));
    }
    if (prefix.len() + 1).saturating_mul(count) > max {
        return Err(TOO_LONG);
    }
    let bound = if kind == MARKED { 2 * 10u64.pow(width as u32) } else { 10u64.pow(width as u32) };
    let (mut texts, mut ends) = (Vec::new(), Vec::with_capacity(count));
    let (mut end, mut is_in_bounds) = (0, true);
    integers::for_each_group(&mut bytes, count, |group| {
        if end > max {
            return;
        }
        texts.resize(end + group.len() * (prefix.len() + Digits::LEN), 0);
        for &number in group {
            is_in_bounds &= (number as u64) < bound;
            let digits = Digits::new(number as u64);
            let shown = match kind {
                CANONICAL => digits.first..Digits::LEN,
                FIXED => Digits::LEN - width..Digits::LEN,
                FRACTION => Digits::LEN - width..digits.last_but_zeros(width),
                _ => digits.first + 1..Digits::LEN,
            };
            texts[end..end + prefix.len()].copy_from_slice(prefix);
            end += prefix.len();
            texts[end..end + Digits::LEN].copy_from_slice(digits.from(shown.start));
            end += shown.len();
            ends.push(end);
        }
    })?;
    if !is_in_bounds {
        return Err(Malformed("a decimal number has too many digits"));
    }
    if end > max {
        return Err(TOO_LONG);
    }
    texts.truncate(end);
    Joined::new(texts, ends.into_iter(), 0)
}

/// The digits of a number: the last ones of the first 20 bytes.
struct Digits {
    bytes: [u8; 2 * Digits::LEN],
    /// Where the first digit that is not a zero in front lies.
    first: usize,
}

/// "00" to "99", one after the other.
const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[0; 2]; 100];
    let mut n = 0;
    while n < 100 {
        pairs[n] = [b'0' + n as u8 / 10, b'0' + n as u8 % 10];
        n += 1;
    }
    pairs
};

impl Digits {
    /// No 64-bit number has more.
    const LEN: usize = 20;

    fn new(mut number: u64) -> Digits {
        let mut bytes = [b'0'; 2 * Digits::LEN];
        let mut first = Digits::LEN;
        while number >= 10 {
            first -= 2;
            bytes[first..first + 2].copy_from_slice(&PAIRS[(number % 100) as usize]);
            number /= 100;
        }
        if number > 0 || first == Digits::LEN {
            first -= 1;
            bytes[first] = b'0' + number as u8;
        }
        Digits { bytes, first }
    }

    /// As many bytes from `start` on as there may be digits: a copy of a fixed length is quick.
    fn from(&self, start: usize) -> &[u8] {
        &self.bytes[start..start + Digits::LEN]
    }

    /// The end of the last `width` digits without their zeros at the end, but of one at least.
    fn last_but_zeros(&self, width: usize) -> usize {
        let digits = Digits::LEN - width..Digits::LEN;
        let last = self.bytes[digits.clone()].iter().rposition(|&digit| digit != b'0');
        digits.start + last.map_or(1, |last| last + 1)
    }
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

pub fn open_hexadecimal(mut bytes: &[u8], count: usize, max: usize) -> Result<Joined, Malformed> {
    let prefix = take_text(&mut bytes)?.as_bytes();
    let digit_count = take_count(&mut bytes, max)?;
    let digits = match take_u8(&mut bytes)? {
        0 => LOWER,
        1 => UPPER,
        _ => return Err(Malformed("unknown kind of hexadecimal numbers")),
    };
    let len = prefix.len() + digit_count;
    let total = len.checked_mul(count).filter(|&total| total <= max).ok_or(TOO_LONG)?;
    let packed_len = digit_count.div_ceil(2);
    let packed = compressed::decode_block(bytes, packed_len * count, 0)?;
    if packed.len() != packed_len * count {
        return Err(Malformed("hexadecimal numbers have another length"));
    }
    let pairs: Vec<[u8; 2]> = (0..=255usize).map(|b| [digits[b >> 4], digits[b & 15]]).collect();
    // Of an odd count, the digit that is too many lies where the next text begins.
    let mut texts = vec![0; total + 1];
    for row in 0..count {
        let mut at = row * len;
        texts[at..at + prefix.len()].copy_from_slice(prefix);
        at += prefix.len();
        for &byte in &packed[row * packed_len..(row + 1) * packed_len] {
            texts[at..at + 2].copy_from_slice(&pairs[byte as usize]);
            at += 2;
        }
    }
    texts.truncate(total);
    Joined::new(texts, (0..count).map(|row| (row + 1) * len), 0)
}
