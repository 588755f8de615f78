//! The labels of a series: its identity.
//!
//! All text of one series lives in one shared allocation, so that a clone costs a counter and two equal
//! series have equal bytes.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_128;

/// The label that holds a metric's name.
pub const METRIC_NAME: &str = "__name__";

/// The labels of one series. Invariant: names strictly increase (bytewise), no value is empty (an empty
/// value is the same as no label), so equal series have equal bytes. [`LabelsBuilder`] and
/// [`Labels::from_pairs`] are the only ways in.
///
/// The text is `name value name value …`, each preceded by its length in bytes as ASCII digits of base 64
/// (see [`push_text`]), which keeps the whole a `str` and makes reading it free of UTF-8 checks.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Labels(Arc<str>);

/// The same name came twice.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("duplicate label {0:?}")]
pub struct DuplicateLabel(pub String);

impl Labels {
    pub fn empty() -> Labels {
        Labels(Arc::from(""))
    }

    /// Sorts; drops labels with an empty value; refuses a name that comes twice with a value.
    pub fn from_pairs<N: AsRef<str>, V: AsRef<str>>(
        pairs: impl IntoIterator<Item = (N, V)>,
    ) -> Result<Labels, DuplicateLabel> {
        let mut pairs: Vec<(N, V)> = pairs.into_iter().filter(|(_, v)| !v.as_ref().is_empty()).collect();
        pairs.sort_by(|a, b| a.0.as_ref().cmp(b.0.as_ref()));
        if let Some(twice) = pairs.windows(2).find(|w| w[0].0.as_ref() == w[1].0.as_ref()) {
            return Err(DuplicateLabel(twice[0].0.as_ref().to_owned()));
        }
        Ok(Labels::from_sorted(pairs.iter().map(|(n, v)| (n.as_ref(), v.as_ref()))))
    }

    /// For pairs that already keep the invariant; it is asserted.
    pub fn from_sorted<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Labels {
        let mut text = LabelsText::default();
        pairs.into_iter().for_each(|(name, value)| text.push(name, value));
        text.take()
    }

    pub fn iter(&self) -> LabelsIter<'_> {
        LabelsIter { rest: &self.0 }
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// The value of a label; `""` where there is none, which PromQL takes for the same.
    pub fn get(&self, name: &str) -> &str {
        self.iter().find(|(n, _)| *n == name).map_or("", |(_, v)| v)
    }

    /// The metric's name, `""` where there is none.
    pub fn metric_name(&self) -> &str {
        self.get(METRIC_NAME)
    }

    /// These labels, with one set; a value of `""` takes it away.
    pub fn with(&self, name: &str, value: &str) -> Labels {
        let before = self.iter().take_while(|(n, _)| *n < name);
        let after = self.iter().skip_while(|(n, _)| *n < name).filter(|(n, _)| *n != name);
        let set = Some((name, value)).filter(|_| !value.is_empty());
        Labels::from_sorted(before.chain(set).chain(after))
    }

    /// These labels without those named.
    pub fn without(&self, names: &[&str]) -> Labels {
        let mut rest = self.iter();
        let mut after_first = rest.clone();
        while after_first.next().is_some_and(|(n, _)| names.contains(&n)) {
            rest = after_first.clone();
        }
        // Mostly it is the metric's name, which comes first: the text goes on behind it.
        if !after_first.any(|(n, _)| names.contains(&n)) {
            return Labels(rest.rest.into());
        }
        Labels::from_sorted(self.iter().filter(|(n, _)| !names.contains(n)))
    }

    /// Only those of these labels that are named.
    pub fn keep(&self, names: &[&str]) -> Labels {
        Labels::from_sorted(self.iter().filter(|(n, _)| names.contains(n)))
    }

    /// A stable 128-bit hash of the whole set: the sum over its labels of [`label_hash`], so that a reader
    /// who knows each label's hash need not see the text. Two series share one by chance with 2^-128 a pair.
    pub fn fingerprint(&self) -> u128 {
        self.iter().fold(0u128, |sum, (name, value)| sum.wrapping_add(label_hash(name, value)))
    }

    /// Whether these are clones of one another, which hold their text once.
    pub fn shares_text(&self, other: &Labels) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Bytes of text held, for accounting.
    pub fn text_len(&self) -> usize {
        self.0.len()
    }
}

/// The hash of one label; part of what [`Labels::fingerprint`] promises to keep stable.
pub fn label_hash(name: &str, value: &str) -> u128 {
    // 0xFF never occurs in UTF-8, so no other (name, value) has these bytes.
    const ON_STACK: usize = 256;
    let len = name.len() + 1 + value.len();
    if len <= ON_STACK {
        let mut buffer = [0u8; ON_STACK];
        buffer[..name.len()].copy_from_slice(name.as_bytes());
        buffer[name.len()] = 0xFF;
        buffer[name.len() + 1..len].copy_from_slice(value.as_bytes());
        return xxh3_128(&buffer[..len]);
    }
    let mut buffer = Vec::with_capacity(len);
    buffer.extend_from_slice(name.as_bytes());
    buffer.push(0xFF);
    buffer.extend_from_slice(value.as_bytes());
    xxh3_128(&buffer)
}

