//! Series as test scripts describe them: `name{label="value"} 1 2+3x4 _ stale {{sum:1 buckets:[1 2]}}x2`.
//!
//! An item stands for one or more samples, one a step. A line whose series ends in `@st` gives start timestamps
//! instead, relative to the samples of the line that follows it.

use std::sync::Arc;

use crate::model::labels::METRIC_NAME;
use crate::model::metrics::stale_marker;
use crate::model::{Histogram, Labels};

use super::ast::{BinaryOp, PositionRange};
use super::error::ParseError;
use super::histogram_literal::{self, HistogramLiteral};
use super::lexer::Lexer;
use super::token::{Token, TokenKind, names_label, names_metric};
use crate::query::lexical::duration::parse_duration;
use crate::query::lexical::number::{self, Word};

/// The most samples a line may stand for: `1x999999999` must not be paid for.
const SAMPLES_MAX: usize = 1_000_000;

/// One line of a `load` block, or of the results under an `eval`.
#[derive(Clone, Debug)]
pub enum SeriesLine {
    Samples {
        labels: Labels,
        values: Vec<SequenceValue>,
    },
    /// Milliseconds from each sample to its start, `None` where that is unknown.
    StartTimestamps {
        labels: Labels,
        offsets: Vec<Option<i64>>,
    },
}

/// What is at one step.
#[derive(Clone, Debug)]
pub enum SequenceValue {
    /// `_`
    Omitted,
    Float(f64),
    /// `has_hint`: its counter reset hint was written, so a result is compared by it.
    Histogram {
        histogram: Arc<Histogram>,
        has_hint: bool,
    },
}

/// Reads one line.
pub fn parse_series(text: &str) -> Result<SeriesLine, ParseError> {
    let (labels, values_at) = parse_labels(text)?;
    let after = &text[values_at..];
    if let Some(offsets) = after.strip_prefix("@st") {
        let mut items = Items { text, at: text.len() - offsets.len() };
        let offsets = items.sequence(Items::start_timestamps)?;
        return Ok(SeriesLine::StartTimestamps { labels, offsets });
    }
    let values = Items { text, at: values_at }.sequence(Items::samples)?;
    Ok(SeriesLine::Samples { labels, values })
}

/// The labels at the start of `text`, and where they end.
fn parse_labels(text: &str) -> Result<(Labels, usize), ParseError> {
    let mut lexer = Lexer::new(text);
    let mut token = lexer.next_token();
    let mut pairs = Vec::new();
    let mut end = 0;
    if token.kind != TokenKind::LeftBrace {
        if !(names_metric(&token.kind) || names_label(&token.kind)) {
            return Err(unexpected(text, &token, "series description", "metric name or \"{\""));
        }
        end = token.position.end as usize;
        pairs.push((METRIC_NAME.to_owned(), text[token.position.start as usize..end].to_owned()));
        let has_braces = text[end..].starts_with('{') && !text[end..].starts_with("{{");
        if has_braces {
            token = lexer.next_token();
        }
    }
    if token.kind == TokenKind::LeftBrace {
        end = parse_braces(text, &mut lexer, &mut pairs)?;
    }
    let labels = Labels::from_pairs(pairs)
        .map_err(|error| ParseError::new(text, PositionRange::new(0, end), error.to_string()))?;
    Ok((labels, end))
}

/// `a="b", "c d"="e", "metric name"}`; gives the place behind the brace.
fn parse_braces(
    text: &str,
    lexer: &mut Lexer<'_>,
    pairs: &mut Vec<(String, String)>,
) -> Result<usize, ParseError> {
    const CONTEXT: &str = "label set";
    let mut token = lexer.next_token();
    while token.kind != TokenKind::RightBrace {
        let (name, may_stand_alone) = match &token.kind {
            TokenKind::Identifier => {
                (text[token.position.start as usize..token.position.end as usize].to_owned(), false)
            }
            TokenKind::String(name) => (utf8(text, &token, name)?, true),
            _ => return Err(unexpected(text, &token, CONTEXT, "identifier or \"}\"")),
        };
        token = lexer.next_token();
        if token.kind == TokenKind::Assign {
            token = lexer.next_token();
            let TokenKind::String(value) = &token.kind else {
                return Err(unexpected(text, &token, CONTEXT, "string"));
            };
            pairs.push((name, utf8(text, &token, value)?));
            token = lexer.next_token();
        } else if may_stand_alone {
            pairs.push((METRIC_NAME.to_owned(), name));
        } else {
            return Err(unexpected(text, &token, CONTEXT, "\"=\""));
        }
        match token.kind {
            TokenKind::Comma => token = lexer.next_token(),
            TokenKind::RightBrace => {}
            _ => return Err(unexpected(text, &token, CONTEXT, "\",\" or \"}\"")),
        }
    }
    Ok(token.position.end as usize)
}

