//! Metrics, point by point: each becomes one row, or for classic histograms and summaries several.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::collections::BTreeMap;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1 as wire;
use wire::AggregationTemporality as Temporality;

use crate::model::labels::METRIC_NAME;
use crate::model::metrics::stale_marker;
use crate::model::time::{MINUTE, SECOND};
use crate::model::{Exemplar, MetricMetadata, MetricType, Timestamp};

use super::super::admission::{
    Echo, Reason, Rejection, admit_exemplar_labels, admit_label_count, admit_labels,
};
use super::super::intake::{Admitted, Intake};
use super::super::series_cache::SpellingHash;
use super::Options;
use super::attributes::{Pairs, ResourceLabels, spell, text};
use super::bounds::{BoundTexts, check_bounds};
use super::exponential;
use super::naming::{Kind, metric_name, unit_name};

// Half the usual lookback, so that an instant between the first and the last point of a slot always finds one.
const TARGET_INFO_SLOT_MS: i64 = 2 * MINUTE + 30 * SECOND;

const NANOS_IN_MILLI: u64 = 1_000_000;

/// What spellings begin with. No protobuf field starts so, hence no spelling of remote write 1; those of 2.0 are keyed hashes.
const OF_POINT: u8 = 0xFF;
const OF_TARGET_INFO: u8 = 0xFE;

/// Reads a whole request into `intake`.
pub(in super::super) fn read(
    request: &ExportMetricsServiceRequest,
    hash: &SpellingHash,
    intake: &mut Intake<'_>,
) {
    let options = &intake.options.otlp;
    for of_resource in &request.resource_metrics {
        let attributes = of_resource.resource.as_ref().map_or(&[][..], |resource| &resource.attributes);
        let resource = ResourceLabels::new(attributes, options);
        let mut reader = Reader {
            resource: &resource,
            resource_spelling: resource.spelling(),
            options,
            hash,
            intake,
            slots: BTreeMap::new(),
            spelling: Vec::new(),
            bounds: BoundTexts::default(),
        };
        for metric in of_resource.scope_metrics.iter().flat_map(|scope| &scope.metrics) {
            reader.metric(metric);
        }
        reader.target_info();
    }
}

/// The reader of one resource's metrics.
struct Reader<'r, 'i, 'a> {
    resource: &'r ResourceLabels<'r>,
    resource_spelling: Vec<u8>,
    options: &'r Options,
    hash: &'r SpellingHash,
    intake: &'i mut Intake<'a>,
    /// The first and the last time of the points taken, by slots of `target_info`.
    slots: BTreeMap<i64, (Timestamp, Timestamp)>,
    spelling: Vec<u8>,
    bounds: BoundTexts,
}

/// What all series of a point share: what its resource adds, and its attributes as they were sent, begin [`Reader::spelling`],
/// and are made labels if a series is not known by it.
struct PointLabels<'p> {
    attributes: &'p [KeyValue],
    pairs: OnceCell<Pairs<'p>>,
    spelled_len: usize,
}

/// What all points of one metric share.
struct Family<'m> {
    name: &'m str,
    temporality: Temporality,
}

/// When a point was taken, and since when it counts; 0 where that is unknown.
#[derive(Clone, Copy)]
struct Times {
    start: Timestamp,
    at: Timestamp,
}

impl Times {
    fn new(start_nanos: u64, nanos: u64) -> Times {
        // 2^64 ns are 1.8e13 ms, which always fit.
        Times { start: (start_nanos / NANOS_IN_MILLI) as i64, at: (nanos / NANOS_IN_MILLI) as i64 }
    }

    /// Where the interval of a delta begins: right before its end, if the sender does not say.
    fn delta_start(self) -> Timestamp {
        if self.start > 0 && self.start < self.at { self.start } else { self.at - 1 }
    }
}