impl Default for Labels {
    fn default() -> Labels {
        Labels::empty()
    }
}

impl PartialOrd for Labels {
    fn partial_cmp(&self, other: &Labels) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Pairwise by name, then value; the shorter set first: the order of Prometheus's results.
impl Ord for Labels {
    fn cmp(&self, other: &Labels) -> Ordering {
        self.iter().cmp(other.iter())
    }
}

/// As PromQL writes it: `up{job="api"}`.
impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.metric_name();
        let plain = is_metric_name(name);
        if plain {
            f.write_str(name)?;
        }
        let mut rest = self.iter().filter(|(n, _)| !(plain && *n == METRIC_NAME)).peekable();
        if rest.peek().is_none() && plain {
            return Ok(());
        }
        f.write_str("{")?;
        for (i, (name, value)) in rest.enumerate() {
            if i > 0 {
                f.write_str(", ")?;
            }
            if is_label_name(name) {
                write!(f, "{name}={value:?}")?
            } else {
                write!(f, "{name:?}={value:?}")?
            }
        }
        f.write_str("}")
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A name of the classic form `[a-zA-Z_:][a-zA-Z0-9_:]*`, which needs no quotes.
pub fn is_metric_name(name: &str) -> bool {
    is_name(name, |b| b == b':')
}

/// A label name of the classic form `[a-zA-Z_][a-zA-Z0-9_]*`, which needs no quotes.
pub fn is_label_name(name: &str) -> bool {
    is_name(name, |_| false)
}

fn is_name(name: &str, also: impl Fn(u8) -> bool) -> bool {
    let ok = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || also(b);
    !name.is_empty() && !name.as_bytes()[0].is_ascii_digit() && name.bytes().all(ok)
}

/// Walks the labels in order of their names.
#[derive(Clone)]
pub struct LabelsIter<'a> {
    rest: &'a str,
}

impl<'a> Iterator for LabelsIter<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<(&'a str, &'a str)> {
        if self.rest.is_empty() {
            return None;
        }
        Some((pop_text(&mut self.rest), pop_text(&mut self.rest)))
    }
}

impl<'a> IntoIterator for &'a Labels {
    type Item = (&'a str, &'a str);
    type IntoIter = LabelsIter<'a>;

    fn into_iter(self) -> LabelsIter<'a> {
        self.iter()
    }
}

// A length is written in base 64, least digit first, each digit one ASCII byte; 64 is added to all but the
// last. A typical name or value (< 64 bytes) costs one byte.
fn push_text(to: &mut String, text: &str) {
    let mut len = text.len();
    while len >= 64 {
        to.push((64 + (len % 64)) as u8 as char);
        len /= 64;
    }
    to.push(len as u8 as char);
    to.push_str(text);
}

fn pop_text<'a>(from: &mut &'a str) -> &'a str {
    let bytes = from.as_bytes();
    let (mut len, mut shift, mut at) = (0usize, 0, 0);
    loop {
        let digit = bytes[at] as usize;
        at += 1;
        len |= (digit % 64) << shift;
        shift += 6;
        if digit < 64 {
            break;
        }
    }
    let (text, rest) = from.split_at(at + len);
    *from = rest;
    &text[at..]
}

/// Mostly the first byte tells, without a call.
fn is_before(name: &str, next: &str) -> bool {
    match (name.as_bytes(), next.as_bytes()) {
        ([a, ..], [b, ..]) if a != b => a < b,
        _ => name < next,
    }
}

/// Makes sets of labels that keep the invariant already, one set after the other in one buffer.
pub struct LabelsText {
    text: String,
    /// Where the name of the last label lies.
    last_name: Range<usize>,
}

impl Default for LabelsText {
    fn default() -> LabelsText {
        // Most fit, so it rarely grows.
        LabelsText { text: String::with_capacity(256), last_name: 0..0 }
    }
}

impl LabelsText {
    /// Adds a label to the set that was begun; the order is asserted.
    pub fn push(&mut self, name: &str, value: &str) {
        let is_next = self.text.is_empty() || is_before(&self.text[self.last_name.clone()], name);
        assert!(is_next && !value.is_empty(), "labels out of order at {name:?}");
        push_text(&mut self.text, name);
        self.last_name = self.text.len() - name.len()..self.text.len();
        push_text(&mut self.text, value);
    }

    /// Forgets what was begun.
    pub fn clear(&mut self) {
        self.text.clear();
    }