fn utf8(text: &str, token: &Token, bytes: &[u8]) -> Result<String, ParseError> {
    String::from_utf8(bytes.to_vec())
        .map_err(|_| ParseError::new(text, token.position, "label name or value is not valid UTF-8"))
}

fn unexpected(text: &str, token: &Token, context: &str, expected: &str) -> ParseError {
    if let TokenKind::Error(error) = &token.kind {
        return error.clone();
    }
    let message = format!("unexpected {} in {context}, expected {expected}", token.describe(text));
    ParseError::new(text, token.position, message)
}

/// The items behind the labels.
struct Items<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Items<'a> {
    /// Reads blank-separated items to the end; each adds to the samples so far.
    fn sequence<T>(
        &mut self,
        item: impl Fn(&mut Self, &mut Vec<T>) -> Result<(), ParseError>,
    ) -> Result<Vec<T>, ParseError> {
        let mut samples = Vec::new();
        loop {
            let blanks = self.rest().len() - self.rest().trim_start().len();
            self.at += blanks;
            if self.rest().is_empty() {
                return Ok(samples);
            }
            if blanks == 0 {
                return Err(self.error("unexpected text in series values, expected a blank"));
            }
            item(self, &mut samples)?;
        }
    }

    fn samples(&mut self, samples: &mut Vec<SequenceValue>) -> Result<(), ParseError> {
        if self.rest().starts_with("{{") {
            return self.histograms(samples);
        }
        if self.accept("_") {
            let count = self.times()?.unwrap_or(1);
            return self.extend(samples, count, |_| SequenceValue::Omitted);
        }
        if self.rest().split_whitespace().next() == Some("stale") {
            self.at += "stale".len();
            return self.extend(samples, 1, |_| SequenceValue::Float(stale_marker()));
        }
        let first = self.signed(Self::number, |value| -value)?;
        let step = if self.peek_sign() { Some(self.signed(Self::number, |value| -value)?) } else { None };
        let times = self.times()?;
        if step.is_some() && times.is_none() {
            return Err(self.error("unexpected step in series values, expected \"x\" and a count"));
        }
        // Added up step by step, as the errors of floats are part of what is described.
        let mut value = first;
        self.extend(samples, times.unwrap_or(0) + 1, |i| {
            if i > 0 {
                value += step.unwrap_or(0.0);
            }
            SequenceValue::Float(value)
        })
    }

    fn histograms(&mut self, samples: &mut Vec<SequenceValue>) -> Result<(), ParseError> {
        let first = self.histogram()?;
        let step = match self.rest().as_bytes().first() {
            Some(b'+') => Some(BinaryOp::Add),
            Some(b'-') => Some(BinaryOp::Subtract),
            _ => None,
        };
        let Some(op) = step else {
            let histogram = Arc::new(first.histogram);
            let has_hint = first.has_hint;
            let count = self.times()?.unwrap_or(0) + 1;
            return self.extend(samples, count, |_| SequenceValue::Histogram {
                histogram: histogram.clone(),
                has_hint,
            });
        };
        self.at += 1;
        let step = self.histogram()?.histogram;
        let Some(times) = self.times()? else {
            return Err(self.error("unexpected step in series values, expected \"x\" and a count"));
        };
        if samples.len() + times >= SAMPLES_MAX {
            return Err(self.too_many());
        }
        let mut histogram = first.histogram;
        for i in 0..=times {
            if i > 0 {
                self.combine(&mut histogram, op, &step)?;
            }
            let histogram = Arc::new(histogram.clone());
            samples.push(SequenceValue::Histogram { histogram, has_hint: first.has_hint });
        }
        Ok(())
    }

    fn combine(&self, to: &mut Histogram, op: BinaryOp, step: &Histogram) -> Result<(), ParseError> {
        if to.schema > step.schema {
            let message = format!(
                "error combining histograms: cannot merge from schema {} to {}",
                step.schema, to.schema
            );
            return Err(self.error(&message));
        }
        let combined = match op {
            BinaryOp::Add => to.add(step),
            _ => to.sub(step),
        };
        combined.map(|_| ()).map_err(|error| self.error(&format!("error combining histograms: {error}")))
    }

    fn histogram(&mut self) -> Result<HistogramLiteral, ParseError> {
        let (histogram, len) =
            histogram_literal::parse(self.rest()).map_err(|error| self.error(&error.to_string()))?;
        self.at += len;
        Ok(histogram)
    }

    fn start_timestamps(&mut self, offsets: &mut Vec<Option<i64>>) -> Result<(), ParseError> {
        if self.accept("_") {
            let count = self.times()?.unwrap_or(1);
            return self.extend(offsets, count, |_| None);
        }
        let first = self.signed(Self::duration, |ms| -ms)?;
        let step = if self.peek_sign() { Some(self.signed(Self::duration, |ms| -ms)?) } else { None };
        let times = self.times()?;
        if step.is_some() && times.is_none() {
            return Err(self.error("unexpected step in start timestamps, expected \"x\" and a count"));
        }
        let mut offset = first;
        self.extend(offsets, times.unwrap_or(0) + 1, |i| {
            if i > 0 {
                offset = offset.saturating_add(step.unwrap_or(0));
            }
            Some(offset)
        })
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn accept(&mut self, text: &str) -> bool {
        let is_there = self.rest().starts_with(text);
        if is_there {
            self.at += text.len();
        }
        is_there
    }

    fn peek_sign(&self) -> bool {
        self.rest().starts_with(['+', '-'])
    }

    fn error(&self, message: &str) -> ParseError {
        ParseError::new(self.text, PositionRange::new(self.at, self.text.len()), message)
    }

    fn too_many(&self) -> ParseError {
        self.error(&format!("series describes more than {SAMPLES_MAX} samples"))
    }

    fn extend<T>(
        &self,
        to: &mut Vec<T>,
        count: usize,
        sample: impl FnMut(usize) -> T,
    ) -> Result<(), ParseError> {
        if to.len() + count > SAMPLES_MAX {
            return Err(self.too_many());
        }
        to.extend((0..count).map(sample));
        Ok(())
    }

    /// `xN`, if that follows.
    fn times(&mut self) -> Result<Option<usize>, ParseError> {
        if !self.accept("x") {
            return Ok(None);
        }
        let digits = self.rest().bytes().take_while(u8::is_ascii_digit).count();
        let times: Result<usize, _> = self.rest()[..digits].parse();
        match times {
            Err(_) if digits == 0 => Err(self.error("invalid repetition in series values")),
            Ok(times) if times < SAMPLES_MAX => {
                self.at += digits;
                Ok(Some(times))
            }
            _ => Err(self.too_many()),
        }
    }

    fn signed<T>(
        &mut self,
        unsigned: impl Fn(&mut Self) -> Result<T, ParseError>,
        negate: impl Fn(T) -> T,
    ) -> Result<T, ParseError> {
        if self.accept("-") {
            return unsigned(self).map(negate);
        }
        self.accept("+");
        unsigned(self)
    }

    /// The letters, digits and dots of one number or duration; an `x` belongs to what follows.
    fn word(&mut self) -> &'a str {
        let rest = self.rest();
        let until_x = &rest[..rest.find('x').unwrap_or(rest.len())];
        let word = &rest[..number::scan(until_x)];
        self.at += word.len();
        word
    }

    fn number(&mut self) -> Result<f64, ParseError> {
        let start = self.at;
        let word = self.word();
        let value = match word.to_ascii_lowercase().as_str() {
            "inf" => Ok(f64::INFINITY),
            "nan" => Ok(f64::NAN),
            _ => number::read(word).map(|word| match word {
                Word::Number(value) => value,
                Word::Duration(ms) => ms as f64 / 1000.0,
            }),
        };
        let position = PositionRange::new(start, self.at);
        value.map_err(|error| ParseError::new(self.text, position, error.to_string()))
    }

    fn duration(&mut self) -> Result<i64, ParseError> {
        let start = self.at;
        let word = self.word();
        parse_duration(word).ok_or_else(|| {
            let position = PositionRange::new(start, self.at);
            ParseError::new(self.text, position, format!("not a valid duration string: {word:?}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Samples as short text: floats plainly, histograms by their sums.
    fn samples(text: &str) -> String {
        match parse_series(text) {
            Err(error) => error.to_string(),
            Ok(SeriesLine::StartTimestamps { labels, offsets }) => format!("{labels} {offsets:?}"),
            Ok(SeriesLine::Samples { labels, values }) => {
                let show = |value: &SequenceValue| match value {
                    SequenceValue::Omitted => " _".to_owned(),
                    SequenceValue::Float(v) if v.to_bits() == stale_marker().to_bits() => " stale".to_owned(),
                    SequenceValue::Float(v) => format!(" {v}"),
                    SequenceValue::Histogram { histogram, .. } => format!(" h{}", histogram.sum),
                };
                labels.to_string() + &values.iter().map(show).collect::<String>()
            }
        }
    }

    #[test]
    fn items_stand_for_one_or_more_samples() {
        for (text, expected) in [
            ("{} 1 2 3", "{} 1 2 3"),
            ("m 1 -1 +1", "m 1 -1 1"),
            ("m{a=\"b\"} 1 2 3-10x4", "m{a=\"b\"} 1 2 3 -7 -17 -27 -37"),
            ("m 1x0 1+1x0", "m 1 1"),
            ("m 1x2", "m 1 1 1"),
            ("m 1 3 _ 5 _x4 6   ", "m 1 3 _ 5 _ _ _ _ 6"),
            ("m 1 stale NaN -Inf inf", "m 1 stale NaN -inf inf"),
            ("m 1.5e-3+1e2x1", "m 0.0015 100.0015"),
            ("m 1m 1m+1sx1", "m 60 60 61"),
            ("m -1 -3-10x2 7", "m -1 -3 -13 -23 7"),
            ("sum 1", "sum 1"),
            (
                "{\"http.requests\", \"a.b\"=\"c\", d='e'}\t\t0+50x2",
                "{__name__=\"http.requests\", \"a.b\"=\"c\", d=\"e\"} 0 50 100",
            ),
            ("m{a=\"\"} 1", "m 1"),
            ("m {{sum:1}} 2", "m h1 2"),
            ("m {{}}x2 {{sum:2}}+{{sum:2}}x2", "m h0 h0 h0 h2 h4 h6"),
            ("m {{sum:3 count:3}}-{{sum:1 count:1}}x1", "m h3 h2"),
            ("m", "m"),
        ] {
            assert_eq!(samples(text), expected, "{text}");
        }
    }

    #[test]
    fn start_timestamps_have_a_line_of_their_own() {
        assert_eq!(
            samples("m{a=\"b\"}@st _ _x2 -1m 0 1msx1 -30s-1mx1"),
            "m{a=\"b\"} [None, None, None, Some(-60000), Some(0), Some(1), Some(1), Some(-30000), Some(-90000)]"
        );
    }

    #[test]
    fn what_is_no_series_is_refused_in_place() {
        for (text, expected) in [
            ("{} 1+1", "1:7: parse error: unexpected step in series values, expected \"x\" and a count"),
            ("m _a4", "1:4: parse error: unexpected text in series values, expected a blank"),
            ("m -3-3 -3", "1:7: parse error: unexpected step in series values, expected \"x\" and a count"),
            ("m -3 _-2", "1:7: parse error: unexpected text in series values, expected a blank"),
            ("m -3 3+3x4-4", "1:11: parse error: unexpected text in series values, expected a blank"),
            ("m 1x", "1:5: parse error: invalid repetition in series values"),
            ("m 1x99999999999999999999", "1:5: parse error: series describes more than 1000000 samples"),
            (
                "{\"a\"xx} 1",
                "1:5: parse error: unexpected identifier \"xx\" in label set, expected \",\" or \"}\"",
            ),
            ("{\"a\"=, x=\"y\"} 1", "1:6: parse error: unexpected \",\" in label set, expected string"),
            ("{\"a} 1", "1:2: parse error: unterminated quoted string"),
            ("{a=\"1\",a=\"2\"} 1", "1:1: parse error: duplicate label \"a\""),
            (
                "1 2",
                "1:1: parse error: unexpected number \"1\" in series description, expected metric name or \"{\"",
            ),
            (
                "m {{schema:1}}+{{schema:0}}x2",
                "1:30: parse error: error combining histograms: cannot merge from schema 0 to 1",
            ),
        ] {
            assert_eq!(samples(text), expected, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_line_is_read_or_refused(text in "[a-c{}\"=]{0,6}(@st)? [0-9x+_{}:.\\-a-n \\[\\]é]{0,16}") {
            let _ = parse_series(&text);
        }
    }
}
