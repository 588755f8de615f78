//! The words of LogQL, and how error texts call them.

use crate::model::Nanos;
use crate::query::lexical::PositionRange;
use crate::query::lexical::strings::quote;

use super::error::ParseError;

#[derive(Clone, Debug, PartialEq)]
pub struct Token {
    pub kind: TokenKind,
    pub position: PositionRange,
}

#[derive(Clone, Debug, PartialEq)]
pub enum TokenKind {
    /// A name, or a keyword: what it is depends on where it stands.
    Word(Option<Keyword>),
    String(String),
    Number(f64),
    /// Nanoseconds.
    Duration(Nanos),
    Bytes(u64),
    /// `[5m]`, in nanoseconds.
    Range(Nanos),
    /// `--strict`
    Strict,
    /// `--keep-empty`
    KeepEmpty,
    Sign(Sign),
    /// The text goes wrong here; the parser complains when it gets that far.
    Error(ParseError),
    End,
}

/// Everything that is no word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    LeftBrace,
    RightBrace,
    LeftParen,
    RightParen,
    Comma,
    /// `|`
    Pipe,
    /// `|=`
    PipeContains,
    /// `|~`
    PipeMatches,
    /// `|>`
    PipePattern,
    /// `!>`
    NotPattern,
    /// `=`
    Assign,
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
    /// `=~`
    Matches,
    /// `!~`
    NotMatches,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    Plus,
    Minus,
    Star,
    Slash,
    Percent,
    Caret,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keyword {
    And,
    Or,
    Unless,
    By,
    Without,
    On,
    Ignoring,
    GroupLeft,
    GroupRight,
    Bool,
    Offset,
    Ip,
    Json,
    Logfmt,
    Regexp,
    Pattern,
    Unpack,
    LineFormat,
    LabelFormat,
    Decolorize,
    Drop,
    Keep,
    Unwrap,
}

impl Keyword {
    /// Whether it begins a stage behind `|`; `unwrap`, which stands there too, is none.
    pub fn names_stage(self) -> bool {
        use Keyword::*;
        matches!(
            self,
            Json | Logfmt | Regexp | Pattern | Unpack | LineFormat | LabelFormat | Decolorize | Drop | Keep
        )
    }
}

/// What a word may be besides a name; in any case.
pub fn keyword(word: &str) -> Option<Keyword> {
    Some(match word.to_ascii_lowercase().as_str() {
        "and" => Keyword::And,
        "or" => Keyword::Or,
        "unless" => Keyword::Unless,
        "by" => Keyword::By,
        "without" => Keyword::Without,
        "on" => Keyword::On,
        "ignoring" => Keyword::Ignoring,
        "group_left" => Keyword::GroupLeft,
        "group_right" => Keyword::GroupRight,
        "bool" => Keyword::Bool,
        "offset" => Keyword::Offset,
        "ip" => Keyword::Ip,
        "json" => Keyword::Json,
        "logfmt" => Keyword::Logfmt,
        "regexp" => Keyword::Regexp,
        "pattern" => Keyword::Pattern,
        "unpack" => Keyword::Unpack,
        "line_format" => Keyword::LineFormat,
        "label_format" => Keyword::LabelFormat,
        "decolorize" => Keyword::Decolorize,
        "drop" => Keyword::Drop,
        "keep" => Keyword::Keep,
        "unwrap" => Keyword::Unwrap,
        _ => return None,
    })
}

/// Signs of two characters before those that they begin with.
pub const SIGNS: [(&str, Sign); 25] = [
    ("|=", Sign::PipeContains),
    ("|~", Sign::PipeMatches),
    ("|>", Sign::PipePattern),
    ("|", Sign::Pipe),
    ("!=", Sign::NotEqual),
    ("!~", Sign::NotMatches),
    ("!>", Sign::NotPattern),
    ("==", Sign::Equal),
    ("=~", Sign::Matches),
    ("=", Sign::Assign),
    ("<=", Sign::LessEqual),
    ("<", Sign::Less),
    (">=", Sign::GreaterEqual),
    (">", Sign::Greater),
    ("{", Sign::LeftBrace),
    ("}", Sign::RightBrace),
    ("(", Sign::LeftParen),
    (")", Sign::RightParen),
    (",", Sign::Comma),
    ("+", Sign::Plus),
    ("-", Sign::Minus),
    ("*", Sign::Star),
    ("/", Sign::Slash),
    ("%", Sign::Percent),
    ("^", Sign::Caret),
];

impl Token {
    /// As in `unexpected STRING "x"`.
    pub fn describe(&self, text: &str) -> String {
        let word = &text[self.position.start as usize..self.position.end as usize];
        let short: String = word.chars().take(32).collect();
        let short = if short.len() < word.len() { short + "…" } else { short };
        match &self.kind {
            TokenKind::Word(None) => format!("IDENTIFIER {}", quote(short.as_bytes())),
            TokenKind::Word(Some(_)) => format!("keyword {}", quote(short.as_bytes())),
            TokenKind::String(_) => format!("STRING {short}"),
            TokenKind::Number(_) => format!("NUMBER {short}"),
            TokenKind::Duration(_) => format!("DURATION {short}"),
            TokenKind::Bytes(_) => format!("BYTES {short}"),
            TokenKind::Range(_) => format!("RANGE {short}"),
            TokenKind::Strict | TokenKind::KeepEmpty => format!("FLAG {short}"),
            TokenKind::Sign(_) | TokenKind::Error(_) => short,
            TokenKind::End => "end of query".to_owned(),
        }
    }
}
