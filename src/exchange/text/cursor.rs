//! A place in a line, and what is wrong there.

use std::borrow::Cow;

/// At this byte of the line.
#[derive(Debug)]
pub struct Fault {
    at: usize,
    pub reason: String,
}

impl Fault {
    pub fn new(at: usize, reason: impl Into<String>) -> Fault {
        Fault { at, reason: reason.into() }
    }

    /// In characters from 1, as editors count.
    pub fn column_of(&self, line: &[u8]) -> usize {
        let before = &line[..self.at.min(line.len())];
        1 + String::from_utf8_lossy(before).chars().count()
    }
}

/// A few characters of what was found, printable.
pub fn shown(text: &str) -> String {
    const CHARS_MAX: usize = 40;
    let cut: String = text.chars().take(CHARS_MAX).collect();
    let dots = if cut.len() < text.len() { "…" } else { "" };
    format!("{cut:?}{dots}")
}

/// Walks over a line. `base` is where in it the text begins.
pub struct Cursor<'a> {
    base: usize,
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    pub fn new(base: usize, text: &'a str) -> Cursor<'a> {
        Cursor { base, text, at: 0 }
    }

    /// Where in the line it stands.
    pub fn place(&self) -> usize {
        self.base + self.at
    }

    pub fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    pub fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    pub fn skip_blanks(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start_matches([' ', '\t']).len();
    }

    /// Goes on by so many bytes, which end with a character.
    pub fn skip(&mut self, bytes: usize) {
        self.at += bytes;
    }

    pub fn take(&mut self, expected: char) -> bool {
        let is_there = self.rest().starts_with(expected);
        if is_there {
            self.at += expected.len_utf8();
        }
        is_there
    }

    pub fn expect(&mut self, expected: char) -> Result<(), Fault> {
        if self.take(expected) {
            return Ok(());
        }
        let found = match self.rest() {
            "" => "the end of the line".to_owned(),
            rest => shown(rest),
        };
        Err(self.fault(format!("expected {expected:?}, found {found}")))
    }

    /// All up to the first character that ends it.
    pub fn until(&mut self, is_end: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let len = rest.find(is_end).unwrap_or(rest.len());
        self.at += len;
        &rest[..len]
    }

    /// All up to a blank, with its place.
    pub fn word(&mut self) -> (usize, &'a str) {
        let place = self.place();
        (place, self.until(|c| c == ' ' || c == '\t'))
    }

    pub fn fault(&self, reason: impl Into<String>) -> Fault {
        Fault::new(self.place(), reason)
    }

    /// A text in double quotes. A backslash stands before itself, a quote, and an n for the end of a line.
    pub fn quoted(&mut self) -> Result<Cow<'a, str>, Fault> {
        let begin = self.place();
        self.expect('"')?;
        let inner = self.skip_to_quote().ok_or_else(|| Fault::new(begin, "a quoted text without an end"))?;
        Ok(unescaped(inner))
    }

    /// Goes behind the quote that ends a text; what stands before it.
    pub fn skip_to_quote(&mut self) -> Option<&'a str> {
        let rest = self.rest();
        let mut from = 0;
        loop {
            let at = from + memchr::memchr2(b'"', b'\\', &rest.as_bytes()[from..])?;
            if rest.as_bytes()[at] == b'"' {
                self.at += at + 1;
                return Some(&rest[..at]);
            }
            // What the backslash protects may be a character of several bytes.
            from = at + 1 + rest[at + 1..].chars().next()?.len_utf8();
        }
    }
}

/// Without its backslashes; one that protects nothing stays.
pub fn unescaped(text: &str) -> Cow<'_, str> {
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        let next = if c == '\\' { chars.next() } else { None };
        match next {
            None => out.push(c),
            Some('n') => out.push('\n'),
            Some(protected @ ('\\' | '"')) => out.push(protected),
            Some(other) => out.extend([c, other]),
        }
    }
    Cow::Owned(out)
}