impl<'r> Reader<'r, '_, '_> {
    fn metric(&mut self, metric: &wire::Metric) {
        use wire::metric::Data;
        let Some(data) = &metric.data else { return };
        let (metric_type, kind, temporality) = match data {
            Data::Gauge(_) => (MetricType::Gauge, Kind::Gauge, Temporality::Cumulative as i32),
            Data::Sum(sum) if sum.is_monotonic => {
                (MetricType::Counter, Kind::MonotonicSum, sum.aggregation_temporality)
            }
            Data::Sum(sum) => (MetricType::Gauge, Kind::Other, sum.aggregation_temporality),
            Data::Histogram(h) => (MetricType::Histogram, Kind::Other, h.aggregation_temporality),
            Data::ExponentialHistogram(h) => (MetricType::Histogram, Kind::Other, h.aggregation_temporality),
            Data::Summary(_) => (MetricType::Summary, Kind::Other, Temporality::Cumulative as i32),
        };
        let name = metric_name(&metric.name, &metric.unit, kind, self.options.translation);
        let temporality = match Temporality::try_from(temporality) {
            Ok(known @ (Temporality::Delta | Temporality::Cumulative)) => known,
            _ => {
                let message = format!(
                    "metric {} is neither cumulative nor delta (aggregation temporality {temporality})",
                    Echo(metric.name.as_bytes())
                );
                self.intake.refuse(Rejection::new(Reason::Unsupported, message), point_count(data));
                return;
            }
        };
        self.metadata(&name, metric_type, metric);
        let family = Family { name: &name, temporality };
        match data {
            Data::Gauge(gauge) => self.each(&gauge.data_points, |r, p| r.number(&family, p, false)),
            Data::Sum(sum) => self.each(&sum.data_points, |r, p| r.number(&family, p, true)),
            Data::Histogram(h) => self.each(&h.data_points, |r, p| r.histogram(&family, p)),
            Data::ExponentialHistogram(h) => {
                self.each(&h.data_points, |r, p| r.exponential_histogram(&family, p));
            }
            Data::Summary(summary) => self.each(&summary.data_points, |r, p| r.summary(&family, p)),
        }
    }

    /// A point is stored or refused, never its neighbours with it.
    fn each<P>(&mut self, points: &[P], read: impl Fn(&mut Self, &P) -> Result<Timestamp, Rejection>) {
        for point in points {
            match read(self, point) {
                Ok(at) => {
                    let (first, last) = self.slots.entry(at / TARGET_INFO_SLOT_MS).or_insert((at, at));
                    (*first, *last) = (at.min(*first), at.max(*last));
                }
                Err(rejection) => self.intake.refuse(rejection, 1),
            }
        }
    }

    fn number(
        &mut self,
        family: &Family<'_>,
        point: &wire::NumberDataPoint,
        counts: bool,
    ) -> Result<Timestamp, Rejection> {
        use wire::number_data_point::Value;
        let times = Times::new(point.start_time_unix_nano, point.time_unix_nano);
        let value = match point.value {
            _ if is_stale(point.flags) => stale_marker(),
            Some(Value::AsDouble(value)) => value,
            Some(Value::AsInt(value)) => value as f64,
            None => return Err(Rejection::new(Reason::Unsupported, "a number data point has no value")),
        };
        let labels = self.labels(&point.attributes)?;
        let series = self.series(&labels, family.name, None)?;
        match counts {
            true => self.count(family, series, times, value, is_stale(point.flags))?,
            false => self.intake.sample(series, times.at, value)?,
        }
        self.exemplars(&point.exemplars, |_| Some(series));
        Ok(times.at)
    }

    /// A classic histogram: one series for each bucket, and two for sum and count.
    fn histogram(
        &mut self,
        family: &Family<'_>,
        point: &wire::HistogramDataPoint,
    ) -> Result<Timestamp, Rejection> {
        let times = Times::new(point.start_time_unix_nano, point.time_unix_nano);
        let is_stale = is_stale(point.flags);
        check_bounds(point, self.intake.options.histogram_buckets_max)?;
        let labels = self.labels(&point.attributes)?;
        let number = |value: f64| if is_stale { stale_marker() } else { value };

        // All series first: a point with one that is refused must not be half stored.
        let count = point.count as f64;
        let mut values = vec![(self.series(&labels, &format!("{}_count", family.name), None)?, count)];
        if let Some(sum) = point.sum {
            values.push((self.series(&labels, &format!("{}_sum", family.name), None)?, sum));
        }
        let bucket_name = format!("{}_bucket", family.name);
        let mut buckets = Vec::with_capacity(point.explicit_bounds.len() + 1);
        let mut below = 0.0;
        let mut texts = std::mem::take(&mut self.bounds);
        for (at, (&bound, &count)) in point.explicit_bounds.iter().zip(&point.bucket_counts).enumerate() {
            below += count as f64;
            let series = self.series(&labels, &bucket_name, Some(("le", texts.at(at, bound))))?;
            values.push((series, below));
            buckets.push((bound, series));
        }
        self.bounds = texts;
        let series = self.series(&labels, &bucket_name, Some(("le", "+Inf")))?;
        values.push((series, count));
        buckets.push((f64::INFINITY, series));
        for (series, value) in values {
            self.count(family, series, times, number(value), is_stale)?;
        }
        self.exemplars(&point.exemplars, |value| {
            buckets.iter().find(|(bound, _)| value <= *bound).map(|(_, series)| *series)
        });
        Ok(times.at)
    }

