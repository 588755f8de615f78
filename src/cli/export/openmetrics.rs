//! An export as OpenMetrics: family by family, in each series by series.
//!
//! Prometheus and its tools take series in this order; the format's own grammar would have the buckets of a histogram
//! alternate with each other, instant by instant, for which all of them would have to be held.

use std::collections::BTreeMap;
use std::io::Write;

use serde_json::Value;

use super::reading::Reading;
use super::selection::{Selection, Selector, wire_matcher};
use super::{ExportError, Output, Written, ask};
use crate::cli::CliError;
use crate::codec::chunks::ChunkValue;
use crate::exchange::stream::SeriesFrame;
use crate::exchange::text::write::{END, family_name, push_family, push_point, push_series};
use crate::model::labels::METRIC_NAME;
use crate::model::metrics::is_stale;
use crate::model::{MatchOp, MetricMetadata, MetricType};

#[derive(Default)]
struct Family {
    metadata: MetricMetadata,
    metrics: Vec<String>,
}

pub fn write(
    reading: &Reading<'_>,
    selection: &Selection,
    output: &mut Output<'_>,
) -> Result<(), ExportError> {
    let Output { out, written, progress } = output;
    let families = families(reading, selection)?;
    progress.expect(families.len() as u64);
    for (done, (name, family)) in families.iter().enumerate() {
        let mut text = String::new();
        push_family(&mut text, name, &family.metadata);
        let mut has_begun = false;
        let names: Vec<String> = family.metrics.iter().map(|metric| regex::escape(metric)).collect();
        for (i, selector) in selection.selectors() {
            let mut matchers = selector.wire_matchers();
            matchers.push(wire_matcher(METRIC_NAME, MatchOp::Regex, &names.join("|")));
            reading.read(&matchers, reading.range, &mut |frame| {
                if !selection.is_repeated(&frame.labels, i) {
                    let before = text.len();
                    push_samples(&mut text, &frame, written);
                    // A family of which nothing can be told is not begun.
                    if has_begun || text.len() > before {
                        out.write_all(text.as_bytes())?;
                        text.clear();
                        has_begun = true;
                    }
                }
                progress.update(done as u64, written.samples);
                Ok(())
            })?;
        }
    }
    Ok(out.write_all(END.as_bytes())?)
}

fn push_samples(text: &mut String, frame: &SeriesFrame, written: &mut Written) {
    let mut series = String::new();
    push_series(&mut series, &frame.labels);
    for (timestamp, value) in &frame.samples {
        match value {
            ChunkValue::Histogram(_) => written.histograms_left_out += 1,
            ChunkValue::Float(value) if is_stale(*value) => written.stale_left_out += 1,
            ChunkValue::Float(value) => {
                text.push_str(&series);
                push_point(text, *timestamp, *value);
                written.samples += 1;
            }
        }
    }
}

/// All metrics that are selected, by their families.
fn families(reading: &Reading<'_>, selection: &Selection) -> Result<BTreeMap<String, Family>, CliError> {
    let known = metadata(reading)?;
    let mut metrics = Vec::new();
    for (_, selector) in selection.selectors() {
        metrics.extend(metrics_of(reading, selector)?);
    }
    metrics.sort_unstable();
    metrics.dedup();
    let mut families = BTreeMap::<String, Family>::new();
    // Those first whose names are their own: a counter `a_total` yields to a gauge `a`.
    let (with_suffix, plain): (Vec<_>, Vec<_>) = metrics
        .into_iter()
        .map(|metric| (family_of(&metric, &known), metric))
        .partition(|(family, metric)| family.0 != *metric);
    for ((name, metadata), metric) in plain.into_iter().chain(with_suffix) {
        let is_taken = families.get(&name).is_some_and(|family| family.metadata != metadata);
        let (name, metadata) =
            if is_taken { (metric.clone(), MetricMetadata::default()) } else { (name, metadata) };
        let family = families.entry(name).or_insert_with(|| Family { metadata, metrics: Vec::new() });
        family.metrics.push(metric);
    }
    Ok(families)
}

