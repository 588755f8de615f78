//! Text to tokens, in one linear pass with three modes: outside, inside braces, inside brackets.
//!
//! The mode decides what a word or a sign is: inside braces there are labels and no keywords, inside brackets
//! only arithmetic on durations. The list ends with `End`, or with the `Error` at which lexing stopped.

use super::ast::{BinaryOp, PositionRange};
use super::error::ParseError;
use super::token::{Keyword, Token, TokenKind, classify};
use crate::query::lexical::number::{self, Word};
use crate::query::lexical::strings::{quote_char, unquote};

/// All tokens of `text`.
pub fn tokens(text: &str) -> Vec<Token> {
    let mut lexer = Lexer::new(text);
    let mut tokens = Vec::with_capacity(text.len() / 4 + 1);
    loop {
        let token = lexer.next_token();
        let is_last = matches!(token.kind, TokenKind::End | TokenKind::Error(_));
        tokens.push(token);
        if is_last {
            return tokens;
        }
    }
}

pub struct Lexer<'a> {
    text: &'a str,
    at: usize,
    mode: Mode,
    parens_open: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Outside,
    Braces,
    Brackets { colon_seen: bool },
}

/// A token's kind and length, or what is wrong.
type Scanned = Result<(TokenKind, usize), String>;

impl<'a> Lexer<'a> {
    pub fn new(text: &'a str) -> Lexer<'a> {
        Lexer { text, at: 0, mode: Mode::Outside, parens_open: 0 }
    }

    pub fn next_token(&mut self) -> Token {
        self.skip_blanks_and_comments();
        let start = self.at;
        let scanned = match self.rest().chars().next() {
            None => self.end(),
            Some(c) => match self.mode {
                Mode::Outside => self.outside(c),
                Mode::Braces => self.in_braces(c),
                Mode::Brackets { colon_seen } => self.in_brackets(c, colon_seen),
            },
        };
        match scanned {
            Ok((kind, len)) => {
                self.at += len;
                Token { kind, position: PositionRange::new(start, self.at) }
            }
            Err(message) => {
                let position = PositionRange::new(start, self.text.len());
                Token { kind: TokenKind::Error(ParseError::new(self.text, position, message)), position }
            }
        }
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn skip_blanks_and_comments(&mut self) {
        loop {
            let rest = self.rest();
            let text = rest.trim_start_matches([' ', '\t', '\n', '\r']);
            self.at += rest.len() - text.len();
            let has_comments = !matches!(self.mode, Mode::Brackets { .. });
            if !(has_comments && text.starts_with('#')) {
                return;
            }
            self.at += text.find(['\n', '\r']).unwrap_or(text.len());
        }
    }

    fn end(&self) -> Scanned {
        match self.mode {
            Mode::Braces => Err("unexpected end of input inside braces".to_owned()),
            Mode::Brackets { .. } => Err("unexpected end of input in duration expression".to_owned()),
            Mode::Outside if self.parens_open > 0 => Err("unclosed left parenthesis".to_owned()),
            Mode::Outside => Ok((TokenKind::End, 0)),
        }
    }

    fn outside(&mut self, c: char) -> Scanned {
        let after = self.rest()[c.len_utf8()..].chars().next();
        match c {
            '!' if after != Some('=') => Err(unexpected_after('!', after, "")),
            '=' if after == Some('~') => Err(unexpected_after('=', after, "")),
            '=' if after == Some('=') => Ok((TokenKind::Operator(BinaryOp::Equal), 2)),
            '=' => Ok((TokenKind::Assign, 1)),
            '!' => Ok((TokenKind::Operator(BinaryOp::NotEqual), 2)),
            '<' | '>' => Ok(comparison(c, after)),
            '(' | ')' => self.paren(c),
            '{' => {
                self.mode = Mode::Braces;
                Ok((TokenKind::LeftBrace, 1))
            }
            '[' => {
                self.mode = Mode::Brackets { colon_seen: false };
                Ok((TokenKind::LeftBracket, 1))
            }
            ']' => Err("unexpected right bracket ']'".to_owned()),
            '@' => Ok((TokenKind::At, 1)),
            '"' | '\'' | '`' => self.string(),
            '0'..='9' => self.number(),
            '.' if after.is_some_and(|a| a.is_ascii_digit()) => self.number(),
            'a'..='z' | 'A'..='Z' | '_' | ':' => Ok(self.word()),
            _ => arithmetic(c).ok_or_else(|| format!("unexpected character: {}", quote_char(c))),
        }
    }

    fn in_braces(&mut self, c: char) -> Scanned {
        let after = self.rest()[c.len_utf8()..].chars().next();
        match c {
            '}' => {
                self.mode = Mode::Outside;
                Ok((TokenKind::RightBrace, 1))
            }
            ',' => Ok((TokenKind::Comma, 1)),
            '=' if after == Some('~') => Ok((TokenKind::RegexMatch, 2)),
            '=' => Ok((TokenKind::Assign, 1)),
            '!' => match after {
                Some('~') => Ok((TokenKind::RegexNoMatch, 2)),
                Some('=') => Ok((TokenKind::Operator(BinaryOp::NotEqual), 2)),
                _ => Err(unexpected_after('!', after, " inside braces")),
            },
            '"' | '\'' | '`' => self.string(),
            'a'..='z' | 'A'..='Z' | '_' => {
                Ok((TokenKind::Identifier, word_len(self.rest(), |b| b.is_ascii_alphanumeric() || b == b'_')))
            }
            '{' => Err("unexpected left brace '{'".to_owned()),
            _ => Err(format!("unexpected character inside braces: {}", quote_char(c))),
        }
    }

    fn in_brackets(&mut self, c: char, colon_seen: bool) -> Scanned {
        match c {
            ']' => {
                self.mode = Mode::Outside;
                Ok((TokenKind::RightBracket, 1))
            }
            ':' if colon_seen => Err("unexpected colon ':'".to_owned()),
            ':' => {
                self.mode = Mode::Brackets { colon_seen: true };
                Ok((TokenKind::Colon, 1))
            }
            '(' | ')' => self.paren(c),
            '0'..='9' | '.' => self.number(),
            'a'..='z' | 'A'..='Z' => match self.word() {
                word @ (TokenKind::Keyword(keyword), _) if is_duration_function(keyword) => Ok(word),
                _ => Err(format!("unexpected character in duration expression: {}", quote_char(c))),
            },
            _ => arithmetic(c)
                .ok_or_else(|| format!("unexpected character in duration expression: {}", quote_char(c))),
        }
    }

    fn paren(&mut self, c: char) -> Scanned {
        if c == '(' {
            self.parens_open += 1;
            return Ok((TokenKind::LeftParen, 1));
        }
        match self.parens_open.checked_sub(1) {
            None => Err("unexpected right parenthesis ')'".to_owned()),
            Some(open) => {
                self.parens_open = open;
                Ok((TokenKind::RightParen, 1))
            }
        }
    }

    fn string(&self) -> Scanned {
        match unquote(self.rest()) {
            Ok((value, len)) => Ok((TokenKind::String(value), len)),
            Err(error) => Err(error.message),
        }
    }

    fn number(&self) -> Scanned {
        let len = number::scan(self.rest());
        match number::read(&self.rest()[..len]) {
            Ok(Word::Number(value)) => Ok((TokenKind::Number(value, false), len)),
            Ok(Word::Duration(ms)) => Ok((TokenKind::Number(ms as f64 / 1000.0, true), len)),
            Err(error) => Err(error.to_string()),
        }
    }

    fn word(&self) -> (TokenKind, usize) {
        let rest = self.rest();
        let len = word_len(rest, |b| b.is_ascii_alphanumeric() || b == b'_' || b == b':');
        match classify(&rest[..len]) {
            // Only a parenthesis makes these young keywords more than names.
            TokenKind::Keyword(Keyword::Fill | Keyword::FillLeft | Keyword::FillRight)
                if !rest[len..].trim_start().starts_with('(') =>
            {
                (TokenKind::Identifier, len)
            }
            kind => (kind, len),
        }
    }
}

fn is_duration_function(keyword: Keyword) -> bool {
    matches!(keyword, Keyword::Step | Keyword::Range | Keyword::MinOf | Keyword::MaxOf)
}

fn word_len(text: &str, belongs: impl Fn(u8) -> bool) -> usize {
    text.bytes().take_while(|b| belongs(*b)).count()
}

fn comparison(c: char, after: Option<char>) -> (TokenKind, usize) {
    use BinaryOp::*;
    let (op, len) = match (c, after) {
        ('<', Some('=')) => (LessEqual, 2),
        ('<', Some('/')) => (TrimUpper, 2),
        ('<', _) => (Less, 1),
        (_, Some('=')) => (GreaterEqual, 2),
        (_, Some('/')) => (TrimLower, 2),
        _ => (Greater, 1),
    };
    (TokenKind::Operator(op), len)
}

fn arithmetic(c: char) -> Option<(TokenKind, usize)> {
    let op = match c {
        ',' => return Some((TokenKind::Comma, 1)),
        '+' => BinaryOp::Add,
        '-' => BinaryOp::Subtract,
        '*' => BinaryOp::Multiply,
        '/' => BinaryOp::Divide,
        '%' => BinaryOp::Modulo,
        '^' => BinaryOp::Power,
        _ => return None,
    };
    Some((TokenKind::Operator(op), 1))
}

fn unexpected_after(sign: char, after: Option<char>, place: &str) -> String {
    let what = after.map_or_else(|| "end of input".to_owned(), quote_char);
    format!("unexpected character after '{sign}'{place}: {what}")
}
