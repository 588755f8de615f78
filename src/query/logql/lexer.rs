//! Text to tokens, in one linear pass. What a word is, the parser decides from where it stands.

use crate::model::Nanos;
use crate::query::lexical::PositionRange;
use crate::query::lexical::duration::parse_duration;
use crate::query::lexical::number::{self, Word};
use crate::query::lexical::strings::{quote, quote_char, unquote};

use super::error::ParseError;
use super::token::{SIGNS, Token, TokenKind, keyword};
use super::units::{parse_bytes, parse_go_duration};

/// All tokens of `text`; the last is `End`, or the `Error` at which lexing stopped.
pub fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::with_capacity(text.len() / 4 + 1);
    let mut at = 0;
    loop {
        at += blank_len(&text[at..]);
        let (kind, end) = match token(&text[at..]) {
            Ok((kind, len)) => (kind, at + len),
            Err(message) => {
                let position = PositionRange::new(at, text.len());
                (TokenKind::Error(ParseError::new(text, position, message)), text.len())
            }
        };
        let is_last = matches!(kind, TokenKind::End | TokenKind::Error(_));
        tokens.push(Token { kind, position: PositionRange::new(at, end) });
        if is_last {
            return tokens;
        }
        at = end;
    }
}

/// The length of blanks and comments at the start of `text`.
fn blank_len(text: &str) -> usize {
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches([' ', '\t', '\n', '\r']);
        if !rest.starts_with('#') {
            return text.len() - rest.len();
        }
        rest = &rest[rest.find('\n').unwrap_or(rest.len())..];
    }
}

/// A token's kind and length, or what is wrong.
type Scanned = Result<(TokenKind, usize), String>;

fn token(text: &str) -> Scanned {
    let Some(first) = text.chars().next() else {
        return Ok((TokenKind::End, 0));
    };
    let second_is_digit = text.as_bytes().get(1).is_some_and(u8::is_ascii_digit);
    match first {
        '"' | '`' | '\'' => string(text),
        '0'..='9' => quantity(text),
        '.' if second_is_digit => quantity(text),
        'a'..='z' | 'A'..='Z' | '_' => Ok(word(text)),
        '[' => range(text),
        _ => match flag(text) {
            Some(flag) => Ok(flag),
            None => sign(text, first),
        },
    }
}

fn string(text: &str) -> Scanned {
    let (bytes, len) = unquote(text).map_err(|error| error.message)?;
    match String::from_utf8(bytes) {
        Ok(value) => Ok((TokenKind::String(value), len)),
        Err(_) => Err("string is not valid UTF-8".to_owned()),
    }
}

fn word(text: &str) -> (TokenKind, usize) {
    let len = name_len(text);
    (TokenKind::Word(keyword(&text[..len])), len)
}

fn name_len(text: &str) -> usize {
    text.bytes().take_while(|b| b.is_ascii_alphanumeric() || *b == b'_').count()
}

fn sign(text: &str, first: char) -> Scanned {
    if let Some((written, sign)) = SIGNS.iter().find(|(written, _)| text.starts_with(written)) {
        return Ok((TokenKind::Sign(*sign), written.len()));
    }
    Err(match first {
        '.' => "unexpected '.': a label name with dots stands in quotes".to_owned(),
        '@' => "unexpected '@': LogQL has no @ modifier".to_owned(),
        '!' => "unexpected '!', expecting !=, !~ or !>".to_owned(),
        _ => format!("unexpected character {}", quote_char(first)),
    })
}

fn flag(text: &str) -> Option<(TokenKind, usize)> {
    [("--strict", TokenKind::Strict), ("--keep-empty", TokenKind::KeepEmpty)].into_iter().find_map(
        |(written, kind)| {
            let after = text.strip_prefix(written)?;
            (name_len(after) == 0).then_some((kind, written.len()))
        },
    )
}

/// `[5m]`.
fn range(text: &str) -> Scanned {
    let Some(len) = text.find(']') else {
        return Err("missing closing ']' of a range".to_owned());
    };
    let inside = text[1..len].trim();
    if inside.contains(':') {
        return Err("LogQL has no subqueries: a range is one duration".to_owned());
    }
    match duration(inside) {
        Some(nanos) if nanos > 0 => Ok((TokenKind::Range(nanos), len + 1)),
        Some(_) => Err(format!("a range is longer than nothing: {}", shortened(inside))),
        None => Err(format!("not a valid duration: {}", shortened(inside))),
    }
}

