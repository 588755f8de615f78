//! A family in Prometheus's text format, version 0.0.4.

use super::format::{Escaping, escaped, is_plain};
use super::{Family, Kind, Page, classic_buckets, shown_labels};
use crate::api::error::ApiError;
use crate::api::number::push_shortest;
use crate::model::Histogram;
use crate::query::{SampleValue, VectorSample};

pub fn push_family(page: &mut Page<'_>, family: &Family<'_>, escaping: Escaping) -> Result<(), ApiError> {
    let mut text = Lines { text: String::new(), name: escaped(family.name, escaping), escaping };
    text.text.push_str("# TYPE ");
    push_name(&mut text.text, &text.name);
    text.text.push_str(match family.kind {
        Kind::Untyped => " untyped\n",
        // The format has no gauges among its histograms.
        Kind::Histogram | Kind::GaugeHistogram => " histogram\n",
    });
    for sample in family.samples {
        match &sample.value {
            SampleValue::Float(value) => text.push_line(sample, "", None, *value),
            SampleValue::Histogram(histogram) => text.push_histogram(sample, histogram),
        }
        page.bytes.extend_from_slice(text.text.as_bytes());
        page.pay()?;
        text.text.clear();
    }
    Ok(())
}

/// Those of one sample.
struct Lines {
    text: String,
    /// The family's, escaped.
    name: String,
    escaping: Escaping,
}

impl Lines {
    fn push_histogram(&mut self, sample: &VectorSample, histogram: &Histogram) {
        for (bound, count) in classic_buckets(histogram) {
            self.push_line(sample, "_bucket", Some(bound), count);
        }
        self.push_line(sample, "_bucket", Some(f64::INFINITY), histogram.count);
        self.push_line(sample, "_sum", None, histogram.sum);
        self.push_line(sample, "_count", None, histogram.count);
    }

    /// A name that is not plain stands in the braces.
    fn push_line(&mut self, sample: &VectorSample, suffix: &str, le: Option<f64>, value: f64) {
        let name = format!("{}{suffix}", self.name);
        let mut separator = '{';
        if !is_plain(&name) {
            self.text.push(std::mem::replace(&mut separator, ','));
        }
        push_name(&mut self.text, &name);
        for (label, value) in shown_labels(&sample.labels) {
            self.text.push(std::mem::replace(&mut separator, ','));
            push_name(&mut self.text, &escaped(label, self.escaping));
            self.text.push('=');
            push_quoted(&mut self.text, value);
        }
        if let Some(bound) = le {
            self.text.push_str(",le=\"");
            push_shortest(&mut self.text, bound);
            self.text.push('"');
        }
        self.text.push_str("} ");
        push_shortest(&mut self.text, value);
        self.text.push_str(&format!(" {}\n", sample.timestamp));
    }
}

fn push_name(to: &mut String, name: &str) {
    if is_plain(name) { to.push_str(name) } else { push_quoted(to, name) }
}

fn push_quoted(to: &mut String, text: &str) {
    to.push('"');
    for c in text.chars() {
        match c {
            '\\' => to.push_str("\\\\"),
            '\n' => to.push_str("\\n"),
            '"' => to.push_str("\\\""),
            c => to.push(c),
        }
    }
    to.push('"');
}
