//! label_replace, label_join, absent and the sorts: functions that work on labels and on which series are there.

use std::cell::RefCell;
use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;

use crate::model::bounded_regex::{BoundedRegex, Groups};
use crate::model::labels::METRIC_NAME;
use crate::model::{Labels, LabelsBuilder, Lookout, MatchOp, Matcher, RegexCache};
use crate::query::QueryError;

use super::announced::Announced;
use super::context::Context;
use super::row::OutputSeries;

/// `label_replace(v, dst, replacement, src, regex)`, its arguments checked.
pub struct LabelReplace {
    pub target: String,
    pub replacement: String,
    pub source: String,
    /// Anchored; `.` matches newlines.
    pub regex: Arc<BoundedRegex>,
}

/// The patterns of a query: one that stands in many places is compiled once, also where it is too large to be kept from query to query.
#[derive(Default)]
pub struct Patterns {
    met: RefCell<HashMap<String, Arc<BoundedRegex>>>,
    cache: Arc<RegexCache>,
}

impl Patterns {
    pub fn of_cache(cache: Arc<RegexCache>) -> Patterns {
        Patterns { met: RefCell::default(), cache }
    }

    /// A pattern that the whole of a value must match; none if it is malformed.
    pub fn anchored(&self, pattern: &str) -> Option<Arc<BoundedRegex>> {
        if let Some(compiled) = self.met.borrow().get(pattern) {
            return Some(compiled.clone());
        }
        let compiled = self.cache.replaced(pattern).ok()?;
        self.met.borrow_mut().insert(pattern.to_owned(), compiled.clone());
        Some(compiled)
    }
}

/// A label value that a query makes may be 32 times as long as one that is stored may be by default.
const VALUE_BYTES_MAX: usize = 64 << 10;

impl LabelReplace {
    pub fn apply<'q>(
        &self,
        context: &'q Context<'q>,
        input: &[OutputSeries],
    ) -> Result<Announced<'q>, QueryError> {
        let mut announced = Announced::none(context);
        let stop = context.budget.stop_sign();
        let lookout = Lookout::new(&stop);
        let mut groups = Groups::new(&self.regex);
        for series in input {
            let value = series.labels.get(&self.source);
            let is_match = self.regex.find_groups(value, 0, &lookout, &mut groups);
            if lookout.has_given_up() {
                context.budget.check()?;
            }
            let made = match is_match {
                true => with_label(series, &self.target, &self.replaced(value, &groups)?),
                false => series.clone(),
            };
            announced.push_made_from(&series.labels, made)?;
        }
        Ok(announced)
    }

    fn replaced(&self, value: &str, groups: &Groups) -> Result<String, QueryError> {
        let mut made = String::new();
        self.regex.expand(&self.replacement, value, groups, |piece| append(&mut made, piece))?;
        Ok(made)
    }
}

/// `label_join(v, dst, separator, src…)`.
pub fn label_join<'q>(
    context: &'q Context<'q>,
    input: &[OutputSeries],
    target: &str,
    separator: &str,
    sources: &[String],
) -> Result<Announced<'q>, QueryError> {
    let mut announced = Announced::none(context);
    for series in input {
        let mut value = String::new();
        for (i, source) in sources.iter().enumerate() {
            append(&mut value, if i > 0 { separator } else { "" })?;
            append(&mut value, series.labels.get(source))?;
        }
        announced.push_made_from(&series.labels, with_label(series, target, &value))?;
    }
    Ok(announced)
}

/// Grows a value no further than it may.
fn append(value: &mut String, text: &str) -> Result<(), QueryError> {
    if value.len() + text.len() > VALUE_BYTES_MAX {
        return Err(QueryError::Execution(format!(
            "label value would be longer than {VALUE_BYTES_MAX} bytes"
        )));
    }
    value.push_str(text);
    Ok(())
}

/// Sets a label; whoever sets the name has it kept.
fn with_label(series: &OutputSeries, target: &str, value: &str) -> OutputSeries {
    let drop_name = series.drop_name && target != METRIC_NAME;
    OutputSeries { labels: series.labels.with(target, value), drop_name }
}

