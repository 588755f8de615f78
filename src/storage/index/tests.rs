//! The index against a plain filter.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;

use super::{Index, IndexWriter, LabelRanks, OutOfOrder, RankedIndexWriter};
use crate::model::{Labels, Lookout, MatchOp, Matcher, StopSign};
use crate::storage::fs::Mapped;
use crate::storage::segment::{Segment, SegmentMeta, SegmentWriter};

fn index_of(series: &BTreeSet<Labels>) -> Index {
    let (file, _) = file_of(series);
    Index::new(Arc::new(Segment::open(Arc::new(Mapped::Heap(file)), "a.seg").unwrap()))
}

/// The file, and the bytes of its index.
fn file_of(series: &BTreeSet<Labels>) -> (Vec<u8>, usize) {
    let mut index = IndexWriter::default();
    series.iter().for_each(|labels| index.add(labels));
    let mut writer = SegmentWriter::new(Vec::new()).unwrap();
    index.finish(&mut writer).unwrap();
    let meta = SegmentMeta { series_count: series.len() as u64, ..SegmentMeta::default() };
    let file = writer.finish(&meta).unwrap();
    let len = file.len();
    (file, len)
}

fn filter(series: &BTreeSet<Labels>, matchers: &[Matcher]) -> Vec<u32> {
    let passes = |labels: &Labels| matchers.iter().all(|m| m.matches(labels.get(&m.name)));
    series.iter().enumerate().filter(|(_, labels)| passes(labels)).map(|(at, _)| at as u32).collect()
}

fn check(series: &BTreeSet<Labels>, matchers: &[Matcher]) {
    let index = index_of(series);
    index.verify().unwrap();
    let never = StopSign::never();
    let lookout = &Lookout::new(&never);
    let found = index.select(matchers, lookout).unwrap();
    assert_eq!(found.iter().collect::<Vec<_>>(), filter(series, matchers), "{matchers:?}");
    let all: Vec<&Labels> = series.iter().collect();
    let names: BTreeSet<&str> = all.iter().flat_map(|l| l.iter().map(|(name, _)| name)).collect();
    let values = |series: &[&Labels], name: &str| -> Vec<String> {
        let values: BTreeSet<&str> = series.iter().map(|l| l.get(name)).filter(|v| !v.is_empty()).collect();
        values.into_iter().map(str::to_owned).collect()
    };
    // Before and after labels are read, which keeps the values.
    for name in &names {
        assert_eq!(index.label_values(name, lookout).unwrap(), values(&all, name));
    }
    let mut reader = index.labels_reader();
    for (ordinal, labels) in series.iter().enumerate() {
        assert_eq!(&index.labels(ordinal as u32).unwrap(), labels);
        assert_eq!(reader.fingerprint(ordinal as u32).unwrap(), labels.fingerprint());
        assert_eq!(&reader.labels(ordinal as u32).unwrap(), labels);
    }
    assert_eq!(index.label_names().unwrap(), names.iter().copied().collect::<Vec<_>>());
    let chosen: Vec<&Labels> = found.iter().map(|o| all[o as usize]).collect();
    let names_of: BTreeSet<&str> = chosen.iter().flat_map(|l| l.iter().map(|(name, _)| name)).collect();
    let names_of: Vec<_> = names_of.into_iter().collect();
    assert_eq!(index.label_names_of(&found, lookout).unwrap(), names_of);
    let others = (0..series.len() as u32).filter(|ordinal| !found.contains(*ordinal)).collect();
    assert_eq!(index.label_names_without(&others, lookout).unwrap(), names_of);
    for name in names {
        assert_eq!(index.label_values(name, lookout).unwrap(), values(&all, name));
        assert_eq!(index.label_values_of(name, &found, lookout).unwrap(), values(&chosen, name));
        assert_eq!(index.label_values_without(name, &others, lookout).unwrap(), values(&chosen, name));
    }
}

