//! The text of a template to its pieces: text, and the tokens of the actions between `{{` and `}}`.

use crate::query::lexical::strings::unquote;

use super::TemplateError;

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Token<'t> {
    pub kind: Kind<'t>,
    /// Byte in the template's text.
    pub at: usize,
    /// A blank stood before it.
    pub is_apart: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind<'t> {
    /// Between actions; already trimmed.
    Text(&'t str),
    Open,
    Close,
    /// A function or a keyword.
    Word(&'t str),
    /// `.name`
    Field(&'t str),
    /// `.`
    Dot,
    /// `$name` without the dollar; empty for `$`.
    Variable(&'t str),
    String(String),
    Int(i64),
    Float(f64),
    Pipe,
    Declare,
    Assign,
    Comma,
    LeftParen,
    RightParen,
    End,
}

/// All tokens; the last is `End`.
pub(super) fn tokens(text: &str) -> Result<Vec<Token<'_>>, TemplateError> {
    let mut lexer = Lexer { text, at: 0, tokens: Vec::new() };
    let mut trims = false;
    loop {
        trims = match lexer.text(trims)? {
            Some(trims) => trims,
            None => break,
        };
    }
    lexer.push(Kind::End, lexer.at, false);
    Ok(lexer.tokens)
}

struct Lexer<'t> {
    text: &'t str,
    at: usize,
    tokens: Vec<Token<'t>>,
}

const BLANKS: [char; 4] = [' ', '\t', '\r', '\n'];

impl<'t> Lexer<'t> {
    fn push(&mut self, kind: Kind<'t>, at: usize, is_apart: bool) {
        self.tokens.push(Token { kind, at, is_apart });
    }

    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    fn refuse<T>(&self, at: usize, message: impl Into<String>) -> Result<T, TemplateError> {
        Err(TemplateError { at, message: message.into() })
    }

    /// Text up to the next action, and that action. Whether the text behind it is trimmed; `None` at the end.
    fn text(&mut self, trims_start: bool) -> Result<Option<bool>, TemplateError> {
        let start = self.at;
        let len = self.rest().find("{{").unwrap_or(self.rest().len());
        let mut text = &self.rest()[..len];
        self.at += len;
        let is_end = self.at == self.text.len();
        let trims_end = !is_end && trims_before(&self.rest()[2..]);
        if trims_start {
            text = text.trim_start_matches(BLANKS);
        }
        if trims_end {
            text = text.trim_end_matches(BLANKS);
        }
        if !text.is_empty() {
            self.push(Kind::Text(text), start, false);
        }
        if is_end {
            return Ok(None);
        }
        let open = self.at;
        self.at += if trims_end { 3 } else { 2 };
        let inside = self.rest().trim_start_matches(BLANKS);
        // Behind a trim marker a blank stands before the comment.
        if self.rest().starts_with("/*") || trims_end && inside.starts_with("/*") {
            return self.comment(open).map(Some);
        }
        self.push(Kind::Open, open, false);
        self.action(open).map(Some)
    }

    fn comment(&mut self, open: usize) -> Result<bool, TemplateError> {
        let Some(end) = self.rest().find("*/") else {
            return self.refuse(open, "unclosed comment");
        };
        self.at += end + 2;
        let trims = trims_after(self.rest());
        let rest = if trims { &self.rest().trim_start_matches(BLANKS)[1..] } else { self.rest() };
        if !rest.starts_with("}}") {
            return self.refuse(open, "comment ends before closing delimiter");
        }
        self.at = self.text.len() - rest.len() + 2;
        Ok(trims)
    }

    /// The tokens up to `}}`; whether that trims the text behind.
    fn action(&mut self, open: usize) -> Result<bool, TemplateError> {
        let mut parens = 0usize;
        loop {
            let rest = self.rest();
            let trims = trims_after(rest);
            let blanks = rest.len() - rest.trim_start_matches(BLANKS).len();
            self.at += blanks + usize::from(trims);
            if trims || self.rest().starts_with("}}") {
                if parens > 0 {
                    return self.refuse(self.at, "unclosed left paren");
                }
                self.push(Kind::Close, self.at, blanks > 0);
                self.at += 2;
                return Ok(trims);
            }
            let Some(first) = self.rest().chars().next() else {
                return self.refuse(open, "unclosed action");
            };
            let (kind, len) = self.token(first)?;
            match kind {
                Kind::LeftParen => parens += 1,
                Kind::RightParen if parens == 0 => return self.refuse(self.at, "unexpected right paren"),
                Kind::RightParen => parens -= 1,
                _ => {}
            }
            self.push(kind, self.at, blanks > 0);
            self.at += len;
        }
    }

    fn token(&self, first: char) -> Result<(Kind<'t>, usize), TemplateError> {
        let rest = self.rest();
        let second = rest.chars().nth(1);
        Ok(match first {
            '"' | '`' => {
                let (bytes, len) =
                    unquote(rest).map_err(|error| TemplateError { at: self.at, message: error.message })?;
                match String::from_utf8(bytes) {
                    Ok(text) => (Kind::String(text), len),
                    Err(_) => return self.refuse(self.at, "string is not valid UTF-8"),
                }
            }
            '\'' => self.character()?,
            '|' => (Kind::Pipe, 1),
            ':' if second == Some('=') => (Kind::Declare, 2),
            '=' => (Kind::Assign, 1),
            ',' => (Kind::Comma, 1),
            '(' => (Kind::LeftParen, 1),
            ')' => (Kind::RightParen, 1),
            '$' => {
                let name = name_at(&rest[1..]);
                (Kind::Variable(name), 1 + name.len())
            }
            '.' if !second.is_some_and(|c| c.is_ascii_digit()) => {
                let name = name_at(&rest[1..]);
                let kind = if name.is_empty() { Kind::Dot } else { Kind::Field(name) };
                (kind, 1 + name.len())
            }
            '0'..='9' | '.' | '+' | '-' => self.number()?,
            _ if is_name_char(first) => {
                let name = name_at(rest);
                (Kind::Word(name), name.len())
            }
            _ => return self.refuse(self.at, format!("unexpected character {first:?} in action")),
        })
    }

    /// `'x'` is the number of the character.
    fn character(&self) -> Result<(Kind<'t>, usize), TemplateError> {
        let (bytes, len) =
            unquote(self.rest()).map_err(|error| TemplateError { at: self.at, message: error.message })?;
        let text = String::from_utf8_lossy(&bytes);
        let mut chars = text.chars();
        match (chars.next(), chars.next()) {
            (Some(c), None) => Ok((Kind::Int(i64::from(u32::from(c))), len)),
            _ => self.refuse(self.at, "a character constant has one character"),
        }
    }

    fn number(&self) -> Result<(Kind<'t>, usize), TemplateError> {
        let rest = self.rest();
        let sign = usize::from(rest.starts_with(['+', '-']));
        let len = sign + crate::query::lexical::number::scan(&rest[sign..]);
        let word = &rest[..len];
        let digits = word.trim_start_matches(['+', '-']).replace('_', "");
        let signed = |value: i64| if word.starts_with('-') { value.checked_neg() } else { Some(value) };
        let hex = digits.strip_prefix("0x").or(digits.strip_prefix("0X"));
        let octal = digits
            .strip_prefix('0')
            .filter(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()));
        let int = match (hex, octal) {
            (Some(hex), _) => i64::from_str_radix(hex, 16).ok(),
            (None, Some(octal)) => i64::from_str_radix(octal, 8).ok(),
            (None, None) => digits.parse().ok(),
        };
        if let Some(value) = int.and_then(signed) {
            return Ok((Kind::Int(value), len));
        }
        let is_decimal = digits.bytes().all(|b| b.is_ascii_digit() || b".eE+-".contains(&b));
        match digits.parse::<f64>() {
            Ok(value) if is_decimal && value.is_finite() => {
                Ok((Kind::Float(if word.starts_with('-') { -value } else { value }), len))
            }
            _ => self.refuse(self.at, format!("bad number syntax: {word:?}")),
        }
    }
}

fn is_name_char(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

fn name_at(text: &str) -> &str {
    &text[..text.find(|c| !is_name_char(c)).unwrap_or(text.len())]
}

/// Whether an action that begins so, behind `{{`, trims the text before it.
fn trims_before(inside: &str) -> bool {
    inside.strip_prefix('-').is_some_and(|rest| rest.starts_with(BLANKS))
}

/// Whether an action ends here with a marker that trims the text behind it.
fn trims_after(rest: &str) -> bool {
    let behind = rest.trim_start_matches(BLANKS);
    behind.len() < rest.len() && behind.starts_with("-}}")
}