/// What `absent` knows of the series it misses: the labels its selector asks for, unless named twice.
pub fn absent_labels(matchers: &[Matcher]) -> Labels {
    let mut builder = LabelsBuilder::default();
    let mut seen: Vec<&str> = Vec::new();
    for matcher in matchers.iter().filter(|m| m.name != METRIC_NAME) {
        if matcher.op == MatchOp::Equal && !seen.contains(&matcher.name.as_str()) {
            builder.set(&matcher.name, &matcher.value);
            seen.push(&matcher.name);
        } else {
            builder.remove(&matcher.name);
        }
    }
    builder.build()
}

/// The order of sort_by_label: by these labels as people sort them, then by all.
pub fn by_labels(a: &Labels, b: &Labels, names: &[String]) -> Ordering {
    for name in names {
        let order = natural(a.get(name), b.get(name));
        if order != Ordering::Equal {
            return order;
        }
    }
    a.cmp(b)
}

/// Runs of digits compare as numbers, everything else byte by byte.
fn natural(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    while let (Some(&x), Some(&y)) = (a.first(), b.first()) {
        if x.is_ascii_digit() && y.is_ascii_digit() {
            let (number_a, rest_a) = digits(a);
            let (number_b, rest_b) = digits(b);
            // Without leading zeros, the longer number is the greater; zeros decide only between equals.
            let order = (number_a.len(), number_a).cmp(&(number_b.len(), number_b));
            let order = order.then((a.len() - rest_a.len()).cmp(&(b.len() - rest_b.len())));
            if order != Ordering::Equal {
                return order;
            }
            (a, b) = (rest_a, rest_b);
            continue;
        }
        if x != y {
            return x.cmp(&y);
        }
        (a, b) = (&a[1..], &b[1..]);
    }
    a.len().cmp(&b.len())
}

/// The number at the start, without leading zeros, and what follows it.
fn digits(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(|b| !b.is_ascii_digit()).unwrap_or(text.len());
    let zeros = text[..end].iter().take_while(|&&b| b == b'0').count();
    (&text[zeros..end], &text[end..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_knows_what_the_selector_asks_for_once() {
        let matchers = [
            Matcher::new("__name__", MatchOp::Equal, "m").unwrap(),
            Matcher::new("a", MatchOp::Equal, "1").unwrap(),
            Matcher::new("b", MatchOp::Equal, "1").unwrap(),
            Matcher::new("b", MatchOp::Equal, "2").unwrap(),
            Matcher::new("c", MatchOp::NotEqual, "1").unwrap(),
            Matcher::new("d", MatchOp::Equal, "").unwrap(),
        ];
        assert_eq!(absent_labels(&matchers).to_string(), r#"{a="1"}"#);
    }

    #[test]
    fn a_pattern_is_compiled_once() {
        let cache = Arc::new(RegexCache::default());
        let patterns = Patterns::of_cache(cache.clone());
        let [first, again] = ["a|b"; 2].map(|pattern| patterns.anchored(pattern).unwrap());
        assert!(Arc::ptr_eq(&first, &again) && !Arc::ptr_eq(&first, &patterns.anchored("b|a").unwrap()));
        assert!(patterns.anchored("(").is_none());
        let next = Patterns::of_cache(cache);
        assert!(Arc::ptr_eq(&first, &next.anchored("a|b").unwrap()), "by the next query, too");
        let large = r"(\pL){10}";
        assert!(Arc::ptr_eq(&next.anchored(large).unwrap(), &next.anchored(large).unwrap()));
    }

    #[test]
    fn numbers_in_text_sort_as_numbers() {
        let mut names = ["cpu10", "cpu9", "cpu", "cpu01", "cpu1", "apu99"];
        names.sort_by(|a, b| natural(a, b));
        assert_eq!(names, ["apu99", "cpu", "cpu1", "cpu01", "cpu9", "cpu10"]);
    }
}
