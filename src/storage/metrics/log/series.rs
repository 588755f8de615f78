//! Series that a payload declares: written, and read in place. Most labels of a series are those of the one before it, and what was
//! found out about these is not found out again.

use std::ops::Range;
use std::ptr;

use super::reader::Reader;
use super::{BadPayload, LABELS_PER_MARKS, MARK_BITS, mark, write_text};
use crate::codec::varint::write_u64;
use crate::model::labels::label_hash;

/// The series that a payload declares, their labels where they stand in it.
#[derive(Debug, Default)]
pub(in crate::storage) struct LoggedSeries<'p> {
    labels: Vec<LoggedLabel<'p>>,
    series: Vec<DeclaredRow>,
}

#[derive(Clone, Copy, Debug)]
struct LoggedLabel<'p> {
    name: &'p str,
    value: &'p str,
    hash: u128,
}

impl<'p> LoggedLabel<'p> {
    fn new(name: &'p str, value: &'p str) -> LoggedLabel<'p> {
        LoggedLabel { name, value, hash: label_hash(name, value) }
    }
}

#[derive(Debug)]
struct DeclaredRow {
    id: u32,
    fingerprint: u128,
    /// Where its labels end.
    end: usize,
}

/// One of them: its names increase, and no value is empty.
pub(in crate::storage) struct DeclaredSeries<'s, 'p> {
    pub id: u32,
    pub fingerprint: u128,
    labels: &'s [LoggedLabel<'p>],
}

impl<'p> LoggedSeries<'p> {
    pub fn iter(&self) -> impl Iterator<Item = DeclaredSeries<'_, 'p>> {
        self.series.iter().scan(0, |start, &DeclaredRow { id, fingerprint, end }| {
            let labels = &self.labels[std::mem::replace(start, end)..end];
            Some(DeclaredSeries { id, fingerprint, labels })
        })
    }
}

impl DeclaredSeries<'_, '_> {
    pub fn labels(&self) -> impl Iterator<Item = (&str, &str)> + Clone {
        self.labels.iter().map(|label| (label.name, label.value))
    }
}

/// Appends an id and labels, whatever is before them.
pub(super) fn write_in_full<'a>(
    id: u32,
    labels: impl Iterator<Item = (&'a str, &'a str)> + Clone,
    to: &mut Vec<u8>,
) {
    write_u64(to, id.into());
    write_u64(to, labels.clone().count() as u64);
    for (name, value) in labels {
        write_text(name, to);
        write_text(value, to);
    }
}

impl<'a> Reader<'a> {
    pub(super) fn series(&mut self, count: usize, to: &mut LoggedSeries<'a>) -> Result<(), BadPayload> {
        let (mut id, mut before) = (0, 0..0);
        for _ in 0..count {
            id = self.id_from(id)?;
            let start = to.labels.len();
            let fingerprint = self.marked_labels(before, &mut to.labels)?;
            before = start..to.labels.len();
            to.series.push(DeclaredRow { id, fingerprint, end: before.end });
        }
        Ok(())
    }

    /// Appends the labels of a series, and answers with its fingerprint. `before`: those of the series before it.
    fn marked_labels(
        &mut self,
        before: Range<usize>,
        to: &mut Vec<LoggedLabel<'a>>,
    ) -> Result<u128, BadPayload> {
        let (start, count) = (to.len(), self.unsigned()?);
        let (mut has_names_of_before, mut marks, mut fingerprint) = (true, 0, 0u128);
        for number in 0..count as usize {
            if number % LABELS_PER_MARKS == 0 {
                marks = self.byte()?;
            }
            let like = before.clone().nth(number).map(|at| to[at]);
            let label = match (marks & ((1 << MARK_BITS) - 1), like) {
                (mark::SAME, Some(like)) => like,
                (mark::SAME_NAME, Some(like)) => LoggedLabel::new(like.name, self.text()?),
                (mark::OTHER, _) => {
                    has_names_of_before = false;
                    LoggedLabel::new(self.text()?, self.text()?)
                }
                _ => return Err(self.bad("a label like one that is not there")),
            };
            marks >>= MARK_BITS;
            let is_after_last =
                has_names_of_before || to[start..].last().is_none_or(|last| last.name < label.name);
            if label.value.is_empty() || !is_after_last {
                return Err(self.bad("labels out of order"));
            }
            fingerprint = fingerprint.wrapping_add(label.hash);
            to.push(label);
        }
        Ok(fingerprint)
    }

