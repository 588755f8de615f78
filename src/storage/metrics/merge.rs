//! Two runs of one series' samples become one, by time; where both have a timestamp the newer run's sample stays.

use std::sync::Arc;

use super::SampleBuffer;
use crate::model::{Histogram, Timestamp};

/// Merges newer float samples into the buffer. A timestamp that holds a histogram there becomes a float.
pub(in crate::storage) fn merge_floats(samples: &mut SampleBuffer, timestamps: &[Timestamp], values: &[f64]) {
    if timestamps.first().is_some_and(|first| Some(first) <= samples.float_timestamps.last()) {
        samples.forget();
    }
    merge_run(&mut samples.float_timestamps, &mut samples.floats, timestamps, values);
    drop_timestamps(&mut samples.histogram_timestamps, &mut samples.histograms, timestamps);
}

/// As [`merge_floats`], for histograms.
pub(in crate::storage) fn merge_histograms(
    samples: &mut SampleBuffer,
    timestamps: &[Timestamp],
    values: &[Arc<Histogram>],
) {
    merge_run(&mut samples.histogram_timestamps, &mut samples.histograms, timestamps, values);
    if !timestamps.is_empty() {
        samples.forget();
    }
    drop_timestamps(&mut samples.float_timestamps, &mut samples.floats, timestamps);
}

fn merge_run<V: Clone>(to_t: &mut Vec<Timestamp>, to_v: &mut Vec<V>, t: &[Timestamp], v: &[V]) {
    let (Some(&first), last) = (t.first(), to_t.last().copied()) else { return };
    if last.is_none_or(|last| last < first) {
        to_t.extend_from_slice(t);
        to_v.extend_from_slice(v);
        return;
    }
    let keep = to_t.partition_point(|&old| old < first);
    let (old_t, old_v) = (to_t.split_off(keep), to_v.split_off(keep));
    let (mut i, mut k) = (0, 0);
    while i < old_t.len() || k < t.len() {
        if k == t.len() || (i < old_t.len() && old_t[i] < t[k]) {
            to_t.push(old_t[i]);
            to_v.push(old_v[i].clone());
            i += 1;
            continue;
        }
        if i < old_t.len() && old_t[i] == t[k] {
            i += 1;
        }
        to_t.push(t[k]);
        to_v.push(v[k].clone());
        k += 1;
    }
}

/// Removes the entries whose timestamp is in `gone` (sorted).
fn drop_timestamps<V>(t: &mut Vec<Timestamp>, v: &mut Vec<V>, gone: &[Timestamp]) {
    let (Some(&first), Some(&last)) = (gone.first(), gone.last()) else { return };
    if t.is_empty() || t[0] > last || t[t.len() - 1] < first {
        return;
    }
    let is_gone: Vec<bool> = t.iter().map(|at| gone.binary_search(at).is_ok()).collect();
    if is_gone.contains(&true) {
        let mut keep = is_gone.iter();
        t.retain(|_| !keep.next().expect("as long as the timestamps"));
        let mut keep = is_gone.iter();
        v.retain(|_| !keep.next().expect("as long as the values"));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn merging_is_inserting_into_a_map(runs in prop::collection::vec(prop::collection::btree_map(0..40i64, 0..1000u32, 0..20), 1..6)) {
            let (mut samples, mut model) = (SampleBuffer::default(), BTreeMap::new());
            for run in runs {
                let (t, v): (Vec<_>, Vec<_>) = run.iter().map(|(&t, &v)| (t, f64::from(v))).unzip();
                merge_floats(&mut samples, &t, &v);
                model.extend(run);
            }
            prop_assert_eq!(samples.float_timestamps, model.keys().copied().collect::<Vec<_>>());
            prop_assert_eq!(samples.floats, model.values().map(|&v| f64::from(v)).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_timestamp_is_a_float_or_a_histogram_the_newer_one() {
        let mut samples = SampleBuffer::default();
        merge_floats(&mut samples, &[1, 2, 3], &[1.0, 2.0, 3.0]);
        merge_histograms(&mut samples, &[2, 4], &[Arc::default(), Arc::default()]);
        assert_eq!(
            (&samples.float_timestamps[..], &samples.histogram_timestamps[..]),
            (&[1, 3][..], &[2, 4][..])
        );
        merge_floats(&mut samples, &[4], &[9.0]);
        assert_eq!(
            (&samples.float_timestamps[..], &samples.histogram_timestamps[..]),
            (&[1, 3, 4][..], &[2][..])
        );
    }
}