    fn exponential_histogram(
        &mut self,
        family: &Family<'_>,
        point: &wire::ExponentialHistogramDataPoint,
    ) -> Result<Timestamp, Rejection> {
        let times = Times::new(point.start_time_unix_nano, point.time_unix_nano);
        let labels = self.labels(&point.attributes)?;
        let is_stale = is_stale(point.flags);
        let histogram = if is_stale { exponential::stale_histogram() } else { exponential::native(point)? };
        let series = self.series(&labels, family.name, None)?;
        if family.temporality == Temporality::Delta && !is_stale {
            self.intake.delta_histogram(series, times.delta_start(), times.at, histogram)?;
        } else {
            self.intake.histogram(series, times.at, histogram)?;
            self.intake.start(series, times.at, times.start);
        }
        self.exemplars(&point.exemplars, |_| Some(series));
        Ok(times.at)
    }

    fn summary(
        &mut self,
        family: &Family<'_>,
        point: &wire::SummaryDataPoint,
    ) -> Result<Timestamp, Rejection> {
        let times = Times::new(point.start_time_unix_nano, point.time_unix_nano);
        let is_stale = is_stale(point.flags);
        let labels = self.labels(&point.attributes)?;
        let number = |value: f64| if is_stale { stale_marker() } else { value };
        // As for a histogram, all series first.
        let count = self.series(&labels, &format!("{}_count", family.name), None)?;
        let sum = self.series(&labels, &format!("{}_sum", family.name), None)?;
        let mut quantiles = Vec::with_capacity(point.quantile_values.len());
        for at in &point.quantile_values {
            let quantile = at.quantile.to_string();
            quantiles.push((self.series(&labels, family.name, Some(("quantile", &quantile)))?, at.value));
        }
        for (series, value) in [(count, point.count as f64), (sum, point.sum)] {
            self.count(family, series, times, number(value), is_stale)?;
        }
        for (series, value) in quantiles {
            self.intake.sample(series, times.at, number(value))?;
        }
        Ok(times.at)
    }

    /// Writes the value of a series that counts, as its metric does: since its start, or since the last report.
    fn count(
        &mut self,
        family: &Family<'_>,
        series: Admitted,
        times: Times,
        value: f64,
        is_stale: bool,
    ) -> Result<(), Rejection> {
        if family.temporality == Temporality::Delta && !is_stale {
            return self.intake.delta(series, times.delta_start(), times.at, value);
        }
        self.intake.sample(series, times.at, value)?;
        self.intake.start(series, times.at, times.start);
        Ok(())
    }