/// Those of the series that are kept, as the index of all of them by ranks has them.
fn check_ranks(sets: &[BTreeSet<Labels>], kept: impl Fn(&Labels) -> bool) {
    let indexes: Vec<Index> = sets.iter().map(index_of).collect();
    let (ranks, mut readers) = LabelRanks::of(&indexes.iter().collect::<Vec<_>>()).unwrap();
    let (mut by_labels, mut ranked) = (BTreeMap::new(), Vec::new());
    for (series, reader) in sets.iter().zip(&mut readers) {
        for (labels, ordinal) in series.iter().zip(0..) {
            reader.read(ordinal, &mut ranked).unwrap();
            assert_eq!(by_labels.entry(labels).or_insert_with(|| ranked.clone()), &ranked);
            labels.iter().for_each(|(name, value)| assert_eq!(ranks.value_of(name, &ranked), value));
            assert_eq!(ranks.value_of("none", &ranked), "");
        }
    }
    assert!(by_labels.values().is_sorted_by(|a, b| a < b), "ranks compare as labels do");
    let mut index = RankedIndexWriter::default();
    let kept = by_labels.into_iter().filter(|(labels, _)| kept(labels));
    let kept: BTreeSet<Labels> = kept
        .map(|(labels, ranked)| {
            index.add(&ranked).unwrap();
            assert_eq!(index.add(&ranked), Err(OutOfOrder));
            labels.clone()
        })
        .collect();
    assert_eq!(index.series_count(), kept.len());
    let mut writer = SegmentWriter::new(Vec::new()).unwrap();
    index.finish(&ranks, &mut writer).unwrap();
    let meta = SegmentMeta { series_count: kept.len() as u64, ..SegmentMeta::default() };
    assert!(writer.finish(&meta).unwrap() == file_of(&kept).0, "another index than that of the labels");
}

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![8 => "[ab]{0,3}", 2 => "node-[0-9]{1,2}", 1 => "[é√🦀x]{0,3}"]
}

fn any_series() -> impl Strategy<Value = BTreeSet<Labels>> {
    let labels = prop::collection::btree_map("[a-d]|__name__", any_text(), 0..5)
        .prop_map(|pairs| Labels::from_pairs(pairs).unwrap());
    prop::collection::btree_set(labels, 0..120)
}

