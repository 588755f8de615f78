//! What the manifest lists, and what is told of a directory that is in use.

use std::path::Path;

use icecore::model::{MatchOp, Matcher, TimeRange, time::DAY};
use icecore::storage::metrics::MetricBatch;
use icecore::storage::{Options, Store, TierOptions, inspect};

use super::samples::labels;
use super::store::{NOW, open, write_rows};
use super::{check_text, fixture, is_update};

/// Seals, a merge, a roll-up and the removal of the samples that were rolled up; two deletions, the first of them cleaned.
fn write_manifest(dir: &Path) -> Vec<u8> {
    let tier = |resolution_ms, days| TierOptions { resolution_ms, retention_ms: days * DAY, dir: None };
    let options = Options { shards: 1, tiers: vec![tier(0, 1), tier(60_000, 90)], ..Options::new(dir) };
    let store = Store::open(options, &prometheus::Registry::new(), NOW).unwrap();
    for _ in 0..2 {
        write_rows(&store);
        store.seal(NOW).unwrap();
    }
    store.compact(i64::MAX).unwrap();
    let mut batch = MetricBatch::new(1, store.series_epoch());
    batch.sample(store.resolve(&labels("later", &[]), NOW).unwrap(), NOW + 3 * DAY, 1.0);
    let (sender, receiver) = std::sync::mpsc::channel();
    store.append(batch, Box::new(move |result| sender.send(result).unwrap())).unwrap();
    receiver.recv().unwrap().unwrap();
    store.seal(NOW).unwrap();
    store.tidy(NOW + 3 * DAY);
    let matcher = |name: &str, op, value: &str| Matcher::new(name, op, value).unwrap();
    let later = vec![matcher("__name__", MatchOp::Equal, "later")];
    store.delete_series(vec![later], TimeRange::ALL, NOW).unwrap();
    store.clean_tombstones().unwrap();
    let selectors = [("job", MatchOp::Regex, "a|b.*"), ("k8s.pod", MatchOp::NotEqual, "")];
    let selectors = selectors.map(|(name, op, value)| vec![matcher(name, op, value)]);
    store.delete_series(selectors.to_vec(), TimeRange::closed(NOW - DAY, NOW), NOW).unwrap();
    std::fs::read(dir.join("MANIFEST")).unwrap()
}

#[test]
fn manifests_of_all_versions_list_what_they_listed() {
    let (dir, again) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let written = write_manifest(dir.path());
    if is_update() {
        std::fs::write(fixture("v3_manifest"), written).unwrap();
    }
    check_text("v1_manifest", "v1_manifest.txt");
    check_text("v2_manifest", "v2_manifest.txt");
    check_text("v3_manifest", "v3_manifest.txt");
    std::fs::copy(fixture("v1_manifest"), again.path().join("MANIFEST")).unwrap();
    open(again.path());
    for newer in ["v2_manifest", "v3_manifest"] {
        std::fs::copy(fixture(newer), again.path().join("MANIFEST")).unwrap();
        let refused =
            Store::open(Options::new(again.path()), &prometheus::Registry::new(), NOW).err().unwrap();
        assert!(refused.to_string().contains("holds none of the 1 segments"), "{refused}");
    }
}

#[test]
fn a_directory_in_use_can_be_inspected() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    write_rows(&store);
    store.seal(NOW).unwrap();
    write_rows(&store);
    let show = |path: &Path| {
        let mut text = Vec::new();
        inspect::path(path, &mut text).unwrap();
        String::from_utf8(text).unwrap()
    };
    let text = show(dir.path());
    assert!(
        text.contains("segments: 1\n") && text.contains("wal/000000000002: to replay, files: 1"),
        "{text}"
    );
    let text = show(&dir.path().join("wal/000000000002"));
    assert!(text.contains("file 0 of generation 2") && text.contains("series 0 is"), "{text}");
    assert!(show(&dir.path().join("hot/metrics-000000000001.seg")).contains("3 series"));
}
