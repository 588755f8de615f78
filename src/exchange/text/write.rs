//! OpenMetrics as [`super::Reader`] reads it.

use std::fmt::Write;

use crate::exchange::number::push_finite;
use crate::model::labels::{METRIC_NAME, is_label_name, is_metric_name};
use crate::model::{Labels, MetricMetadata, MetricType, Timestamp};

pub const END: &str = "# EOF\n";

/// The lines that begin a family. The unit has its place only where the name ends with it.
pub fn push_family(to: &mut String, name: &str, metadata: &MetricMetadata) {
    let MetricMetadata { metric_type, help, unit } = metadata;
    // At the end of a line some readers, ours too, take it for a part of that end.
    let help = help.trim_end_matches('\r');
    let mut line = |keyword: &str, text: &str| {
        to.push_str(keyword);
        push_name(to, name);
        writeln!(to, " {text}").expect("writing to a string cannot fail");
    };
    line("# TYPE ", metric_type.as_str());
    if !unit.is_empty() && name.strip_suffix(unit.as_str()).is_some_and(|rest| rest.ends_with('_')) {
        line("# UNIT ", unit);
    }
    if !help.is_empty() {
        line("# HELP ", &escaped(help));
    }
}

/// The family of a metric by its name in a store, and whether the format lets a family of this type have such a name.
pub fn family_name(metric: &str, metric_type: MetricType) -> Option<&str> {
    let suffixes: &[&str] = match metric_type {
        MetricType::Counter => &["_total"],
        MetricType::Info => &["_info"],
        MetricType::Histogram => &["_bucket", "_count", "_sum"],
        MetricType::GaugeHistogram => &["_bucket", "_gcount", "_gsum"],
        MetricType::Summary => &["_count", "_sum", ""],
        MetricType::Gauge | MetricType::StateSet | MetricType::Unknown => &[""],
    };
    suffixes.iter().find_map(|suffix| metric.strip_suffix(suffix)).filter(|name| !name.is_empty())
}

/// A series as it stands before the value.
pub fn push_series(to: &mut String, labels: &Labels) {
    let name = labels.metric_name();
    let is_plain = is_metric_name(name);
    if is_plain {
        to.push_str(name);
    }
    let mut separator = '{';
    let mut separate = |to: &mut String| to.push(std::mem::replace(&mut separator, ','));
    if !is_plain {
        separate(to);
        push_quoted(to, name);
    }
    for (name, value) in labels.iter().filter(|(name, _)| *name != METRIC_NAME) {
        separate(to);
        if is_label_name(name) {
            to.push_str(name)
        } else {
            push_quoted(to, name)
        }
        to.push('=');
        push_quoted(to, value);
    }
    if separator == ',' {
        to.push('}');
    }
}

/// Value and time. A stale marker becomes a NaN like others, as the format has no word for it.
pub fn push_point(to: &mut String, timestamp: Timestamp, value: f64) {
    to.push(' ');
    match value {
        value if value.is_nan() => to.push_str("NaN"),
        f64::INFINITY => to.push_str("+Inf"),
        f64::NEG_INFINITY => to.push_str("-Inf"),
        value => push_finite(to, value),
    }
    let sign = if timestamp < 0 { "-" } else { "" };
    let (seconds, millis) = (timestamp.unsigned_abs() / 1_000, timestamp.unsigned_abs() % 1_000);
    let written = match millis {
        0 => writeln!(to, " {sign}{seconds}"),
        millis => writeln!(to, " {sign}{seconds}.{millis:03}"),
    };
    written.expect("writing to a string cannot fail");
}

fn push_name(to: &mut String, name: &str) {
    if is_metric_name(name) { to.push_str(name) } else { push_quoted(to, name) }
}

fn push_quoted(to: &mut String, text: &str) {
    to.push('"');
    to.push_str(&escaped(text));
    to.push('"');
}

fn escaped(text: &str) -> std::borrow::Cow<'_, str> {
    if !text.contains(['\\', '"', '\n']) {
        return text.into();
    }
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n").into()
}
