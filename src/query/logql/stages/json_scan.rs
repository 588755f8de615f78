//! JSON read in place: values are skipped or handed out as the text they are, nothing is built.
//!
//! The whole of a value is checked while it is skipped, with one exception: what stands in strings. There only the
//! closing quote counts, and escapes are judged where a string is wanted.

use std::fmt;

/// Deeper nesting is refused, so that a hostile line cannot exhaust the stack.
const DEPTH_MAX: usize = 64;

/// Where a text stops being JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JsonError {
    pub expected: &'static str,
    pub at: usize,
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected {} at byte {}", self.expected, self.at)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Object,
    Array,
    String,
    Number,
    Boolean,
    Null,
}

/// A string between its quotes, as it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawString<'a> {
    pub text: &'a str,
    pub has_escapes: bool,
}

#[derive(Clone, Copy, Debug)]
pub struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    pub fn new(text: &'a str) -> Scanner<'a> {
        Scanner { text, at: 0 }
    }

    pub fn at(&self) -> usize {
        self.at
    }

    pub fn since(&self, start: usize) -> &'a str {
        &self.text[start..self.at]
    }

    fn fail<T>(&self, expected: &'static str) -> Result<T, JsonError> {
        Err(JsonError { expected, at: self.at })
    }

    /// The next byte that is no white space; 0 at the end, which begins nothing.
    fn peek(&mut self) -> u8 {
        let bytes = self.text.as_bytes();
        while let Some(b) = bytes.get(self.at) {
            if !matches!(b, b' ' | b'\t' | b'\n' | b'\r') {
                return *b;
            }
            self.at += 1;
        }
        0
    }

    /// What the value at this place is, told from its first byte.
    pub fn kind(&mut self) -> Result<Kind, JsonError> {
        Ok(match self.peek() {
            b'{' => Kind::Object,
            b'[' => Kind::Array,
            b'"' => Kind::String,
            b'-' | b'0'..=b'9' => Kind::Number,
            b't' | b'f' => Kind::Boolean,
            b'n' => Kind::Null,
            _ => return self.fail("a value"),
        })
    }

    /// White space and then the end of the text.
    pub fn end(&mut self) -> Result<(), JsonError> {
        self.peek();
        if self.at == self.text.len() { Ok(()) } else { self.fail("the end") }
    }

    /// Goes through an object: `member` is given each key, and reads its value or skips it.
    pub fn object<E: From<JsonError>>(
        &mut self,
        depth: usize,
        mut member: impl FnMut(&mut Scanner<'a>, RawString<'a>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.members(depth, |inside, _| {
            let key = inside.key()?;
            member(inside, key)
        })
    }

    /// Goes through an object: `member` is given each place, and reads the key and its value.
    pub fn members<E: From<JsonError>>(
        &mut self,
        depth: usize,
        mut member: impl FnMut(&mut Scanner<'a>, usize) -> Result<(), E>,
    ) -> Result<(), E> {
        self.open(b'{', "{", depth)?;
        if self.peek() == b'}' {
            self.at += 1;
            return Ok(());
        }
        for place in 0.. {
            self.peek();
            member(self, place)?;
            match self.peek() {
                b',' => self.at += 1,
                b'}' => break,
                _ => return Ok(self.fail("\",\" or \"}\"")?),
            }
        }
        self.at += 1;
        Ok(())
    }

    /// The key of a member, and the colon behind it.
    pub fn key(&mut self) -> Result<RawString<'a>, JsonError> {
        let key = self.string()?;
        if self.peek() != b':' {
            return self.fail("\":\"");
        }
        self.at += 1;
        Ok(key)
    }

    /// Goes over `text`, if that is what comes next.
    pub fn pass(&mut self, text: &str) -> bool {
        let is_next = self.text.as_bytes()[self.at..].starts_with(text.as_bytes());
        if is_next {
            self.at += text.len();
        }
        is_next
    }

    /// Goes through an array: `element` is given each place, and reads the value or skips it.
    pub fn array<E: From<JsonError>>(
        &mut self,
        depth: usize,
        mut element: impl FnMut(&mut Scanner<'a>, usize) -> Result<(), E>,
    ) -> Result<(), E> {
        self.open(b'[', "[", depth)?;
        if self.peek() == b']' {
            self.at += 1;
            return Ok(());
        }
        for place in 0.. {
            element(self, place)?;
            match self.peek() {
                b',' => self.at += 1,
                b']' => break,
                _ => return Ok(self.fail("\",\" or \"]\"")?),
            }
        }
        self.at += 1;
        Ok(())
    }

    fn open(&mut self, bracket: u8, expected: &'static str, depth: usize) -> Result<(), JsonError> {
        if depth >= DEPTH_MAX {
            return self.fail("nesting of at most 64");
        }
        if self.peek() != bracket {
            return self.fail(expected);
        }
        self.at += 1;
        Ok(())
    }

    pub fn string(&mut self) -> Result<RawString<'a>, JsonError> {
        if self.peek() != b'"' {
            return self.fail("a string");
        }
        let start = self.at + 1;
        let has_escapes = self.quoted()?;
        Ok(RawString { text: &self.text[start..self.at - 1], has_escapes })
    }

    /// Goes over a string whose quote is at this place; whether it has escapes.
    #[inline]
    fn quoted(&mut self) -> Result<bool, JsonError> {
        let bytes = self.text.as_bytes();
        let (mut at, mut has_escapes) = (self.at + 1, false);
        loop {
            match find_quote_or_escape(bytes, at) {
                Some(quote) if bytes[quote] == b'"' => {
                    self.at = quote + 1;
                    return Ok(has_escapes);
                }
                Some(escape) => at = escape + 2,
                None => return self.fail("a string that ends"),
            }
            has_escapes = true;
        }
    }

    /// Goes over a value of any kind.
    pub fn skip(&mut self, depth: usize) -> Result<Kind, JsonError> {
        let kind = self.kind()?;
        match kind {
            Kind::Object => {
                self.object(depth, |inside, _| inside.skip(depth + 1).map(|_| ()))?;
            }
            Kind::Array => {
                self.array(depth, |inside, _| inside.skip(depth + 1).map(|_| ()))?;
            }
            Kind::String => {
                self.quoted()?;
            }
            Kind::Number => self.number()?,
            Kind::Boolean if self.text.as_bytes()[self.at] == b't' => self.word("true")?,
            Kind::Boolean => self.word("false")?,
            Kind::Null => self.word("null")?,
        }
        Ok(kind)
    }

    fn word(&mut self, word: &'static str) -> Result<(), JsonError> {
        if self.pass(word) { Ok(()) } else { self.fail(word) }
    }

    fn number(&mut self) -> Result<(), JsonError> {
        let bytes = self.text.as_bytes();
        if bytes[self.at] == b'-' {
            self.at += 1;
        }
        let first = self.at;
        self.digits()?;
        if bytes[first] == b'0' && self.at > first + 1 {
            self.at = first;
            return self.fail("a number without leading zeros");
        }
        if bytes.get(self.at) == Some(&b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = bytes.get(self.at) {
            self.at += 1;
            if let Some(b'+' | b'-') = bytes.get(self.at) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), JsonError> {
        let rest = &self.text.as_bytes()[self.at..];
        let len = rest.iter().take_while(|b| b.is_ascii_digit()).count();
        if len == 0 {
            return self.fail("a digit");
        }
        self.at += len;
        Ok(())
    }
}

/// The first quote or backslash from `at` on; eight bytes at a time, as most strings are short.
#[inline]
fn find_quote_or_escape(bytes: &[u8], mut at: usize) -> Option<usize> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x80 * ONES;
    // The lowest bit that is set belongs to the first byte that is zero.
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word & HIGH;
    while let Some(word) = bytes.get(at..at + 8) {
        let word = u64::from_le_bytes(word.try_into().expect("eight bytes"));
        let found = zeros(word ^ (b'"' as u64 * ONES)) | zeros(word ^ (b'\\' as u64 * ONES));
        if found != 0 {
            return Some(at + (found.trailing_zeros() / 8) as usize);
        }
        at += 8;
    }
    let found = bytes.get(at..)?.iter().position(|byte| matches!(byte, b'"' | b'\\'))?;
    Some(at + found)
}

impl<'a> RawString<'a> {
    /// The text the string stands for; `scratch` holds it where it is not the text that is written.
    pub fn text_in<'s>(&self, scratch: &'s mut String) -> Option<&'s str>
    where
        'a: 's,
    {
        if !self.has_escapes {
            return Some(self.text);
        }
        scratch.clear();
        unescape(self.text, scratch).then_some(&*scratch)
    }
}