    fn labels<'p>(&mut self, attributes: &'p [KeyValue]) -> Result<PointLabels<'p>, Rejection> {
        admit_label_count(attributes.len(), self.intake.options)?;
        self.spelling.clear();
        self.spelling.push(OF_POINT);
        self.spelling.extend_from_slice(&self.resource_spelling);
        // In one order, for senders who walk a hash map.
        let mut by_key: Vec<&KeyValue> = attributes.iter().collect();
        by_key.sort_by(|a, b| a.key.cmp(&b.key));
        for attribute in by_key {
            spell(&[&attribute.key, &text(attribute.value.as_ref())], &mut self.spelling);
        }
        Ok(PointLabels { attributes, pairs: OnceCell::new(), spelled_len: self.spelling.len() })
    }

    /// The series of these labels, with its name and perhaps one label more.
    fn series<'p>(
        &mut self,
        labels: &PointLabels<'p>,
        name: &str,
        more: Option<(&str, &str)>,
    ) -> Result<Admitted, Rejection>
    where
        'r: 'p,
    {
        self.spelling.truncate(labels.spelled_len);
        spell(&[METRIC_NAME, name], &mut self.spelling);
        more.iter().for_each(|(name, value)| spell(&[name, value], &mut self.spelling));
        let (resource, translation) = (self.resource, self.options.translation);
        self.intake.resolve(self.hash.of(&self.spelling), |options| {
            let pairs = labels.pairs.get_or_init(|| resource.of_point(labels.attributes, translation));
            // An attribute of that name would be a second one.
            let own = pairs.iter().filter(|(own, _)| **own != *METRIC_NAME);
            let own = own.map(|(name, value)| (&**name, &**value));
            let pairs = own.chain([(METRIC_NAME, name)]).chain(more);
            let pairs: Vec<_> = pairs.map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
            admit_labels(&pairs, options)
        })
    }

    /// Exemplars come by the way: one that is refused does not make its point rejected.
    fn exemplars(&mut self, exemplars: &[wire::Exemplar], series_of: impl Fn(f64) -> Option<Admitted>) {
        use wire::exemplar::Value;
        for exemplar in exemplars {
            let value = match exemplar.value {
                Some(Value::AsDouble(value)) => value,
                Some(Value::AsInt(value)) => value as f64,
                None => continue,
            };
            let Some(series) = series_of(value) else { continue };
            let timestamp = (exemplar.time_unix_nano / NANOS_IN_MILLI) as i64;
            let written = exemplar_labels(exemplar, self.intake)
                .and_then(|labels| self.intake.exemplar(series, Exemplar { labels, value, timestamp }));
            written.unwrap_or_else(|rejection| self.intake.note(rejection, 1));
        }
    }

    fn metadata(&mut self, name: &str, metric_type: MetricType, metric: &wire::Metric) {
        let (name_max, text_max) =
            (self.intake.options.label_name_bytes_max, self.intake.options.label_value_bytes_max);
        if name.is_empty() || name.len() > name_max {
            return;
        }
        self.spelling.clear();
        let told = [name, metric_type.as_str(), &metric.description, &metric.unit];
        spell(&told, &mut self.spelling);
        self.intake.metadata(self.hash.of(&self.spelling), || {
            let unit = unit_name(&metric.unit, self.options.translation);
            let shown = |text: &str| text[..text.floor_char_boundary(text_max)].to_owned();
            let metadata =
                MetricMetadata { metric_type, help: shown(&metric.description), unit: shown(&unit) };
            Some((name.to_owned(), metadata))
        });
    }

    /// What else the resource says of itself, at times of its points: where it sent none, a row would be unpaid.
    fn target_info(&mut self) {
        let resource = self.resource;
        let Some(labels) = resource.target_info.as_ref().filter(|_| !self.slots.is_empty()) else { return };
        self.spelling.clear();
        self.spelling.push(OF_TARGET_INFO);
        labels.iter().for_each(|(name, value)| spell(&[name, value], &mut self.spelling));
        let pairs = OnceCell::from(labels.clone());
        let labels = PointLabels { attributes: &[], pairs, spelled_len: self.spelling.len() };
        let series = match self.series(&labels, "target_info", None) {
            Ok(series) => series,
            Err(rejection) => return self.intake.note(rejection, 1),
        };
        for (first, last) in std::mem::take(&mut self.slots).into_values() {
            for at in std::iter::once(first).chain((last > first).then_some(last)) {
                // A point was let in at this time.
                self.intake
                    .sample(series, at, 1.0)
                    .unwrap_or_else(|rejection| self.intake.note(rejection, 1));
            }
        }
    }
}

fn is_stale(flags: u32) -> bool {
    flags & wire::DataPointFlags::NoRecordedValueMask as u32 != 0
}

fn point_count(data: &wire::metric::Data) -> u64 {
    use wire::metric::Data;
    (match data {
        Data::Gauge(gauge) => gauge.data_points.len(),
        Data::Sum(sum) => sum.data_points.len(),
        Data::Histogram(histogram) => histogram.data_points.len(),
        Data::ExponentialHistogram(histogram) => histogram.data_points.len(),
        Data::Summary(summary) => summary.data_points.len(),
    }) as u64
}

/// The trace comes first; the other attributes are left out if there is no room for all.
fn exemplar_labels(
    exemplar: &wire::Exemplar,
    intake: &Intake<'_>,
) -> Result<crate::model::Labels, Rejection> {
    let ids = [("trace_id", hex(&exemplar.trace_id)), ("span_id", hex(&exemplar.span_id))];
    let mut pairs: Vec<(&str, Cow<'_, str>)> = Vec::new();
    pairs.extend(ids.into_iter().filter(|(_, id)| !id.is_empty()).map(|(name, id)| (name, Cow::Owned(id))));
    let id_count = pairs.len();
    admit_label_count(exemplar.filtered_attributes.len(), intake.options)?;
    pairs.extend(exemplar.filtered_attributes.iter().map(|a| (a.key.as_str(), text(a.value.as_ref()))));
    let bytes: Vec<_> = pairs.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
    admit_exemplar_labels(&bytes, intake.options)
        .or_else(|_| admit_exemplar_labels(&bytes[..id_count], intake.options))
}

/// Empty for an id that is not set.
fn hex(id: &[u8]) -> String {
    if id.iter().all(|&byte| byte == 0) {
        return String::new();
    }
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}
