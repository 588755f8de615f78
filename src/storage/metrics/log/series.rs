//! Series that a payload declares, read in place. Most labels of a series are those of the one before it: they are kept once, and what
//! was found out about them is not found out again.

use std::ops::Range;
use std::ptr;

use super::reader::Reader;
use super::{BadPayload, LABELS_PER_MARKS, MARK_BITS, mark};
use crate::model::labels::label_hash;

/// The series that a payload declares, their labels where they stand in it.
#[derive(Debug, Default)]
pub(in crate::storage) struct LoggedSeries<'p> {
    /// Those that stand in the payload.
    labels: Vec<LoggedLabel<'p>>,
    /// By their places in `labels`, those of each series.
    of_series: Vec<u32>,
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
    places: &'s [u32],
}

impl<'p> LoggedSeries<'p> {
    pub fn iter(&self) -> impl Iterator<Item = DeclaredSeries<'_, 'p>> {
        self.series.iter().scan(0, |start, &DeclaredRow { id, fingerprint, end }| {
            let places = &self.of_series[std::mem::replace(start, end)..end];
            Some(DeclaredSeries { id, fingerprint, labels: &self.labels, places })
        })
    }

    /// A label of a series, by where it stands among those of all.
    fn label(&self, at: usize) -> LoggedLabel<'p> {
        self.labels[self.of_series[at] as usize]
    }

    /// Adds a label to the series that is being read.
    fn push(&mut self, label: LoggedLabel<'p>) {
        self.of_series.push(self.labels.len() as u32);
        self.labels.push(label);
    }

    /// The same, of one that another series has.
    fn push_again(&mut self, at: usize) {
        self.of_series.push(self.of_series[at]);
    }

    fn name_before(&self, start: usize) -> Option<&'p str> {
        (self.of_series.len() > start).then(|| self.label(self.of_series.len() - 1).name)
    }

    /// Ends a series whose labels begin there.
    fn end(&mut self, id: u32, start: usize) {
        let end = self.of_series.len();
        let hashes = (start..end).map(|at| self.label(at).hash);
        let fingerprint = hashes.fold(0u128, u128::wrapping_add);
        self.series.push(DeclaredRow { id, fingerprint, end });
    }
}

impl DeclaredSeries<'_, '_> {
    pub fn labels(&self) -> impl Iterator<Item = (&str, &str)> + Clone {
        let labels = self.places.iter().map(|&place| &self.labels[place as usize]);
        labels.map(|label| (label.name, label.value))
    }
}

impl<'a> Reader<'a> {
    pub(super) fn series(&mut self, count: usize, to: &mut LoggedSeries<'a>) -> Result<(), BadPayload> {
        let (mut id, mut before) = (0, 0..0);
        for _ in 0..count {
            id = self.id_from(id)?;
            let start = to.of_series.len();
            self.marked_labels(before, to)?;
            before = start..to.of_series.len();
            to.end(id, start);
        }
        Ok(())
    }

    /// Reads the labels of a series. `before`: those of the series before it.
    fn marked_labels(&mut self, before: Range<usize>, to: &mut LoggedSeries<'a>) -> Result<(), BadPayload> {
        let (start, count) = (to.of_series.len(), self.unsigned()?);
        let (mut has_names_of_before, mut marks) = (true, 0);
        for number in 0..count as usize {
            if number % LABELS_PER_MARKS == 0 {
                marks = self.byte()?;
            }
            let like = before.clone().nth(number);
            let mark = marks & ((1 << MARK_BITS) - 1);
            marks >>= MARK_BITS;
            let label = match (mark, like) {
                (mark::SAME, Some(at)) if has_names_of_before => {
                    to.push_again(at);
                    continue;
                }
                (mark::SAME, Some(at)) => to.label(at),
                (mark::SAME_NAME, Some(at)) => LoggedLabel::new(to.label(at).name, self.text()?),
                (mark::OTHER, _) => {
                    has_names_of_before = false;
                    LoggedLabel::new(self.text()?, self.text()?)
                }
                _ => return Err(self.bad("a label like one that is not there")),
            };
            let is_in_order =
                has_names_of_before || to.name_before(start).is_none_or(|before| before < label.name);
            if label.value.is_empty() || !is_in_order {
                return Err(self.bad("labels out of order"));
            }
            match (mark, like) {
                (mark::SAME, Some(at)) => to.push_again(at),
                _ => to.push(label),
            }
        }
        Ok(())
    }

    /// The same, from a block of an older version.
    pub(super) fn series_in_full(
        &mut self,
        count: usize,
        to: &mut LoggedSeries<'a>,
    ) -> Result<(), BadPayload> {
        // What is before the first one may be of several series, whose names do not increase from one to the next.
        let (mut before, mut start) = (to.of_series.len(), to.of_series.len());
        for _ in 0..count {
            let id = self.id()?;
            self.labels_in_full(before..start, to)?;
            to.end(id, start);
            (before, start) = (start, to.of_series.len());
        }
        Ok(())
    }

    /// Reads the labels of a series. `before`: those of the series before it, of which most are the same.
    fn labels_in_full(&mut self, before: Range<usize>, to: &mut LoggedSeries<'a>) -> Result<(), BadPayload> {
        let (start, count) = (to.of_series.len(), self.count()?);
        let (mut has_names_of_before, mut is_settled) = (true, true);
        for at in before.start..before.start + count {
            let like = before.contains(&at).then(|| to.label(at));
            let name = self.text_like(like.map(|like| like.name))?;
            let value = self.text_like(like.map(|like| like.value))?;
            has_names_of_before &= like.is_some_and(|like| ptr::eq(like.name, name));
            is_settled &= !value.is_empty();
            is_settled &= has_names_of_before || to.name_before(start).is_none_or(|before| before < name);
            match like {
                Some(like) if ptr::eq(like.name, name) && ptr::eq(like.value, value) => to.push_again(at),
                _ => to.push(LoggedLabel::new(name, value)),
            }
        }
        if !is_settled {
            let mut places = to.of_series.split_off(start);
            let label = |place: &u32| &to.labels[*place as usize];
            places.retain(|place| !label(place).value.is_empty());
            places.sort_by_key(|place| label(place).name);
            if places.windows(2).any(|two| label(&two[0]).name == label(&two[1]).name) {
                return Err(self.bad("duplicate label"));
            }
            to.of_series.append(&mut places);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{begin, read_payload, tag, write_in_full};
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