/// Appends what an escaped text stands for; false if an escape is none. Half of a surrogate pair is `U+FFFD`.
pub fn unescape(text: &str, to: &mut String) -> bool {
    let mut rest = text;
    while let Some(at) = memchr::memchr(b'\\', rest.as_bytes()) {
        to.push_str(&rest[..at]);
        let Some(escape) = rest.as_bytes().get(at + 1) else {
            return false;
        };
        let mut len = 2;
        to.push(match escape {
            b'"' | b'\\' | b'/' => *escape as char,
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let Some((c, escape_len)) = unicode_escape(&rest[at..]) else {
                    return false;
                };
                len = escape_len;
                c
            }
            _ => return false,
        });
        rest = &rest[at + len..];
    }
    to.push_str(rest);
    true
}

/// The character of `\uXXXX`, or of two of them that are a surrogate pair, and the length of what was written.
fn unicode_escape(text: &str) -> Option<(char, usize)> {
    let unit = |at: usize| {
        let digits = text.get(at + 2..at + 6).filter(|_| text[at..].starts_with("\\u"))?;
        digits.bytes().all(|b| b.is_ascii_hexdigit()).then(|| u32::from_str_radix(digits, 16).ok())?
    };
    let first = unit(0)?;
    if !(0xD800..0xDC00).contains(&first) {
        return Some((char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER), 6));
    }
    match text.is_char_boundary(6).then(|| unit(6)).flatten() {
        Some(second @ 0xDC00..0xE000) => {
            let code = 0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00);
            Some((char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER), 12))
        }
        _ => Some((char::REPLACEMENT_CHARACTER, 6)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn skipped(text: &str) -> Result<(), JsonError> {
        let mut scanner = Scanner::new(text);
        scanner.skip(0)?;
        scanner.end()
    }

    #[test]
    fn what_is_no_json_is_told_with_its_place() {
        let fails = |text| skipped(text).unwrap_err();
        assert_eq!(fails("{\"a\":}"), JsonError { expected: "a value", at: 5 });
        assert_eq!(fails("{\"a\":1"), JsonError { expected: "\",\" or \"}\"", at: 6 });
        assert_eq!(fails("{\"a\":\"x"), JsonError { expected: "a string that ends", at: 5 });
        assert_eq!(fails("[1,]"), JsonError { expected: "a value", at: 3 });
        assert_eq!(fails("{} {}"), JsonError { expected: "the end", at: 3 });
        assert_eq!(fails("[007]").expected, "a number without leading zeros");
    }

    #[test]
    fn a_string_ends_at_its_quote_wherever_that_lies() {
        for len in 0..40 {
            for other in ["x", "\u{3b0}", "\\\"", "!", "#", "]", "\u{22a2}"] {
                let text = other.repeat(len);
                let raw = Scanner::new(&format!("\"{text}\",\"")).string().map(|raw| raw.text.to_owned());
                assert_eq!(raw.as_deref(), Ok(&*text));
                assert!(Scanner::new(&format!("\"{text}")).string().is_err());
            }
        }
    }

    #[test]
    fn nesting_ends_before_the_stack_does() {
        assert!(skipped(&"[".repeat(100_000)).is_err());
        let deep = |n| "[".repeat(n) + &"]".repeat(n);
        assert!(skipped(&deep(64)).is_ok() && skipped(&deep(65)).is_err());
    }

    #[test]
    fn escapes_stand_for_characters() {
        let text = |escaped: &str| {
            let mut to = String::new();
            unescape(escaped, &mut to).then_some(to)
        };
        assert_eq!(text(r#"a\"\\\/\n\té"#).as_deref(), Some("a\"\\/\n\té"));
        assert_eq!(text(r"\u00e9\uD83D\uDE00").as_deref(), Some("é😀"));
        assert_eq!(text(r"\ud83dx\udE00").as_deref(), Some("\u{FFFD}x\u{FFFD}"));
        assert_eq!((text(r"\x"), text(r"\u12"), text("\\u12é4"), text("\\")), (None, None, None, None));
        assert_eq!(text("\\ud800é\\u0061").as_deref(), Some("\u{FFFD}éa"));
    }

    proptest::proptest! {
        #[test]
        fn what_serde_reads_is_skipped_and_what_it_refuses_is_not(
            text in "[\\[\\]{}:, \"a\\\\0-2.e-]{0,12}|\\[(\"(a|\\\\\\\\|\\\\\"){0,3}\",|-?[01]{1,3}(\\.[0-9])?,|true,|null,){0,3}1\\]"
        ) {
            // Escapes are judged only where a string is wanted; numbers too large for serde are JSON nevertheless.
            let theirs = serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok();
            let ours = skipped(&text).is_ok();
            proptest::prop_assert!(theirs == ours || (ours && text.contains('\\')), "{} {} {}", text, theirs, ours);
        }

        #[test]
        fn strings_are_read_as_serde_reads_them(text in "\\PC{0,20}") {
            let written = serde_json::to_string(&text).unwrap();
            let mut scratch = String::new();
            let raw = Scanner::new(&written).string().unwrap();
            proptest::prop_assert_eq!(raw.text_in(&mut scratch), Some(&*text));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,40}|[\\\\u0-9a-fA-F\"é{}:]{0,40}") {
            let _ = skipped(&text);
            let mut scratch = String::new();
            unescape(&text, &mut scratch);
        }
    }
}
