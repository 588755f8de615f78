//! The words of PromQL, and how error texts call them.

use super::ast::{AggregateOp, BinaryOp, PositionRange};
use super::error::ParseError;
use crate::query::lexical::strings::quote;

#[derive(Clone, Debug, PartialEq)]
pub struct Token {
    pub kind: TokenKind,
    pub position: PositionRange,
}

#[derive(Clone, Debug, PartialEq)]
pub enum TokenKind {
    /// The value, and whether it was written as a duration.
    Number(f64, bool),
    String(Vec<u8>),
    /// Without a colon.
    Identifier,
    /// With a colon, so a metric's name only.
    MetricIdentifier,
    Keyword(Keyword),
    Aggregator(AggregateOp),
    /// Includes `!=` inside braces.
    Operator(BinaryOp),
    /// A single `=`.
    Assign,
    /// `=~`, inside braces only.
    RegexMatch,
    /// `!~`, inside braces only.
    RegexNoMatch,
    LeftParen,
    RightParen,
    LeftBrace,
    RightBrace,
    LeftBracket,
    RightBracket,
    Comma,
    Colon,
    At,
    End,
    /// The text goes wrong here; the parser complains when it gets that far.
    Error(ParseError),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keyword {
    Offset,
    By,
    Without,
    On,
    Ignoring,
    GroupLeft,
    GroupRight,
    Bool,
    Fill,
    FillLeft,
    FillRight,
    Anchored,
    Smoothed,
    Start,
    End,
    Step,
    Range,
    MinOf,
    MaxOf,
}

impl Keyword {
    /// Some words can only be what they are for; the others also name metrics.
    fn names_metrics(self) -> bool {
        use Keyword::*;
        !matches!(self, On | Ignoring | GroupLeft | GroupRight | Bool)
    }

    /// Whether a parenthesis makes it a function.
    pub fn names_function(self) -> bool {
        use Keyword::*;
        matches!(self, Start | End | Step | Range | MinOf | MaxOf)
    }
}

/// What a word outside braces is; keywords are so in any case.
pub fn classify(word: &str) -> TokenKind {
    use AggregateOp::*;
    use TokenKind::{Aggregator, Identifier, MetricIdentifier, Number, Operator};
    let keyword = TokenKind::Keyword;
    match word.to_ascii_lowercase().as_str() {
        "inf" => Number(f64::INFINITY, false),
        "nan" => Number(f64::NAN, false),
        "and" => Operator(BinaryOp::And),
        "or" => Operator(BinaryOp::Or),
        "unless" => Operator(BinaryOp::Unless),
        "atan2" => Operator(BinaryOp::Atan2),
        "sum" => Aggregator(Sum),
        "avg" => Aggregator(Avg),
        "count" => Aggregator(Count),
        "min" => Aggregator(Min),
        "max" => Aggregator(Max),
        "group" => Aggregator(Group),
        "stddev" => Aggregator(Stddev),
        "stdvar" => Aggregator(Stdvar),
        "topk" => Aggregator(Topk),
        "bottomk" => Aggregator(Bottomk),
        "count_values" => Aggregator(CountValues),
        "quantile" => Aggregator(Quantile),
        "limitk" => Aggregator(Limitk),
        "limit_ratio" => Aggregator(LimitRatio),
        "offset" => keyword(Keyword::Offset),
        "by" => keyword(Keyword::By),
        "without" => keyword(Keyword::Without),
        "on" => keyword(Keyword::On),
        "ignoring" => keyword(Keyword::Ignoring),
        "group_left" => keyword(Keyword::GroupLeft),
        "group_right" => keyword(Keyword::GroupRight),
        "bool" => keyword(Keyword::Bool),
        "fill" => keyword(Keyword::Fill),
        "fill_left" => keyword(Keyword::FillLeft),
        "fill_right" => keyword(Keyword::FillRight),
        "anchored" => keyword(Keyword::Anchored),
        "smoothed" => keyword(Keyword::Smoothed),
        "start" => keyword(Keyword::Start),
        "end" => keyword(Keyword::End),
        "step" => keyword(Keyword::Step),
        "range" => keyword(Keyword::Range),
        "min_of" => keyword(Keyword::MinOf),
        "max_of" => keyword(Keyword::MaxOf),
        _ if word.contains(':') => MetricIdentifier,
        _ => Identifier,
    }
}

/// Whether a word before braces, or alone, names a metric.
pub fn names_metric(kind: &TokenKind) -> bool {
    match kind {
        TokenKind::Identifier | TokenKind::MetricIdentifier | TokenKind::Aggregator(_) => true,
        TokenKind::Keyword(keyword) => keyword.names_metrics(),
        TokenKind::Operator(op) => op.is_set_operator(),
        _ => false,
    }
}

/// Whether a word in a list of labels names a label.
pub fn names_label(kind: &TokenKind) -> bool {
    match kind {
        TokenKind::Identifier
        | TokenKind::MetricIdentifier
        | TokenKind::Aggregator(_)
        | TokenKind::Keyword(_) => true,
        TokenKind::Operator(op) => op.is_set_operator() || *op == BinaryOp::Atan2,
        _ => false,
    }
}

impl Token {
    /// As in `unexpected <op:+>`.
    pub fn describe(&self, text: &str) -> String {
        let word = &text[self.position.start as usize..self.position.end as usize];
        let quoted = || {
            let short: String = word.chars().take(10).collect();
            let dots = if short.len() < word.len() { "..." } else { "" };
            quote(short.as_bytes()) + dots
        };
        match &self.kind {
            TokenKind::Number(_, true) => format!("duration {}", quoted()),
            TokenKind::Number(_, false) => format!("number {}", quoted()),
            TokenKind::String(_) => format!("string {}", quoted()),
            TokenKind::Identifier => format!("identifier {}", quote(word.as_bytes())),
            TokenKind::MetricIdentifier => format!("metric identifier {}", quote(word.as_bytes())),
            TokenKind::Keyword(_) => format!("<{word}>"),
            TokenKind::Aggregator(_) => format!("<aggr:{word}>"),
            TokenKind::Operator(_) | TokenKind::At => format!("<op:{word}>"),
            TokenKind::End => "end of input".to_owned(),
            TokenKind::Error(error) => error.message.clone(),
            _ => quoted(),
        }
    }
}
