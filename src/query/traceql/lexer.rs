//! Text to tokens in one linear pass. A field is one token, since what belongs to a name (`.a-b/c`) depends on nothing
//! around it: a name goes on until a blank or a sign of the language.

use super::ast::{Field, FieldName, Intrinsic, Relation, Scope};
use super::position::ParseError;
use crate::query::lexical::strings::{quote_char, unquote};

#[derive(Clone, Debug, PartialEq)]
pub struct Token {
    pub kind: TokenKind,
    /// Its first byte in the text.
    pub at: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub enum TokenKind {
    LeftBrace,
    RightBrace,
    LeftParen,
    RightParen,
    Comma,
    Pipe,
    And,
    Or,
    Not,
    Equal,
    NotEqual,
    Matches,
    /// `!~`: no match of a text, or no sibling.
    NotMatches,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
    Power,
    /// `>>`, `<<` and `~`.
    Related(Relation),
    /// `!>`, `!>>`, `!<`, `!<<`.
    NotRelated(Relation),
    /// `&>` and so on.
    Union(Relation),
    /// A keyword or the name of an intrinsic without scope.
    Word(String),
    Field(Field),
    Text(String),
    Int(i64),
    Float(f64),
    /// Nanoseconds.
    Duration(i64),
    End,
}

/// All tokens, the last of them `End`; and where the text breaks off as no token, why.
pub fn tokens(text: &str) -> (Vec<Token>, Option<ParseError>) {
    let mut lexer = Lexer { text, at: 0 };
    let mut tokens = Vec::with_capacity(text.len() / 4 + 1);
    loop {
        let at = match lexer.skip_blanks_and_comments() {
            Ok(()) => lexer.at,
            Err(error) => return (closed(tokens, text), Some(error)),
        };
        match lexer.scan() {
            Ok(None) => return (closed(tokens, text), None),
            Ok(Some((kind, len))) => {
                lexer.at += len;
                tokens.push(Token { kind, at });
            }
            Err(message) => {
                return (closed(tokens, text), Some(ParseError::new(text, at, message)));
            }
        }
    }
}

/// The one field that the text is: `resource.service.name`, `.a`, `span."a b"`, `name`, `trace:duration`.
pub fn field(text: &str) -> Option<Field> {
    let (tokens, broken) = tokens(text);
    match (tokens.as_slice(), broken) {
        ([Token { kind: TokenKind::Field(field), .. }, _], None) => Some(field.clone()),
        ([Token { kind: TokenKind::Word(word), .. }, _], None) => {
            Intrinsic::from_name(word).map(Field::intrinsic)
        }
        _ => None,
    }
}

/// A duration as the language has it, in nanoseconds: `1h30m`, `1.5s`.
pub fn duration(text: &str) -> Option<i64> {
    let (tokens, broken) = tokens(text);
    match (tokens.as_slice(), broken) {
        ([Token { kind: TokenKind::Duration(nanos), .. }, _], None) => Some(*nanos),
        ([Token { kind: TokenKind::Int(0), .. }, _], None) => Some(0),
        _ => None,
    }
}

fn closed(mut tokens: Vec<Token>, text: &str) -> Vec<Token> {
    tokens.push(Token { kind: TokenKind::End, at: text.len() });
    tokens
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
}

/// Longest first, so that the first that fits is right.
const SIGNS: [(&str, TokenKind); 35] = {
    use Relation::*;
    use TokenKind::*;
    [
        ("!>>", NotRelated(Descendant)),
        ("!<<", NotRelated(Ancestor)),
        ("&>>", Union(Descendant)),
        ("&<<", Union(Ancestor)),
        (">>", Related(Descendant)),
        ("<<", Related(Ancestor)),
        ("!>", NotRelated(Child)),
        ("!<", NotRelated(Parent)),
        ("&>", Union(Child)),
        ("&<", Union(Parent)),
        ("&~", Union(Sibling)),
        ("&&", And),
        ("||", Or),
        ("!=", NotEqual),
        ("=~", Matches),
        ("!~", NotMatches),
        ("<=", LessEqual),
        (">=", GreaterEqual),
        ("{", LeftBrace),
        ("}", RightBrace),
        ("(", LeftParen),
        (")", RightParen),
        (",", Comma),
        ("|", Pipe),
        ("!", Not),
        ("=", Equal),
        ("<", Less),
        (">", Greater),
        ("~", Related(Sibling)),
        ("+", Add),
        ("-", Subtract),
        ("*", Multiply),
        ("/", Divide),
        ("%", Modulo),
        ("^", Power),
    ]
};

/// Words before a dot that say where an attribute is.
const SCOPES: [(&str, Scope); 5] = [
    ("span", Scope::Span),
    ("resource", Scope::Resource),
    ("event", Scope::Event),
    ("link", Scope::Link),
    ("instrumentation", Scope::Instrumentation),
];

/// Nanoseconds of a unit; `ms` before `m`, so that the first that fits is right.
const UNITS: [(&str, i64); 10] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
    ("d", 86_400_000_000_000),
    ("w", 604_800_000_000_000),
];