/// A length of time as Prometheus or Go writes it, in nanoseconds.
fn duration(text: &str) -> Option<Nanos> {
    // What Prometheus reads fits i64 nanoseconds.
    parse_duration(text).map(|ms| ms * 1_000_000).or_else(|| parse_go_duration(text))
}

/// A number, a length of time or a size.
fn quantity(text: &str) -> Scanned {
    let len = quantity_len(text);
    let word = &text[..len];
    let is_plain = word.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let kind = if is_plain && let Ok(value) = word.parse::<f64>() {
        // Unlike PromQL, a leading zero makes no octal.
        TokenKind::Number(value)
    } else if let Some(nanos) = duration(word) {
        TokenKind::Duration(nanos)
    } else if let Ok(Word::Number(value)) = number::read(word) {
        TokenKind::Number(value)
    } else if let Some(bytes) = parse_bytes(word) {
        TokenKind::Bytes(bytes)
    } else {
        return Err(format!("bad number, duration or size: {}", shortened(word)));
    };
    match kind {
        TokenKind::Number(value) if value.is_infinite() => {
            Err(format!("number too large: {}", shortened(word)))
        }
        kind => Ok((kind, len)),
    }
}

/// All that belongs to one word, with the micro sign that Go writes.
fn quantity_len(text: &str) -> usize {
    let mut len = number::scan(text);
    while let Some(micro @ ('µ' | 'μ')) = text[len..].chars().next() {
        len += micro.len_utf8();
        len += number::scan(&text[len..]);
    }
    len
}

fn shortened(text: &str) -> String {
    quote(text.chars().take(64).collect::<String>().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::super::token::{Keyword, Sign};
    use super::*;

    fn kinds(text: &str) -> Vec<TokenKind> {
        tokens(text).into_iter().map(|token| token.kind).collect()
    }

    #[test]
    fn quantities_are_told_apart() {
        use TokenKind::{Bytes, Duration, End, Number};
        let text = "5 5m 5mb 5KiB 1.5s 100µs 0755 0x1F 1e3 1d 5k .5";
        let expected = vec![
            Number(5.0),
            Duration(300_000_000_000),
            Bytes(5_000_000),
            Bytes(5_120),
            Duration(1_500_000_000),
            Duration(100_000),
            Number(755.0),
            Number(31.0),
            Number(1000.0),
            Duration(86_400_000_000_000),
            Bytes(5_000),
            Number(0.5),
            End,
        ];
        assert_eq!(kinds(text), expected);
    }

    #[test]
    fn the_longest_sign_wins_and_comments_are_blank() {
        let sign = TokenKind::Sign;
        assert_eq!(
            kinds("|=|# | \"x\n!= --strict - --strictly"),
            vec![
                sign(Sign::PipeContains),
                sign(Sign::Pipe),
                sign(Sign::NotEqual),
                TokenKind::Strict,
                sign(Sign::Minus),
                sign(Sign::Minus),
                sign(Sign::Minus),
                TokenKind::Word(None),
                TokenKind::End,
            ]
        );
        assert_eq!(kinds("JSON")[0], TokenKind::Word(Some(Keyword::Json)));
    }

    #[test]
    fn a_range_is_one_token() {
        assert_eq!(kinds("[ 1h30m ]")[0], TokenKind::Range(5_400_000_000_000));
        assert_eq!(kinds("[1.5s]")[0], TokenKind::Range(1_500_000_000));
    }

    #[test]
    fn lexing_stops_at_the_first_error_and_says_where() {
        let error = |text: &str| match tokens(text).pop().unwrap().kind {
            TokenKind::Error(error) => error.to_string(),
            other => panic!("{other:?}"),
        };
        let at = "parse error at line 1, col";
        assert_eq!(error("a \"b"), format!("{at} 3: unterminated quoted string"));
        assert_eq!(error("[5m:1m]"), format!("{at} 1: LogQL has no subqueries: a range is one duration"));
        assert_eq!(error("[$__auto]"), format!("{at} 1: not a valid duration: \"$__auto\""));
        assert_eq!(error("[0s]"), format!("{at} 1: a range is longer than nothing: \"0s\""));
        assert_eq!(error(" 5x"), format!("{at} 2: bad number, duration or size: \"5x\""));
        assert_eq!(
            error("9".repeat(400).as_str()),
            format!("{at} 1: number too large: \"{}\"", "9".repeat(64))
        );
        assert_eq!(error("\"\\xff\""), format!("{at} 1: string is not valid UTF-8"));
    }
}