fn any_matcher() -> impl Strategy<Value = Matcher> {
    let op = prop::sample::select(vec![MatchOp::Equal, MatchOp::NotEqual, MatchOp::Regex, MatchOp::NotRegex]);
    let pattern = prop_oneof![
        4 => any_text(),
        1 => Just(".*".to_owned()), 1 => Just(".+".to_owned()), 1 => Just("a|ab|".to_owned()),
        1 => Just("node-1.*".to_owned()), 1 => Just("(a|b)+".to_owned()), 1 => Just(".*b".to_owned()),
        1 => Just("b?a?".to_owned()), 1 => Just("a.+|node-2.".to_owned()),
    ];
    ("[a-e]|__name__", op, pattern).prop_map(|(name, op, value)| Matcher::new(name, op, value).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn series_of_several_indexes_are_one_index(sets in prop::collection::vec(any_series(), 0..5), left_out in "[ab]{1}") {
        check_ranks(&sets, |labels| labels.iter().all(|(_, value)| *value != *left_out));
    }

    #[test]
    fn what_was_found_before_is_found_again(
        series in any_series(),
        pool in prop::collection::vec(any_matcher(), 1..4),
        asked in prop::collection::vec(prop::collection::vec(any::<prop::sample::Index>(), 1..3), 1..20),
    ) {
        let index = index_of(&series);
        for which in asked {
            let matchers: Vec<Matcher> = which.iter().map(|at| pool[at.index(pool.len())].clone()).collect();
            let found = index.select(&matchers, &Lookout::new(&StopSign::never())).unwrap();
            prop_assert_eq!(found.iter().collect::<Vec<_>>(), filter(&series, &matchers));
        }
    }

    #[test]
    fn any_selection_is_what_a_plain_filter_finds(
        series in any_series(),
        matchers in prop::collection::vec(any_matcher(), 0..4),
    ) {
        check(&series, &matchers);
    }
}

fn node_exporter(hosts: usize) -> BTreeSet<Labels> {
    let mut series = BTreeSet::new();
    for host in 0..hosts {
        let instance = format!("node-{host:04}.example.net:9100");
        let common = [("instance", instance.as_str()), ("job", "node"), ("cluster", "eu-west-1")];
        let mut add = |name: &str, more: &[(&str, &str)]| {
            let own = [("__name__", name)];
            let pairs = own.iter().chain(&common).chain(more).copied();
            series.insert(Labels::from_pairs(pairs).unwrap());
        };
        for cpu in 0..8 {
            for mode in ["idle", "iowait", "irq", "nice", "softirq", "steal", "system", "user"] {
                add("node_cpu_seconds_total", &[("cpu", &cpu.to_string()), ("mode", mode)]);
            }
        }
        for metric in 0..300 {
            add(&format!("node_memory_gauge_{metric}_bytes"), &[]);
        }
        for device in ["eth0", "lo", "docker0", "sda", "sdb", "nvme0n1"] {
            for metric in 0..20 {
                add(&format!("node_device_counter_{metric}_total"), &[("device", device)]);
            }
        }
    }
    series
}

#[test]
fn series_of_node_exporter_take_few_bytes_each() {
    let series = node_exporter(20);
    let (_, len) = file_of(&series);
    let per_series = len as f64 / series.len() as f64;
    println!("{} series, {per_series:.2} B each", series.len());
    assert!(per_series < 6.0, "{per_series} bytes a series");
}

#[test]
fn what_was_given_up_is_found_anew() {
    let series = node_exporter(20);
    let index = index_of(&series);
    for regex in ["node_memory_gauge_.*|node_cpu.*", "node_memory_gauge_1_bytes|node_memory_gauge_2_bytes"] {
        let matchers = [Matcher::new("__name__", MatchOp::Regex, regex).unwrap()];
        let (up, never) = (StopSign::new(|| true), StopSign::never());
        let lookout = Lookout::new(&up);
        index.select(&matchers, &lookout).unwrap();
        assert!(lookout.has_given_up());
        let found = index.select(&matchers, &Lookout::new(&never)).unwrap();
        assert_eq!(found.iter().collect::<Vec<_>>(), filter(&series, &matchers));
    }
}

#[test]
fn large_dictionaries_are_searched_and_not_kept() {
    let name = |i: usize| {
        Labels::from_pairs([
            ("__name__", "up"),
            ("id", &format!("{:08x}", i * 7919)),
            ("odd", if i % 2 == 1 { "y" } else { "" }),
        ])
        .unwrap()
    };
    let series: BTreeSet<Labels> = (0..20_000).map(name).collect();
    let index = index_of(&series);
    for matchers in [
        vec![Matcher::new("id", MatchOp::Regex, "0000.*").unwrap()],
        vec![Matcher::new("id", MatchOp::Regex, ".*ff").unwrap(), Matcher::equal("odd", "y")],
        vec![Matcher::equal("id", "00001eef"), Matcher::new("id", MatchOp::NotRegex, "x.*|.+y").unwrap()],
        vec![
            Matcher::new("odd", MatchOp::NotEqual, "y").unwrap(),
            Matcher::new("id", MatchOp::Regex, ".+").unwrap(),
        ],
    ] {
        let found = index.select(&matchers, &Lookout::new(&StopSign::never())).unwrap();
        assert_eq!(found.iter().collect::<Vec<_>>(), filter(&series, &matchers), "{matchers:?}");
    }
    for (ordinal, labels) in series.iter().enumerate().step_by(997) {
        assert_eq!(&index.labels(ordinal as u32).unwrap(), labels);
        assert_eq!(index.labels_reader().fingerprint(ordinal as u32).unwrap(), labels.fingerprint());
    }
}