/// A token and its length.
type Scanned = Result<(TokenKind, usize), String>;

impl Lexer<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    /// Comments are those of C, in both forms.
    fn skip_blanks_and_comments(&mut self) -> Result<(), ParseError> {
        loop {
            let rest = self.rest();
            let text = rest.trim_start();
            let blanks = rest.len() - text.len();
            let comment = if text.starts_with("//") {
                text.find('\n').unwrap_or(text.len())
            } else if let Some(inside) = text.strip_prefix("/*") {
                let unclosed = || ParseError::new(self.text, self.at + blanks, "comment is not closed");
                inside.find("*/").ok_or_else(unclosed)? + 4
            } else {
                self.at += blanks;
                return Ok(());
            };
            self.at += blanks + comment;
        }
    }

    /// The next token, `None` at the end.
    fn scan(&self) -> Result<Option<(TokenKind, usize)>, String> {
        let rest = self.rest();
        let Some(c) = rest.chars().next() else { return Ok(None) };
        let scanned = match c {
            '"' | '`' => text(rest),
            '.' if rest[1..].starts_with(|c: char| c.is_ascii_digit()) => number(rest),
            '.' => attribute(&rest[1..], Scope::Any, false).map(|(kind, len)| (kind, len + 1)),
            '0'..='9' => number(rest),
            'a'..='z' | 'A'..='Z' | '_' => word(rest),
            _ => SIGNS
                .iter()
                .find(|(sign, _)| rest.starts_with(sign))
                .map(|(sign, kind)| (kind.clone(), sign.len()))
                .ok_or_else(|| format!("unexpected character {}", quote_char(c))),
        };
        scanned.map(Some)
    }
}

fn text(rest: &str) -> Scanned {
    let (bytes, len) = unquote(rest).map_err(|error| error.message)?;
    let text = String::from_utf8(bytes).map_err(|_| "string is not valid UTF-8".to_owned())?;
    Ok((TokenKind::Text(text), len))
}

fn word(rest: &str) -> Scanned {
    let len = word_len(rest);
    let (word, after) = (&rest[..len], &rest[len..]);
    if let Some(name) = after.strip_prefix('.') {
        if word == "parent" {
            return parent_attribute(name).map(|(kind, found)| (kind, len + 1 + found));
        }
        if let Some((_, scope)) = SCOPES.iter().find(|(known, _)| *known == word) {
            return attribute(name, *scope, false).map(|(kind, found)| (kind, len + 1 + found));
        }
        return Err(format!("unknown scope {word:?} before '.'"));
    }
    if let Some(name) = after.strip_prefix(':') {
        let whole = &rest[..len + 1 + word_len(name)];
        return match Intrinsic::NAMES[..Intrinsic::WORDS].iter().find(|(known, _)| *known == whole) {
            Some((_, intrinsic)) => Ok((TokenKind::Field(Field::intrinsic(*intrinsic)), whole.len())),
            None => Err(format!("unknown intrinsic {whole:?}")),
        };
    }
    Ok((TokenKind::Word(word.to_owned()), len))
}

fn word_len(text: &str) -> usize {
    text.bytes().take_while(|b| b.is_ascii_alphanumeric() || *b == b'_').count()
}

