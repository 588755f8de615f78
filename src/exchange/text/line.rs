//! One line, taken apart as far as no other line is needed for it.

use std::borrow::Cow;

use super::cursor::{Cursor, Fault, shown, unescaped};
use crate::exchange::number::NAN;
use crate::model::MetricType;

pub enum Line<'a> {
    /// Blank, or a comment.
    Nothing,
    /// `# EOF`
    End,
    Type(Cow<'a, str>, MetricType),
    Help(Cow<'a, str>, String),
    Unit(Cow<'a, str>, String),
    Sample(SampleText<'a>),
}

/// Parts come with their places in the line.
pub struct SampleText<'a> {
    /// Name and labels as they are spelt.
    pub series: (usize, &'a str),
    pub value_at: usize,
    pub value: f64,
    pub timestamp: Option<(usize, &'a str)>,
    pub exemplar: Option<ExemplarText<'a>>,
    /// Behind the last part.
    pub end: usize,
}

pub struct ExemplarText<'a> {
    /// With their braces.
    pub labels: (usize, &'a str),
    pub value: f64,
    pub timestamp: Option<(usize, &'a str)>,
}

pub fn parse(line: &str) -> Result<Line<'_>, Fault> {
    let mut cursor = Cursor::new(0, line);
    cursor.skip_blanks();
    match cursor.peek() {
        None => Ok(Line::Nothing),
        Some('#') => about(&mut cursor),
        Some(_) => Ok(Line::Sample(sample(&mut cursor)?)),
    }
}

/// `# TYPE`, `# HELP`, `# UNIT`, `# EOF`; whatever else is a comment.
fn about<'a>(cursor: &mut Cursor<'a>) -> Result<Line<'a>, Fault> {
    cursor.take('#');
    cursor.skip_blanks();
    let (_, keyword) = cursor.word();
    if keyword == "EOF" && cursor.rest().trim().is_empty() {
        return Ok(Line::End);
    }
    if !matches!(keyword, "TYPE" | "HELP" | "UNIT") {
        return Ok(Line::Nothing);
    }
    cursor.skip_blanks();
    let family = match cursor.peek() {
        Some('"') => cursor.quoted()?,
        None => return Err(cursor.fault(format!("# {keyword} of which metric?"))),
        Some(_) => Cow::Borrowed(cursor.word().1),
    };
    cursor.skip_blanks();
    let rest = cursor.rest();
    Ok(match keyword {
        "TYPE" => Line::Type(
            family,
            metric_type(rest.trim_end())
                .ok_or_else(|| cursor.fault(format!("no type of metrics is called {}", shown(rest))))?,
        ),
        "HELP" => Line::Help(family, unescaped(rest).into_owned()),
        _ => Line::Unit(family, rest.trim_end().to_owned()),
    })
}

/// As both formats call them.
fn metric_type(name: &str) -> Option<MetricType> {
    Some(match name {
        "counter" => MetricType::Counter,
        "gauge" => MetricType::Gauge,
        "histogram" => MetricType::Histogram,
        "gaugehistogram" => MetricType::GaugeHistogram,
        "summary" => MetricType::Summary,
        "info" => MetricType::Info,
        "stateset" => MetricType::StateSet,
        "unknown" | "untyped" => MetricType::Unknown,
        _ => return None,
    })
}

fn sample<'a>(cursor: &mut Cursor<'a>) -> Result<SampleText<'a>, Fault> {
    let series = series(cursor)?;
    cursor.skip_blanks();
    let (value_at, value) = number(cursor, "a value")?;
    let timestamp = timestamp(cursor);
    let end = cursor.place();
    let exemplar = match cursor.take('#') {
        true => Some(exemplar(cursor)?),
        false => None,
    };
    if !cursor.rest().is_empty() {
        return Err(cursor.fault(format!("expected the end of the line, found {}", shown(cursor.rest()))));
    }
    Ok(SampleText { series, value_at, value, timestamp, exemplar, end })
}

/// `name`, `name{…}` or `{…}`, to be read later, unless it is known.
fn series<'a>(cursor: &mut Cursor<'a>) -> Result<(usize, &'a str), Fault> {
    let (place, whole) = (cursor.place(), cursor.rest());
    cursor.until(|c| matches!(c, ' ' | '\t' | '{'));
    let mut ahead = Cursor::new(cursor.place(), cursor.rest());
    ahead.skip_blanks();
    if ahead.peek() == Some('{') {
        cursor.skip_blanks();
        skip_braces(cursor)?;
    }
    Ok((place, &whole[..cursor.place() - place]))
}

fn skip_braces(cursor: &mut Cursor<'_>) -> Result<(), Fault> {
    let begin = cursor.place();
    let without_end = || Fault::new(begin, "braces without an end");
    cursor.expect('{')?;
    loop {
        cursor.until(|c| matches!(c, '"' | '}'));
        if cursor.take('}') {
            return Ok(());
        }
        if !cursor.take('"') {
            return Err(without_end());
        }
        cursor.skip_to_quote().ok_or_else(without_end)?;
    }
}

fn number(cursor: &mut Cursor<'_>, what: &str) -> Result<(usize, f64), Fault> {
    let (place, text) = cursor.word();
    let value: f64 = text.parse().map_err(|_| {
        Fault::new(
            place,
            format!(
                "expected {what}, found {}",
                if text.is_empty() { "nothing".to_owned() } else { shown(text) }
            ),
        )
    })?;
    // A stale marker is a NaN as well and must not be met by chance.
    Ok((place, if value.is_nan() { f64::from_bits(NAN) } else { value }))
}

/// What follows a value, up to an exemplar.
fn timestamp<'a>(cursor: &mut Cursor<'a>) -> Option<(usize, &'a str)> {
    cursor.skip_blanks();
    if matches!(cursor.peek(), None | Some('#')) {
        return None;
    }
    let word = cursor.word();
    cursor.skip_blanks();
    Some(word)
}

fn exemplar<'a>(cursor: &mut Cursor<'a>) -> Result<ExemplarText<'a>, Fault> {
    cursor.skip_blanks();
    let (place, whole) = (cursor.place(), cursor.rest());
    skip_braces(cursor)?;
    let labels = (place, &whole[..cursor.place() - place]);
    cursor.skip_blanks();
    let (_, value) = number(cursor, "the value of an exemplar")?;
    Ok(ExemplarText { labels, value, timestamp: timestamp(cursor) })
}