    /// The same, from a block of an older version.
    pub(super) fn series_in_full(
        &mut self,
        count: usize,
        to: &mut LoggedSeries<'a>,
    ) -> Result<(), BadPayload> {
        // What is before the first one may be of several series, whose names do not increase from one to the next.
        let (mut before, mut start) = (to.labels.len(), to.labels.len());
        for _ in 0..count {
            let id = self.id()?;
            let fingerprint = self.declared_labels(before..start, &mut to.labels)?;
            (before, start) = (start, to.labels.len());
            to.series.push(DeclaredRow { id, fingerprint, end: start });
        }
        Ok(())
    }

    /// Appends the labels of a series, and answers with its fingerprint. `before`: those of the series before it, of which
    /// most are the same; what was found out about these is not found out again.
    fn declared_labels(
        &mut self,
        before: Range<usize>,
        to: &mut Vec<LoggedLabel<'a>>,
    ) -> Result<u128, BadPayload> {
        let (start, count) = (to.len(), self.count()?);
        let (mut has_names_of_before, mut is_settled) = (true, true);
        for at in before.start..before.start + count {
            let like = before.contains(&at).then(|| to[at]);
            let label = self.label_like(like)?;
            has_names_of_before &= like.is_some_and(|like| ptr::eq(like.name, label.name));
            is_settled &= !label.value.is_empty();
            is_settled &= has_names_of_before || to.len() == start || to[to.len() - 1].name < label.name;
            to.push(label);
        }
        if !is_settled {
            let mut labels = to.split_off(start);
            labels.retain(|label| !label.value.is_empty());
            labels.sort_by_key(|label| label.name);
            if labels.windows(2).any(|two| two[0].name == two[1].name) {
                return Err(self.bad("duplicate label"));
            }
            to.append(&mut labels);
        }
        Ok(to[start..].iter().fold(0, |sum, label| sum.wrapping_add(label.hash)))
    }

    /// A label, and of one that is like another the very texts of that one.
    fn label_like(&mut self, like: Option<LoggedLabel<'a>>) -> Result<LoggedLabel<'a>, BadPayload> {
        let name = self.text_like(like.map(|like| like.name))?;
        let value = self.text_like(like.map(|like| like.value))?;
        let is_same = |like: &LoggedLabel<'_>| ptr::eq(like.name, name) && ptr::eq(like.value, value);
        Ok(like.filter(is_same).unwrap_or_else(|| LoggedLabel::new(name, value)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{begin, read_payload, tag};
    use super::*;
    use crate::model::Labels;

    proptest! {
        #[test]
        fn series_are_declared_as_their_labels_say(
            series in prop::collection::vec(prop::collection::vec(("[a-d]", "[x-z]?|é"), 0..5), 0..12),
            block_len in 1..12usize,
        ) {
            let mut payload = Vec::new();
            let ids: Vec<u32> = (7..7 + series.len() as u32).collect();
            for (ids, series) in ids.chunks(block_len).zip(series.chunks(block_len)) {
                begin(tag::SERIES_IN_FULL, series.len(), &mut payload);
                for (id, pairs) in ids.iter().zip(series) {
                    let pairs = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str()));
                    write_in_full(*id, pairs, &mut payload);
                }
            }
            // As whoever sorts them one by one.
            let plain: Result<Vec<Labels>, _> = series.iter().map(|pairs| Labels::from_pairs(pairs.iter().cloned())).collect();
            match (read_payload(&payload), plain) {
                (Ok(read), Ok(plain)) => {
                    let of = |s: DeclaredSeries<'_, '_>| (s.id, s.fingerprint, Labels::from_sorted(s.labels()));
                    let plain = (7..).zip(plain).map(|(id, labels)| (id, labels.fingerprint(), labels));
                    prop_assert_eq!(read.series.iter().map(of).collect::<Vec<_>>(), plain.collect::<Vec<_>>());
                }
                (Err(error), Err(_)) => prop_assert_eq!(error.what, "duplicate label"),
                (read, plain) => prop_assert!(false, "{:?} instead of {:?}", read, plain),
            }
        }
    }
}