/// What a metric's family is called, and what is known of it. The server knows counters by their own names, and histograms
/// and summaries by the names without suffixes.
fn family_of(metric: &str, known: &BTreeMap<String, MetricMetadata>) -> (String, MetricMetadata) {
    let stems =
        ["", "_bucket", "_count", "_sum"].into_iter().filter_map(|suffix| metric.strip_suffix(suffix));
    let named = stems.filter_map(|stem| {
        let metadata = known.get(stem)?;
        let name = family_name(metric, metadata.metric_type)?;
        // A gauge does not take `a_sum` in, though it be called `a`.
        let is_whole = stem == metric || stem == name;
        is_whole.then(|| (name.to_owned(), metadata.clone()))
    });
    let unknown = || {
        let help = known.get(metric).map_or_else(String::new, |metadata| metadata.help.clone());
        (metric.to_owned(), MetricMetadata { help, ..MetricMetadata::default() })
    };
    named.into_iter().next().unwrap_or_else(unknown)
}

fn metrics_of(reading: &Reading<'_>, selector: &Selector) -> Result<Vec<String>, CliError> {
    let (start, end) = reading.range;
    if start > end {
        return Ok(Vec::new());
    }
    let query = form_urlencoded::Serializer::new(String::new())
        .append_pair("match[]", &selector.text)
        .append_pair("start", &(start as f64 / 1_000.0).to_string())
        .append_pair("end", &(end as f64 / 1_000.0).to_string())
        .finish();
    let names = ask(reading.client, &format!("/api/v1/label/{METRIC_NAME}/values?{query}"), &[])?;
    let names = names.as_array().ok_or_else(|| reading.client.misunderstood())?;
    Ok(names.iter().filter_map(|name| name.as_str().map(str::to_owned)).collect())
}

fn metadata(reading: &Reading<'_>) -> Result<BTreeMap<String, MetricMetadata>, CliError> {
    let answer = ask(reading.client, "/api/v1/metadata", &[])?;
    let families = answer.as_object().ok_or_else(|| reading.client.misunderstood())?;
    let entry = |entries: &Value| {
        let text = |key: &str| entries[0][key].as_str().unwrap_or("").to_owned();
        MetricMetadata { metric_type: metric_type(&text("type")), help: text("help"), unit: text("unit") }
    };
    Ok(families.iter().map(|(name, entries)| (name.clone(), entry(entries))).collect())
}

fn metric_type(name: &str) -> MetricType {
    use MetricType::*;
    let all = [Counter, Gauge, Histogram, GaugeHistogram, Summary, Info, StateSet];
    all.into_iter().find(|metric_type| metric_type.as_str() == name).unwrap_or(Unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_find_their_families_by_name_and_type() {
        let about = |metric_type| MetricMetadata { metric_type, ..MetricMetadata::default() };
        let known = BTreeMap::from([
            ("a_total".to_owned(), about(MetricType::Counter)),
            ("b".to_owned(), about(MetricType::Histogram)),
            ("c".to_owned(), about(MetricType::Gauge)),
            ("d".to_owned(), about(MetricType::Counter)),
            ("e".to_owned(), about(MetricType::Summary)),
        ]);
        for (metric, name, metric_type) in [
            ("a_total", "a", MetricType::Counter),
            ("b_bucket", "b", MetricType::Histogram),
            ("b_sum", "b", MetricType::Histogram),
            // A native histogram of that name has no place in the family.
            ("b", "b", MetricType::Unknown),
            ("c", "c", MetricType::Gauge),
            ("c_sum", "c_sum", MetricType::Unknown),
            ("d", "d", MetricType::Unknown),
            ("e", "e", MetricType::Summary),
            ("e_count", "e", MetricType::Summary),
            ("f", "f", MetricType::Unknown),
        ] {
            let (found, metadata) = family_of(metric, &known);
            assert_eq!((found.as_str(), metadata.metric_type), (name, metric_type), "{metric}");
        }
    }
}
