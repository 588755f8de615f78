//! The series that entries of a range aggregation belong to.

use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64;

use crate::model::Labels;
use crate::query::logql::ast::Grouping;
use crate::query::logql::stages::labels::{ERROR, ERROR_DETAILS, PRESERVE_ERROR};
use crate::query::logql::stages::{EntryLabels, Wanted};

/// Which labels make a series.
#[derive(Clone, Debug)]
pub enum SeriesLabels {
    /// These alone.
    By(Vec<String>),
    /// All but these.
    Without(Vec<String>),
}

impl SeriesLabels {
    /// `unwrapped`: the label whose value became the sample's.
    pub fn new(grouping: Option<&Grouping>, unwrapped: Option<&str>) -> SeriesLabels {
        let unwrapped = unwrapped.map(str::to_owned);
        match grouping {
            Some(grouping) if !grouping.is_without => {
                let mut names = grouping.labels.clone();
                names.sort_unstable();
                names.dedup();
                SeriesLabels::By(names)
            }
            Some(grouping) => {
                SeriesLabels::Without(grouping.labels.iter().cloned().chain(unwrapped).collect())
            }
            None => SeriesLabels::Without(unwrapped.into_iter().collect()),
        }
    }

    pub fn wanted(&self) -> Wanted {
        match self {
            SeriesLabels::By(names) => Wanted::these(names.iter().cloned()),
            SeriesLabels::Without(_) => Wanted::All,
        }
    }

    /// The series of a stream whose entries bring no labels of their own.
    pub fn of_stream(&self, labels: &Labels) -> Labels {
        match self {
            SeriesLabels::By(names) => {
                Labels::from_sorted(labels.iter().filter(|(name, _)| names.iter().any(|n| n == name)))
            }
            SeriesLabels::Without(names) => {
                Labels::from_sorted(labels.iter().filter(|(name, _)| !names.iter().any(|n| n == name)))
            }
        }
    }
}

/// Numbers for the series that one thread has met.
#[derive(Debug, Default)]
pub struct SeriesTable {
    /// Labels of each, in order of their numbers.
    pub labels: Vec<Labels>,
    keys: Vec<Box<[u8]>>,
    numbers: HashTable<u32>,
    key: Vec<u8>,
}

impl SeriesTable {
    /// The series of an entry; the second is true if it was not met before.
    pub fn number(&mut self, of: &SeriesLabels, entry: &EntryLabels) -> (usize, bool) {
        self.key.clear();
        match of {
            SeriesLabels::By(names) => {
                for name in names {
                    push_text(&mut self.key, entry.get(name).unwrap_or_default());
                }
            }
            SeriesLabels::Without(names) => {
                for (name, value) in all_labels(entry, names) {
                    push_text(&mut self.key, name);
                    push_text(&mut self.key, value);
                }
            }
        }
        let hash = xxh3_64(&self.key);
        if let Some(number) = self.numbers.find(hash, |number| *self.keys[*number as usize] == *self.key) {
            return (*number as usize, false);
        }
        let number = self.labels.len();
        self.labels.push(labels_of(of, entry));
        self.keys.push(self.key.as_slice().into());
        let keys = &self.keys;
        self.numbers.insert_unique(hash, number as u32, |number| xxh3_64(&keys[*number as usize]));
        (number, true)
    }

    /// Memory of the series met last, for accounting.
    pub fn bytes_of_last(&self) -> u64 {
        let (labels, key) = (self.labels.last(), self.keys.last());
        (labels.map_or(0, Labels::text_len) + key.map_or(0, |key| key.len()) + 64) as u64
    }
}

/// A text and a byte that no text has, so that different lists of texts have different bytes.
fn push_text(key: &mut Vec<u8>, text: &str) {
    key.extend_from_slice(text.as_bytes());
    key.push(0xFF);
}

/// What makes a series of all labels, sorted by name; an entry that has an error and got here was asked for.
fn all_labels<'e>(entry: &'e EntryLabels, without: &[String]) -> Vec<(&'e str, &'e str)> {
    let mut all: Vec<(&str, &str)> = entry
        .iter()
        .map(|(name, value, _)| (name, value))
        .filter(|(name, value)| !value.is_empty() && !without.iter().any(|n| n == name))
        .collect();
    if entry.error().is_some() {
        let errors = [ERROR, ERROR_DETAILS].map(|name| (name, entry.get(name).unwrap_or_default()));
        let errors = errors.into_iter().chain([(PRESERVE_ERROR, "true")]);
        all.extend(errors.filter(|(_, value)| !value.is_empty()));
    }
    all.sort_unstable();
    all
}

fn labels_of(of: &SeriesLabels, entry: &EntryLabels) -> Labels {
    match of {
        SeriesLabels::By(names) => Labels::from_sorted(
            names
                .iter()
                .map(|name| (name.as_str(), entry.get(name).unwrap_or_default()))
                .filter(|(_, value)| !value.is_empty()),
        ),
        SeriesLabels::Without(names) => Labels::from_sorted(all_labels(entry, names)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::logql::stages::EntryError;

    fn entry(parsed: &[(&str, &str)]) -> EntryLabels {
        let mut labels = EntryLabels::default();
        labels.begin(0, &Labels::from_sorted([("app", "a"), ("pod", "p")]));
        parsed.iter().for_each(|(name, value)| labels.set(name, value));
        labels
    }

    fn grouping(is_without: bool, labels: &[&str]) -> Grouping {
        Grouping { is_without, labels: labels.iter().map(|l| (*l).to_owned()).collect() }
    }

    fn series(of: &SeriesLabels, parsed: &[(&str, &str)]) -> String {
        let mut table = SeriesTable::default();
        let (number, is_new) = table.number(of, &entry(parsed));
        assert!(is_new && table.number(of, &entry(parsed)) == (number, false));
        table.labels[number].to_string()
    }

    #[test]
    fn a_series_has_the_labels_that_are_asked_for() {
        let parsed = [("level", "info"), ("empty", ""), ("ms", "12")];
        let by = SeriesLabels::new(Some(&grouping(false, &["level", "app", "none", "empty"])), Some("ms"));
        assert_eq!(series(&by, &parsed), r#"{app="a", level="info"}"#);
        let without = SeriesLabels::new(Some(&grouping(true, &["pod"])), Some("ms"));
        assert_eq!(series(&without, &parsed), r#"{app="a", level="info"}"#);
        assert_eq!(
            series(&SeriesLabels::new(None, Some("ms")), &parsed),
            r#"{app="a", level="info", pod="p"}"#
        );
    }

    #[test]
    fn an_error_that_is_asked_for_is_a_label() {
        let mut labels = entry(&[]);
        labels.set_error(EntryError::Json, "bad");
        let mut table = SeriesTable::default();
        table.number(&SeriesLabels::new(None, None), &labels);
        assert_eq!(
            table.labels[0].to_string(),
            r#"{__error__="JSONParserErr", __error_details__="bad", __preserve_error__="true", app="a", pod="p"}"#
        );
        table.number(&SeriesLabels::new(Some(&grouping(false, &["__error__"])), None), &labels);
        assert_eq!(table.labels[1].to_string(), r#"{__error__="JSONParserErr"}"#);
    }

    #[test]
    fn values_that_only_join_to_the_same_text_are_apart() {
        let of = SeriesLabels::new(Some(&grouping(false, &["x", "y"])), None);
        let mut table = SeriesTable::default();
        let first = table.number(&of, &entry(&[("x", "ab"), ("y", "c")]));
        let second = table.number(&of, &entry(&[("x", "a"), ("y", "bc")]));
        assert_ne!(first.0, second.0);
    }
}
