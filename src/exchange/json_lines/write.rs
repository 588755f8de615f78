//! Lines as [`super::Reader`] reads them.

use std::fmt::Write;

use super::histogram::WireHistogram;
use super::value;
use crate::model::{Histogram, Labels, Timestamp};

/// Of one line, as its writer should keep it: some ten kilobytes.
pub const POINTS_MAX: usize = 1_000;

pub fn push_floats(to: &mut String, labels: &Labels, floats: &[(Timestamp, f64)]) {
    push_metric(to, labels);
    to.push_str(",\"values\":[");
    push_list(to, floats, |to, (_, value)| value::push(to, *value));
    push_timestamps(to, floats.iter().map(|(timestamp, _)| *timestamp));
}

pub fn push_histograms(to: &mut String, labels: &Labels, histograms: &[(Timestamp, &Histogram)]) {
    push_metric(to, labels);
    to.push_str(",\"histograms\":[");
    push_list(to, histograms, |to, (_, histogram)| {
        to.push_str(
            &serde_json::to_string(&WireHistogram::write(histogram)).expect("it has texts and numbers alone"),
        );
    });
    push_timestamps(to, histograms.iter().map(|(timestamp, _)| *timestamp));
}

fn push_metric(to: &mut String, labels: &Labels) {
    to.push_str("{\"metric\":{");
    push_list(to, &labels.iter().collect::<Vec<_>>(), |to, (name, value)| {
        let quoted = |text: &str| serde_json::to_string(text).expect("a text is JSON");
        write!(to, "{}:{}", quoted(name), quoted(value)).expect("writing to a string cannot fail");
    });
    to.push('}');
}

fn push_timestamps(to: &mut String, timestamps: impl Iterator<Item = Timestamp>) {
    to.push_str("],\"timestamps\":[");
    push_list(to, &timestamps.collect::<Vec<_>>(), |to, timestamp| {
        write!(to, "{timestamp}").expect("writing to a string cannot fail");
    });
    to.push_str("]}\n");
}

fn push_list<T>(to: &mut String, items: &[T], push: impl Fn(&mut String, &T)) {
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            to.push(',');
        }
        push(to, item);
    }
}
