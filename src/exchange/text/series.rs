//! A series by how a text spells it: `up{job="a"}`, or with names of any characters `{"http.requests","a.b"="c"}`.

use std::borrow::Cow;

use super::cursor::{Cursor, Fault, shown};
use crate::model::Labels;
use crate::model::labels::{METRIC_NAME, is_label_name, is_metric_name};

pub struct Series {
    pub labels: Labels,
    /// What the series of one metric point have in common: all labels but the name and those that tell buckets and
    /// quantiles apart.
    pub point: Labels,
}

impl Series {
    pub fn parse(at: usize, spelling: &str) -> Result<Series, Fault> {
        let mut cursor = Cursor::new(at, spelling);
        let name = cursor.until(|c| matches!(c, ' ' | '\t' | '{'));
        let mut pairs = Vec::new();
        if !name.is_empty() {
            if !is_metric_name(name) {
                let reason = format!("a metric cannot be called {} outside of quotes", shown(name));
                return Err(Fault::new(at, reason));
            }
            pairs.push((Cow::Borrowed(METRIC_NAME), Cow::Borrowed(name)));
        }
        cursor.skip_blanks();
        if cursor.peek().is_some() {
            braces(&mut cursor, &mut pairs)?;
        }
        if !pairs.iter().any(|(name, _)| name == METRIC_NAME) {
            return Err(Fault::new(at, "a sample of no metric: it has no name"));
        }
        let labels = labels(at, pairs)?;
        let point = labels.without(&[METRIC_NAME, "le", "quantile"]);
        Ok(Series { labels, point })
    }

    pub fn name(&self) -> &str {
        self.labels.metric_name()
    }
}

/// Those of an exemplar have no name among them.
pub fn exemplar_labels(at: usize, text: &str) -> Result<Labels, Fault> {
    let mut pairs = Vec::new();
    braces(&mut Cursor::new(at, text), &mut pairs)?;
    labels(at, pairs)
}

type Pair<'a> = (Cow<'a, str>, Cow<'a, str>);

fn labels(at: usize, pairs: Vec<Pair<'_>>) -> Result<Labels, Fault> {
    Labels::from_pairs(pairs).map_err(|error| Fault::new(at, error.to_string()))
}

fn braces<'a>(cursor: &mut Cursor<'a>, pairs: &mut Vec<Pair<'a>>) -> Result<(), Fault> {
    cursor.expect('{')?;
    loop {
        cursor.skip_blanks();
        if cursor.take('}') {
            return Ok(());
        }
        pairs.push(label(cursor)?);
        cursor.skip_blanks();
        if !cursor.take(',') {
            return cursor.expect('}');
        }
    }
}

/// A quoted text that stands alone is the name of the metric.
fn label<'a>(cursor: &mut Cursor<'a>) -> Result<Pair<'a>, Fault> {
    let is_quoted = cursor.peek() == Some('"');
    let name = if is_quoted { cursor.quoted()? } else { bare_name(cursor)? };
    cursor.skip_blanks();
    if is_quoted && matches!(cursor.peek(), Some(',' | '}')) {
        return Ok((Cow::Borrowed(METRIC_NAME), name));
    }
    cursor.expect('=')?;
    cursor.skip_blanks();
    Ok((name, cursor.quoted()?))
}

fn bare_name<'a>(cursor: &mut Cursor<'a>) -> Result<Cow<'a, str>, Fault> {
    let place = cursor.place();
    let name = cursor.until(|c| matches!(c, ' ' | '\t' | '=' | ',' | '}' | '"'));
    if is_label_name(name) {
        return Ok(Cow::Borrowed(name));
    }
    Err(Fault::new(place, format!("a label cannot be called {} outside of quotes", shown(name))))
}
