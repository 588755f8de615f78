//! What the tests of the stages share.

use super::labels::{Category, ERROR, ERROR_DETAILS, EntryLabels};
use crate::model::Labels;

/// An entry of the stream `{app="a"}`.
pub fn entry() -> EntryLabels {
    let mut labels = EntryLabels::default();
    labels.begin(0, &Labels::from_sorted([("app", "a")]));
    labels
}

/// What a stage adds to an entry of the stream `{app="a"}`, sorted, errors among it.
pub fn parsed(stage: impl FnOnce(&mut EntryLabels)) -> Vec<(String, String)> {
    let mut labels = entry();
    stage(&mut labels);
    let mut all: Vec<(String, String)> = labels
        .iter()
        .filter(|(_, _, category)| *category == Category::Parsed)
        .map(|(name, value, _)| (name.to_owned(), value.to_owned()))
        .collect();
    for name in [ERROR, ERROR_DETAILS] {
        all.extend(labels.get(name).map(|value| (name.to_owned(), value.to_owned())));
    }
    all.sort();
    all
}

pub fn labels_of(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}
