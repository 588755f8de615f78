//! Number literals as Go reads them: integers of base 0 first (`0x1F`, `0755`, `1_000`), then floats.

use super::duration::parse_duration;
use super::strings::quote;

/// A token that starts like a number and is neither number nor duration, or too large.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NumberError {
    #[error("bad number or duration syntax: {}", quote(.0.as_bytes()))]
    Syntax(String),
    #[error("error parsing number: strconv.ParseFloat: parsing {}: value out of range", quote(.0.as_bytes()))]
    OutOfRange(String),
    #[error("not a valid duration string: {}", quote(.0.as_bytes()))]
    Duration(String),
    #[error("duration out of range")]
    DurationOutOfRange,
}

/// The length of the number or duration at the start of `text`, good or bad: all that belongs to one word.
pub fn scan(text: &str) -> usize {
    let bytes = text.as_bytes();
    let is_hex = bytes.len() > 1 && bytes[0] == b'0' && matches!(bytes[1], b'x' | b'X');
    let mut len = 0;
    while let Some(&b) = bytes.get(len) {
        let is_exponent_sign = matches!(b, b'+' | b'-') && !is_hex && is_exponent(&bytes[..len]);
        if !(b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.') || is_exponent_sign) {
            break;
        }
        len += 1;
    }
    len
}

/// Whether `before` is a mantissa and its `e`: in `5m-1e` no sign follows.
fn is_exponent(before: &[u8]) -> bool {
    let Some((b'e' | b'E', mantissa)) = before.split_last() else {
        return false;
    };
    mantissa.last().is_some_and(|b| b.is_ascii_digit() || *b == b'.')
        && mantissa.iter().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'_'))
}

/// What a whole word stands for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Word {
    Number(f64),
    /// Milliseconds.
    Duration(i64),
}

/// Reads a word that [`scan`] found.
pub fn read(word: &str) -> Result<Word, NumberError> {
    if let Some(seconds) = read_number(word)? {
        return Ok(Word::Number(seconds));
    }
    if !looks_like_duration(word) {
        return Err(NumberError::Syntax(word.to_owned()));
    }
    match parse_duration(word) {
        Some(ms) => Ok(Word::Duration(ms)),
        None if has_known_units(word) => Err(NumberError::DurationOutOfRange),
        None => Err(NumberError::Duration(word.to_owned())),
    }
}

fn read_number(word: &str) -> Result<Option<f64>, NumberError> {
    if !underscores_separate_digits(word) {
        return Ok(None);
    }
    let plain = word.replace('_', "");
    if let Some(digits) = plain.strip_prefix("0x").or(plain.strip_prefix("0X")) {
        return Ok(i64::from_str_radix(digits, 16).ok().map(|n| n as f64));
    }
    if !plain.bytes().any(|b| b.is_ascii_digit()) || plain.bytes().any(|b| !b"0123456789.eE+-".contains(&b)) {
        return Ok(None);
    }
    let octal = plain.strip_prefix('0').and_then(|digits| i64::from_str_radix(digits, 8).ok());
    if let Some(n) = octal {
        return Ok(Some(n as f64));
    }
    match plain.parse::<f64>() {
        Ok(value) if value.is_infinite() => Err(NumberError::OutOfRange(word.to_owned())),
        Ok(value) => Ok(Some(value)),
        Err(_) => Ok(None),
    }
}

/// As in Go: an underscore stands between digits, or behind `0x`.
fn underscores_separate_digits(word: &str) -> bool {
    let bytes = word.as_bytes();
    let is_hex = word.starts_with("0x") || word.starts_with("0X");
    let is_digit = |b: &u8| if is_hex { b.is_ascii_hexdigit() } else { b.is_ascii_digit() };
    bytes.iter().enumerate().filter(|(_, b)| **b == b'_').all(|(at, _)| {
        let before_is_good = at > 0 && (is_digit(&bytes[at - 1]) || is_hex && at == 2);
        before_is_good && bytes.get(at + 1).is_some_and(is_digit)
    })
}

/// Digits and a unit, again and again; the units may still be in a wrong order.
fn looks_like_duration(word: &str) -> bool {
    let mut rest = word.as_bytes();
    while !rest.is_empty() {
        let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
        let Some(unit) = rest.get(digits).filter(|unit| b"smhdwy".contains(unit)) else {
            return false;
        };
        // A unit and any `s`: `hs` is a duration with a bad unit.
        let s = usize::from(rest.get(digits + 1) == Some(&b's') && *unit != b's');
        if digits == 0 {
            return false;
        }
        rest = &rest[digits + 1 + s..];
    }
    true
}

/// Whether only the size can be wrong: with every count 0 it would be a duration.
fn has_known_units(word: &str) -> bool {
    let mut zeroed = String::with_capacity(word.len());
    let mut in_digits = false;
    for c in word.chars() {
        if !c.is_ascii_digit() {
            zeroed.push(c);
        } else if !in_digits {
            zeroed.push('0');
        }
        in_digits = c.is_ascii_digit();
    }
    parse_duration(&zeroed).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_go_reads_them() {
        for (text, value) in [
            ("1", 1.0),
            (".5", 0.5),
            ("5.", 5.0),
            ("5e-3", 0.005),
            ("0xc", 12.0),
            ("0X_1F", 31.0),
            ("0755", 493.0),
            ("089", 89.0),
            ("1_000", 1000.0),
            ("1e3", 1000.0),
            ("0", 0.0),
            ("0.5", 0.5),
            ("9223372036854775808", 9223372036854775808.0),
        ] {
            assert_eq!(read(text), Ok(Word::Number(value)), "{text}");
        }
    }

    #[test]
    fn what_is_neither_number_nor_duration_is_refused() {
        for text in ["2.5.", "100..4", "0deadbeef", "1__0", "1_", "5mm", "5m1", "1e", "0x", "1.5m", "0b1"] {
            assert_eq!(read(text), Err(NumberError::Syntax(text.to_owned())));
        }
        assert!(matches!(read("1e400"), Err(NumberError::OutOfRange(_))));
        assert!(matches!(read(&"9".repeat(309)), Err(NumberError::OutOfRange(_))));
        for text in ["5m1h", "5m1m", "5y1hs"] {
            assert_eq!(read(text), Err(NumberError::Duration(text.to_owned())));
        }
        assert_eq!(read("9999y"), Err(NumberError::DurationOutOfRange));
    }

    #[test]
    fn a_word_ends_where_the_next_operator_starts() {
        for (text, len) in [("5e-3+1", 4), ("5s-8", 2), ("0xe-1", 3), ("1e3-1", 3), ("5 ", 1), ("1.2.3)", 5)]
        {
            assert_eq!(scan(text), len, "{text}");
        }
    }
}