    /// Ends the set.
    pub fn take(&mut self) -> Labels {
        let labels = Labels(self.text.as_str().into());
        self.clear();
        labels
    }
}

/// Changes to a label set, collected; a value set to `""` is a removal.
#[derive(Default, Clone, Debug)]
pub struct LabelsBuilder(BTreeMap<String, String>);

impl LabelsBuilder {
    pub fn from_labels(labels: &Labels) -> LabelsBuilder {
        LabelsBuilder(labels.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect())
    }

    pub fn set(&mut self, name: &str, value: &str) -> &mut LabelsBuilder {
        if value.is_empty() {
            self.0.remove(name);
        } else {
            self.0.insert(name.to_owned(), value.to_owned());
        }
        self
    }

    pub fn remove(&mut self, name: &str) -> &mut LabelsBuilder {
        self.0.remove(name);
        self
    }

    pub fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    pub fn build(&self) -> Labels {
        Labels::from_sorted(self.0.iter().map(|(n, v)| (n.as_str(), v.as_str())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        Labels::from_pairs(pairs.iter().copied()).unwrap()
    }

    #[test]
    fn order_of_the_pairs_does_not_matter_and_empty_values_are_no_labels() {
        let a = labels(&[("b", "2"), ("a", "1"), ("c", "")]);
        assert_eq!(a, labels(&[("a", "1"), ("b", "2")]));
        assert_eq!(a.iter().collect::<Vec<_>>(), [("a", "1"), ("b", "2")]);
        assert_eq!(a.get("c"), "");
    }

    #[test]
    fn a_name_that_comes_twice_is_refused() {
        assert_eq!(Labels::from_pairs([("a", "1"), ("a", "1")]), Err(DuplicateLabel("a".into())));
    }

    #[test]
    fn text_of_any_length_comes_back() {
        for len in [0, 1, 63, 64, 65, 4095, 4096, 300_000] {
            let long = "é".repeat(len) + "x";
            assert_eq!(labels(&[("n", &long)]).get("n"), long);
        }
    }

    #[test]
    fn sets_that_are_made_in_one_buffer_are_made_apart() {
        let mut text = LabelsText::default();
        text.push("b", "1");
        text.push("c", "2");
        assert_eq!(text.take(), labels(&[("b", "1"), ("c", "2")]));
        text.push("z", "given up");
        text.clear();
        text.push("a", "3");
        assert_eq!(text.take(), labels(&[("a", "3")]));
        assert_eq!(text.take(), Labels::empty());
    }

    #[test]
    fn sets_compare_by_pairs_not_by_encoded_bytes() {
        assert!(labels(&[("a", "b")]) > labels(&[("a", "aaaaaaaa")]));
        assert!(labels(&[("a", "1")]) < labels(&[("a", "1"), ("b", "1")]));
    }

    #[test]
    fn a_label_is_set_added_or_taken_away_as_a_builder_does_it() {
        let set = labels(&[("b", "1"), ("d", "2")]);
        for (name, value) in
            [("a", "x"), ("b", "x"), ("c", "x"), ("d", "x"), ("e", "x"), ("b", ""), ("c", "")]
        {
            assert_eq!(set.with(name, value), LabelsBuilder::from_labels(&set).set(name, value).build());
        }
        assert_eq!(Labels::empty().with("a", "1"), labels(&[("a", "1")]));
    }

    #[test]
    fn labels_are_taken_away_wherever_they_stand() {
        let set = labels(&[("a", "1"), ("b", "2"), ("c", "3")]);
        for names in
            [&[][..], &["a"], &["b"], &["c"], &["a", "b"], &["a", "c"], &["b", "c"], &["c", "b", "a"], &["x"]]
        {
            assert_eq!(
                set.without(names),
                Labels::from_sorted(set.iter().filter(|(n, _)| !names.contains(n)))
            );
        }
        assert_eq!(set.without(&["b", "a"]), labels(&[("c", "3")]));
        assert_eq!(Labels::empty().without(&["a"]), Labels::empty());
    }

    #[test]
    fn the_fingerprint_is_stable_and_the_sum_of_its_labels() {
        let set = labels(&[("__name__", "up"), ("job", "api")]);
        assert_eq!(set.fingerprint(), label_hash("job", "api").wrapping_add(label_hash("__name__", "up")));
        assert_eq!(labels(&[("a", "b")]).fingerprint(), xxh3_128(b"a\xFFb"));
    }

    #[test]
    fn labels_print_as_promql_writes_them() {
        assert_eq!(labels(&[("__name__", "up"), ("job", "a\"b")]).to_string(), r#"up{job="a\"b"}"#);
        assert_eq!(
            labels(&[("__name__", "my.metric"), ("x.y", "1")]).to_string(),
            r#"{__name__="my.metric", "x.y"="1"}"#
        );
        assert_eq!(Labels::empty().to_string(), "{}");
    }
}