/// What follows `parent.`.
fn parent_attribute(name: &str) -> Scanned {
    for (prefix, scope) in [("span.", Scope::Span), ("resource.", Scope::Resource)] {
        if let Some(name) = name.strip_prefix(prefix) {
            return attribute(name, scope, true).map(|(kind, len)| (kind, prefix.len() + len));
        }
    }
    attribute(name, Scope::Any, true)
}

/// The name of an attribute, parts of which may be quoted: `http.method`, `"with blanks".more`.
fn attribute(name: &str, scope: Scope, of_parent: bool) -> Scanned {
    let (mut key, mut at) = (String::new(), 0);
    while let Some(c) = name[at..].chars().next() {
        match c {
            '"' => at += quoted_part(&name[at..], &mut key)?,
            _ if ends_name(c) => break,
            _ => {
                key.push(c);
                at += c.len_utf8();
            }
        }
    }
    if key.is_empty() {
        return Err("the name of an attribute is missing".to_owned());
    }
    let name = FieldName::Attribute { scope, key };
    Ok((TokenKind::Field(Field { of_parent, name }), at))
}

/// A quoted part, in which a backslash takes the next character as it is; gives its length.
fn quoted_part(text: &str, key: &mut String) -> Result<usize, String> {
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok(at + 1),
            '\\' => key.extend(chars.next().map(|(_, c)| c)),
            _ => key.push(c),
        }
    }
    Err("the quoted name of an attribute does not end".to_owned())
}

fn ends_name(c: char) -> bool {
    c.is_whitespace() || "{}()=~!<>&|^,\"`".contains(c)
}

/// A whole number, one with a fraction or exponent, or a duration such as `1h30m` or `1.5s`.
fn number(rest: &str) -> Scanned {
    let len = decimal_len(rest);
    if rest[len..].starts_with(|c: char| c.is_alphabetic() || c == '_') {
        return scan_duration(rest);
    }
    let text = &rest[..len];
    if text.bytes().all(|b| b.is_ascii_digit()) {
        let too_large = |_| format!("{text:.40} does not fit into 64 bits");
        return Ok((TokenKind::Int(text.parse().map_err(too_large)?), len));
    }
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() => Ok((TokenKind::Float(number), len)),
        _ => Err(format!("{text:.40} is no number")),
    }
}

/// The length of digits, a fraction, and an exponent that has digits.
fn decimal_len(rest: &str) -> usize {
    let digits = |at: usize| rest[at..].bytes().take_while(u8::is_ascii_digit).count();
    let mut len = digits(0);
    if rest[len..].starts_with('.') {
        len += 1 + digits(len + 1);
    }
    if rest[len..].starts_with(['e', 'E']) {
        let sign = usize::from(rest[len + 1..].starts_with(['+', '-']));
        let exponent = digits(len + 1 + sign);
        if exponent > 0 {
            len += 1 + sign + exponent;
        }
    }
    len
}

fn scan_duration(rest: &str) -> Scanned {
    let (mut at, mut nanos) = (0, 0i64);
    while rest[at..].starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        let len = rest[at..].bytes().take_while(|b| b.is_ascii_digit() || *b == b'.').count();
        let number = &rest[at..at + len];
        at += len;
        let unit = UNITS.iter().find(|(unit, _)| rest[at..].starts_with(unit));
        let Some((unit, size)) = unit else { break };
        at += unit.len();
        let part = part_nanos(number, *size).and_then(|part| nanos.checked_add(part));
        nanos = part.ok_or_else(|| format!("duration {:.40} is too long", &rest[..at]))?;
    }
    if at == 0
        || rest[at..].starts_with(|c: char| c.is_alphanumeric() || c == '_')
        || !ends_in_unit(&rest[..at])
    {
        return Err("not a number, and no duration such as 1h30m or 500ms".to_owned());
    }
    Ok((TokenKind::Duration(nanos), at))
}

fn ends_in_unit(text: &str) -> bool {
    text.ends_with(|c: char| c.is_alphabetic())
}

/// Whole numbers exactly; a fraction as near as a float is.
fn part_nanos(number: &str, size: i64) -> Option<i64> {
    if let Ok(whole) = number.parse::<i64>() {
        return whole.checked_mul(size);
    }
    let nanos = number.parse::<f64>().ok()? * size as f64;
    (nanos < i64::MAX as f64).then_some(nanos.round() as i64)
}
