//! Declares series. Most labels of a series are those of the one before it, in the same places: of these nothing is written but that.

use super::super::packed_labels::PackedLabels;
use super::super::registry::Reading;
use super::{LABELS_PER_MARKS, MARK_BITS, begin, mark, tag, write_text};
use crate::codec::varint::{write_i64, write_u64};

/// Appends a block that declares these series, one at least; all of them are registered.
pub(in crate::storage::metrics) fn declare_series(ids: &[u32], registry: &Reading<'_>, to: &mut Vec<u8>) {
    begin(tag::SERIES, ids.len(), to);
    let (mut id_before, mut before) = (0, PackedLabels::default());
    for &id in ids {
        let labels = registry.packed_labels(id).expect("a row refers to a registered series");
        write_i64(to, i64::from(id) - i64::from(id_before));
        write_labels(labels, before, |symbol| registry.text(symbol), to);
        (id_before, before) = (id, labels);
    }
}

fn write_labels<'t>(
    mut labels: PackedLabels<'_>,
    mut before: PackedLabels<'_>,
    text: impl Fn(u32) -> &'t str,
    to: &mut Vec<u8>,
) {
    let (count, mut marks_at) = (labels.count(), to.len());
    write_u64(to, count as u64);
    for number in 0..count {
        if number % LABELS_PER_MARKS == 0 {
            marks_at = to.len();
            // Often a name is all in which two differ, and the rest is seen to be the same without a look at each.
            if labels == before {
                const { assert!(mark::SAME == 0) };
                to.resize(marks_at + (count - number).div_ceil(LABELS_PER_MARKS), 0);
                return;
            }
            to.push(0);
        }
        // The same texts have the same symbols.
        let (name, value) = labels.take_first().expect("they were counted");
        let mark = match before.take_first() {
            Some(same) if same == (name, value) => mark::SAME,
            Some((same, _)) if same == name => mark::SAME_NAME,
            _ => mark::OTHER,
        };
        to[marks_at] |= mark << (number % LABELS_PER_MARKS * MARK_BITS);
        if mark == mark::OTHER {
            write_text(text(name), to);
        }
        if mark != mark::SAME {
            write_text(text(value), to);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{DeclaredSeries, read_payload};
    use super::*;
    use crate::model::Labels;
    use crate::storage::metrics::registry::Registry;

    fn any_labels() -> impl Strategy<Value = Labels> {
        // More than one byte's worth of marks.
        prop::collection::btree_map("[a-g]", "[x-z]|é", 0..7)
            .prop_map(|pairs| Labels::from_pairs(pairs).expect("a map holds each name once"))
    }

    /// The payload that declares these series in blocks of this many, and what it declares.
    fn declared(series: &[Labels], block_len: usize) -> (Vec<u8>, Vec<(u32, Labels)>) {
        let registry = Registry::default();
        let id = |labels: &Labels| registry.find_or_insert(labels, labels.fingerprint(), 99).unwrap().0;
        let ids: Vec<u32> = series.iter().map(id).collect();
        let mut payload = Vec::new();
        for ids in ids.chunks(block_len) {
            declare_series(ids, &registry.reading(), &mut payload);
        }
        (payload, ids.into_iter().zip(series.iter().cloned()).collect())
    }

    proptest! {
        #[test]
        fn declared_series_are_read_back(
            series in prop::collection::vec(any_labels(), 1..30),
            block_len in 1..30usize,
        ) {
            let (payload, declared) = declared(&series, block_len);
            let read = read_payload(&payload).unwrap();
            let of = |series: DeclaredSeries<'_, '_>| {
                let labels = Labels::from_sorted(series.labels());
                assert_eq!(series.fingerprint, labels.fingerprint());
                (series.id, labels)
            };
            prop_assert_eq!(read.series.iter().map(of).collect::<Vec<_>>(), declared);
        }

        #[test]
        fn a_damaged_declaration_is_refused_or_declares_labels(
            series in prop::collection::vec(any_labels(), 1..10),
            at in any::<prop::sample::Index>(),
            byte in any::<u8>(),
        ) {
            let (mut payload, _) = declared(&series, 10);
            *at.get_mut(&mut payload) = byte;
            if let Ok(read) = read_payload(&payload) {
                for series in read.series.iter() {
                    prop_assert!(series.labels().is_sorted_by(|a, b| a.0 < b.0));
                    prop_assert!(series.labels().all(|(_, value)| !value.is_empty()));
                }
            }
        }
    }

    #[test]
    fn marks_ask_for_nothing_that_is_not_there() {
        let block = |labels: &[u8]| [&[tag::SERIES, 1, 0][..], labels].concat();
        let what =
            |labels: &[u8]| read_payload(&block(labels)).map(|_| "").unwrap_or_else(|error| error.what);
        assert_eq!(what(&[1, mark::OTHER, 1, b'a', 1, b'b']), "");
        for mark in [mark::SAME, mark::SAME_NAME, 3] {
            assert_eq!(what(&[1, mark, 1, b'a', 1, b'b']), "a label like one that is not there");
        }
        let two = mark::OTHER | mark::OTHER << MARK_BITS;
        assert_eq!(what(&[2, two, 1, b'b', 1, b'x', 1, b'a', 1, b'x']), "labels out of order");
        assert_eq!(what(&[1, mark::OTHER, 1, b'a', 0]), "labels out of order");
        assert_eq!(what(&[200, 1, 0]), "a label like one that is not there");
        assert_eq!(what(&[1]), "cut short");
    }

    #[test]
    fn a_series_like_the_one_before_takes_a_few_bytes() {
        let tags: Vec<_> = (0..10).map(|n| (format!("tag_{n}"), format!("value of {n}"))).collect();
        let of = |name: &str| {
            let pairs = tags.iter().map(|(name, value)| (name.as_str(), value.as_str()));
            Labels::from_pairs(pairs.chain([("__name__", name)])).unwrap()
        };
        let (one, two) = (declared(&[of("m1")], 9).0, declared(&[of("m1"), of("m2")], 9).0);
        let (id, label_count, marks, name) = (1, 1, 3, 3);
        assert_eq!(two.len() - one.len(), id + label_count + marks + name);
    }
}
