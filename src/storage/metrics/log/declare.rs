//! Declares series. Most labels of a series are those of the one before it, in the same places: what is written of these is copied,
//! and their texts are not looked at.

use super::super::packed_labels::PackedLabels;
use super::super::registry::Reading;
use super::{begin, tag, write_text};
use crate::codec::varint::write_u64;

/// Appends a block that declares these series, one at least; all of them are registered.
pub(in crate::storage::metrics) fn declare_series(ids: &[u32], registry: &Reading<'_>, to: &mut Vec<u8>) {
    begin(tag::SERIES, ids.len(), to);
    let (mut before, mut written) = (Written::default(), Written::default());
    for &id in ids {
        written.labels = registry.packed_labels(id).expect("a row refers to a registered series");
        write_u64(to, id.into());
        write_u64(to, written.labels.count() as u64);
        written.put(&before, |symbol| registry.text(symbol), to);
        std::mem::swap(&mut before, &mut written);
    }
}

/// The labels of a series in a payload.
#[derive(Default)]
struct Written<'r> {
    /// The symbols of each, which are the same for the same texts.
    labels: PackedLabels<'r>,
    /// Where the first one begins, and where each ends.
    ends: Vec<usize>,
}

impl Written<'_> {
    fn put<'t>(&mut self, before: &Written<'_>, text: impl Fn(u32) -> &'t str, to: &mut Vec<u8>) {
        self.ends.clear();
        self.ends.push(to.len());
        let (mut rest, mut others) = (self.labels, before.labels);
        loop {
            // Often a name is all in which two differ, and here the rest is seen to be the same without a look at each.
            if rest == others {
                return self.copy(before, before.ends.len(), to);
            }
            let first = self.ends.len() - 1;
            let mut same = 0;
            let differs = loop {
                match rest.take_first() {
                    None => return self.copy(before, first + same + 1, to),
                    mine if mine == others.take_first() => same += 1,
                    Some(differs) => break differs,
                }
            };
            self.copy(before, first + same + 1, to);
            write_text(text(differs.0), to);
            write_text(text(differs.1), to);
            self.ends.push(to.len());
        }
    }

    /// Puts what the series before has in the next places, up to the end of this number.
    fn copy(&mut self, before: &Written<'_>, until: usize, to: &mut Vec<u8>) {
        let Some(ends @ &[from, .., until]) = before.ends.get(self.ends.len() - 1..until) else { return };
        let shift = to.len() - from;
        to.extend_from_within(from..until);
        self.ends.extend(ends[1..].iter().map(|end| end + shift));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::write_series;
    use super::*;
    use crate::model::Labels;
    use crate::storage::metrics::registry::Registry;

    proptest! {
        #[test]
        fn series_are_declared_as_one_by_one(
            series in prop::collection::vec(prop::collection::btree_map("[a-d]", "[x-z]|é", 0..5), 1..12),
            picks in prop::collection::vec(any::<prop::sample::Index>(), 1..30),
            head in prop::collection::vec(any::<u8>(), 0..3),
        ) {
            let registry = Registry::default();
            let all: Vec<Labels> = series.iter().map(|pairs| Labels::from_pairs(pairs.iter()).unwrap()).collect();
            let id = |labels: &Labels| registry.find_or_insert(labels, labels.fingerprint(), 99).unwrap().0;
            let ids: Vec<u32> = all.iter().map(id).collect();
            let picks: Vec<usize> = picks.into_iter().map(|pick| pick.index(all.len())).collect();
            let (mut found, mut expected) = (head.clone(), head);
            declare_series(&picks.iter().map(|&at| ids[at]).collect::<Vec<_>>(), &registry.reading(), &mut found);
            begin(tag::SERIES, picks.len(), &mut expected);
            for at in picks {
                write_series(ids[at], all[at].iter(), &mut expected);
            }
            prop_assert_eq!(found, expected);
        }
    }
}
