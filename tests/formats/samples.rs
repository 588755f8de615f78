//! Samples that need every codec, which segments of samples and of buckets are made of.

use std::sync::Arc;

use icecore::model::histogram::{self, ResetHint};
use icecore::model::{Exemplar, Histogram, Labels};

pub fn labels(name: &str, pairs: &[(&str, &str)]) -> Labels {
    Labels::from_pairs(pairs.iter().copied().chain([("__name__", name)])).unwrap()
}

/// Series that need every codec of version 1.0.
pub fn series() -> Vec<(Labels, Vec<f64>)> {
    let column = |value: fn(i32) -> f64| (0..200).map(value).collect::<Vec<f64>>();
    let mut series = vec![
        (labels("constant", &[]), column(|_| 0.1)),
        (labels("constant_integer", &[]), column(|_| 42.0)),
        (labels("counter", &[("job", "api")]), column(|i| f64::from(i * 7 + i % 3))),
        (labels("decimal", &[("job", "api")]), column(|i| f64::from(i * i % 1000) / 100.0)),
        (labels("multiple", &[("job", "db")]), column(|i| f64::from(i % 5) * 4096.0 + 1e9)),
        (labels("smooth", &[]), column(|i| (f64::from(i) / 10.0).sin())),
        (labels("steps", &[]), column(|i| f64::from(i / 50).sqrt())),
    ];
    let mut stale = column(|i| f64::from(i % 2));
    stale[199] = f64::from_bits(0x7ff0_0000_0000_0002);
    stale[7] = -0.0;
    series.push((labels("stale", &[("job", "ünï")]), stale));
    series.sort_by(|a, b| a.0.cmp(&b.0));
    series
}

pub fn times(labels: &Labels) -> Vec<i64> {
    let jitter = if labels.get("job") == "db" { 7 } else { 1 };
    let count = if labels.get("job") == "day" { 4200 } else { 200 };
    (0..count).map(|i| 1_700_000_000_000 + i * 15_000 + i * i % jitter).collect()
}

pub fn histogram(i: i64) -> Arc<Histogram> {
    Arc::new(Histogram {
        hint: ResetHint::NotReset,
        schema: 2,
        zero_threshold: 1e-128,
        zero_count: 1.0,
        count: 4.0 + i as f64,
        sum: 0.5 * i as f64,
        positive_spans: [(-3, 1), (2, 1)].map(|(offset, length)| histogram::Span { offset, length }).to_vec(),
        positive_buckets: vec![2.0, 1.0 + i as f64],
        is_integer: true,
        ..Histogram::default()
    })
}

pub fn exemplar() -> Exemplar {
    let labels = Labels::from_pairs([("trace_id", "0af7651916cd43dd8448eb211c80319c")]).unwrap();
    Exemplar { labels, value: 0.25, timestamp: 1_700_000_030_000 }
}
