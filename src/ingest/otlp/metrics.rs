//! Metrics, point by point: each becomes one row, or for classic histograms and summaries several.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::metrics::v1 as wire;
use wire::AggregationTemporality as Temporality;

use crate::model::labels::METRIC_NAME;
use crate::model::metrics::stale_marker;
use crate::model::time::{MINUTE, SECOND};
use crate::model::{Exemplar, MetricMetadata, MetricType, Timestamp};

use super::super::admission::{Echo, Reason, Rejection, admit_label_count, admit_labels};
use super::super::intake::{Admitted, Intake};
use super::super::protobuf::{Message, WireError};
use super::super::series_cache::SpellingHash;
use super::attributes::{AttributeSpelling, ResourceLabels, spell};
use super::bounds::{check_bounds, check_quantiles};
use super::naming::{Kind, unit_name};
use super::points::{Numbers, Point, Points};
use super::series::{Family, Member, OF_FAMILY, OF_POINT, OF_TARGET_INFO, PointLabels};
use super::walk::{Data, DataKind, Metric, each_resource};
use super::{exemplars, exponential};

// Half the usual lookback, so that an instant between the first and the last point of a slot always finds one.
const TARGET_INFO_SLOT_MS: i64 = 2 * MINUTE + 30 * SECOND;

const NANOS_IN_MILLI: u64 = 1_000_000;

/// Reads an encoded `ExportMetricsServiceRequest` into `intake`.
pub(in super::super) fn read(
    body: &[u8],
    hash: &SpellingHash,
    intake: &mut Intake<'_>,
) -> Result<(), WireError> {
    let options = &intake.options.otlp;
    let mut scratch = Scratch::default();
    each_resource(body, |of_resource| {
        let attributes = of_resource.attributes()?;
        let resource = ResourceLabels::new(&attributes, options);
        let mut reader = Reader {
            resource: &resource,
            resource_spelling: resource.spelling(),
            hash,
            intake,
            slots: BTreeMap::new(),
            spelling: &mut scratch.spelling,
            attributes: &mut scratch.attributes,
        };
        of_resource.each_metric(|metric| reader.metric(&metric, &mut scratch.points))?;
        reader.target_info();
        Ok(())
    })
}

/// What is used again for each resource.
#[derive(Default)]
struct Scratch<'b> {
    spelling: Vec<u8>,
    attributes: AttributeSpelling<'b>,
    points: Points<'b>,
}

/// The reader of one resource's metrics.
struct Reader<'r, 'b, 'a> {
    resource: &'r ResourceLabels<'r>,
    resource_spelling: Vec<u8>,
    hash: &'r SpellingHash,
    intake: &'r mut Intake<'a>,
    /// The first and the last time of the points taken, by slots of `target_info`.
    slots: BTreeMap<i64, (Timestamp, Timestamp)>,
    spelling: &'r mut Vec<u8>,
    attributes: &'r mut AttributeSpelling<'b>,
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

impl<'b> Reader<'_, 'b, '_> {
    fn metric(&mut self, metric: &Metric<'b>, points: &mut Points<'b>) -> Result<(), WireError> {
        let Some(data) = &metric.data else { return Ok(()) };
        let (metric_type, kind) = match data.kind {
            DataKind::Gauge => (MetricType::Gauge, Kind::Gauge),
            DataKind::Sum if data.is_monotonic => (MetricType::Counter, Kind::MonotonicSum),
            DataKind::Sum => (MetricType::Gauge, Kind::Other),
            DataKind::Histogram | DataKind::ExponentialHistogram => (MetricType::Histogram, Kind::Other),
            DataKind::Summary => (MetricType::Summary, Kind::Other),
        };
        let Some(temporality) = temporality(data) else {
            let message = format!(
                "metric {} is neither cumulative nor delta (aggregation temporality {})",
                Echo(metric.name.as_bytes()),
                data.temporality
            );
            self.intake.refuse(Rejection::new(Reason::Unsupported, message), data.point_count);
            return Ok(());
        };
        let family = self.family(metric, kind, temporality);
        self.metadata(&family, metric_type);
        match data.kind {
            DataKind::Gauge => self.each(data, &mut points.number, |r, p| r.number(&family, p, false)),
            DataKind::Sum => self.each(data, &mut points.number, |r, p| r.number(&family, p, true)),
            DataKind::Histogram => self.each(data, &mut points.histogram, |r, p| r.histogram(&family, p)),
            DataKind::ExponentialHistogram => {
                self.each(data, &mut points.exponential, |r, p| r.exponential_histogram(&family, p))
            }
            DataKind::Summary => self.each(data, &mut points.summary, |r, p| r.summary(&family, p)),
        }
    }

    fn family<'m>(&mut self, metric: &'m Metric<'m>, kind: Kind, temporality: Temporality) -> Family<'m> {
        self.spelling.clear();
        self.spelling.extend_from_slice(&[OF_FAMILY, kind as u8]);
        self.spelling.extend_from_slice(&self.resource_spelling);
        spell(&[metric.name, metric.unit], self.spelling);
        Family::new(metric, kind, temporality, self.hash.of(self.spelling))
    }

    /// A point is stored or refused, never its neighbours with it, unless it is no message of its kind: then nobody knows what
    /// else was meant.
    #[inline]
    fn each<N: Numbers>(
        &mut self,
        data: &Data<'b>,
        point: &mut Point<'b, N>,
        read: impl Fn(&mut Self, &Point<'b, N>) -> Result<Timestamp, Rejection>,
    ) -> Result<(), WireError> {
        data.each_point(|message| {
            point.read(message)?;
            match read(self, point) {
                Ok(at) => {
                    let (first, last) = self.slots.entry(at / TARGET_INFO_SLOT_MS).or_insert((at, at));
                    (*first, *last) = (at.min(*first), at.max(*last));
                }
                Err(rejection) => self.intake.refuse(rejection, 1),
            }
            Ok(())
        })
    }

    fn number(
        &mut self,
        family: &Family<'_>,
        Point { attributes, exemplars, numbers: point }: &Point<'b, wire::NumberDataPoint>,
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
        let labels = self.labels(family, attributes)?;
        let series = self.series(family, &labels, Member::Itself)?;
        match counts {
            true => self.count(family, series, times, value, is_stale(point.flags))?,
            false => self.intake.sample(series, times.at, value)?,
        }
        self.exemplars(exemplars, |_| Some(series));
        Ok(times.at)
    }

    /// A classic histogram: one series for each bucket, and two for sum and count.
    fn histogram(
        &mut self,
        family: &Family<'_>,
        Point { attributes, exemplars, numbers: point }: &Point<'b, wire::HistogramDataPoint>,
    ) -> Result<Timestamp, Rejection> {
        let times = Times::new(point.start_time_unix_nano, point.time_unix_nano);
        let is_stale = is_stale(point.flags);
        check_bounds(point, self.intake.options.histogram_buckets_max)?;
        let labels = self.labels(family, attributes)?;
        let number = |value: f64| if is_stale { stale_marker() } else { value };

        // All series first: a point with one that is refused must not be half stored.
        let count = point.count as f64;
        let mut values = Vec::with_capacity(point.explicit_bounds.len() + 3);
        values.push((self.series(family, &labels, Member::Count)?, count));
        if let Some(sum) = point.sum {
            values.push((self.series(family, &labels, Member::Sum)?, sum));
        }
        let first_bucket = values.len();
        let mut below = 0.0;
        for (&bound, &count) in point.explicit_bounds.iter().zip(&point.bucket_counts) {
            below += count as f64;
            values.push((self.series(family, &labels, Member::Bucket(bound))?, below));
        }
        values.push((self.series(family, &labels, Member::LastBucket)?, count));
        for &(series, value) in &values {
            self.count(family, series, times, number(value), is_stale)?;
        }
        self.exemplars(exemplars, |value| {
            let bucket = point.explicit_bounds.iter().position(|bound| value <= *bound);
            let bucket = bucket.unwrap_or(point.explicit_bounds.len());
            (!value.is_nan()).then(|| values[first_bucket + bucket].0)
        });
        Ok(times.at)
    }

    fn exponential_histogram(
        &mut self,
        family: &Family<'_>,
        Point { attributes, exemplars, numbers: point }: &Point<'b, wire::ExponentialHistogramDataPoint>,
    ) -> Result<Timestamp, Rejection> {
        let times = Times::new(point.start_time_unix_nano, point.time_unix_nano);
        let labels = self.labels(family, attributes)?;
        let is_stale = is_stale(point.flags);
        let histogram = if is_stale { exponential::stale_histogram() } else { exponential::native(point)? };
        let series = self.series(family, &labels, Member::Itself)?;
        if family.temporality == Temporality::Delta && !is_stale {
            self.intake.delta_histogram(series, times.delta_start(), times.at, histogram)?;
        } else {
            self.intake.histogram(series, times.at, histogram)?;
            self.intake.start(series, times.at, times.start);
        }
        self.exemplars(exemplars, |_| Some(series));
        Ok(times.at)
    }

    fn summary(
        &mut self,
        family: &Family<'_>,
        Point { attributes, numbers: point, .. }: &Point<'b, wire::SummaryDataPoint>,
    ) -> Result<Timestamp, Rejection> {
        let times = Times::new(point.start_time_unix_nano, point.time_unix_nano);
        let is_stale = is_stale(point.flags);
        check_quantiles(point, self.intake.options.histogram_buckets_max)?;
        let labels = self.labels(family, attributes)?;
        let number = |value: f64| if is_stale { stale_marker() } else { value };
        // As for a histogram, all series first.
        let count = self.series(family, &labels, Member::Count)?;
        let sum = self.series(family, &labels, Member::Sum)?;
        let mut quantiles = Vec::with_capacity(point.quantile_values.len());
        for at in &point.quantile_values {
            quantiles.push((self.series(family, &labels, Member::Quantile(at.quantile))?, at.value));
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

    fn labels<'p>(
        &mut self,
        family: &Family<'_>,
        attributes: &'p [Message<'b>],
    ) -> Result<PointLabels<'p>, Rejection> {
        admit_label_count(attributes.len(), self.intake.options)?;
        self.spelling.clear();
        self.spelling.push(OF_POINT);
        self.spelling.extend_from_slice(&family.spelling.to_le_bytes());
        self.attributes.push(attributes, self.spelling)?;
        Ok(PointLabels::new(attributes, self.hash.of(self.spelling)))
    }

    #[inline]
    fn series(
        &mut self,
        family: &Family<'_>,
        labels: &PointLabels<'_>,
        member: Member,
    ) -> Result<Admitted, Rejection> {
        let spelling = match member {
            Member::Itself => labels.spelling,
            _ => self.hash.of(&labels.spelling_of(member)),
        };
        self.intake.resolve(spelling, |options| {
            let name = format!("{}{}", family.name(&options.otlp), member.suffix());
            let more = member.label();
            let pairs = labels.pairs(self.resource, &options.otlp)?;
            // An attribute of that name would be a second one.
            let own = pairs.iter().filter(|(own, _)| **own != *METRIC_NAME);
            let own = own.map(|(name, value)| (&**name, &**value));
            let more = more.iter().map(|(name, value)| (*name, &**value));
            let pairs = own.chain([(METRIC_NAME, &*name)]).chain(more);
            let pairs: Vec<_> = pairs.map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
            admit_labels(&pairs, options)
        })
    }

    /// Exemplars come by the way: one that is refused does not make its point rejected.
    fn exemplars(&mut self, exemplars: &[Message<'_>], series_of: impl Fn(f64) -> Option<Admitted>) {
        for &exemplar in exemplars {
            self.exemplar(exemplar, &series_of).unwrap_or_else(|rejection| self.intake.note(rejection, 1));
        }
    }

    fn exemplar(
        &mut self,
        message: Message<'_>,
        series_of: impl Fn(f64) -> Option<Admitted>,
    ) -> Result<(), Rejection> {
        let exemplar = exemplars::decoded(message)?;
        let Some((series, value)) = exemplars::value(&exemplar).and_then(|v| Some((series_of(v)?, v))) else {
            return Ok(());
        };
        let timestamp = (exemplar.time_unix_nano / NANOS_IN_MILLI) as i64;
        let labels = exemplars::labels(&exemplar, self.intake.options)?;
        self.intake.exemplar(series, Exemplar { labels, value, timestamp })
    }

    fn metadata(&mut self, family: &Family<'_>, metric_type: MetricType) {
        let Metric { name, description, unit, .. } = family.metric;
        self.spelling.clear();
        // What the name is translated to depends on the kind, too.
        self.spelling.push(family.kind as u8);
        spell(&[name, metric_type.as_str(), description, unit], self.spelling);
        let options = self.intake.options;
        self.intake.metadata(self.hash.of(self.spelling), || {
            let name = family.name(&options.otlp);
            if name.is_empty() || name.len() > options.label_name_bytes_max {
                return None;
            }
            let unit = unit_name(unit, options.otlp.translation);
            let shown =
                |text: &str| text[..text.floor_char_boundary(options.label_value_bytes_max)].to_owned();
            let metadata = MetricMetadata { metric_type, help: shown(description), unit: shown(&unit) };
            Some((name.to_owned(), metadata))
        });
    }

    /// What else the resource says of itself, at times of its points: where it sent none, a row would be unpaid.
    fn target_info(&mut self) {
        let resource = self.resource;
        let Some(labels) = resource.target_info.as_ref().filter(|_| !self.slots.is_empty()) else { return };
        self.spelling.clear();
        self.spelling.push(OF_TARGET_INFO);
        labels.iter().for_each(|(name, value)| spell(&[name, value], self.spelling));
        let series = self.intake.resolve(self.hash.of(self.spelling), |options| {
            // An attribute of that name would be a second one.
            let own = labels.iter().filter(|(own, _)| **own != *METRIC_NAME);
            let own = own.map(|(name, value)| (name.as_bytes(), value.as_bytes()));
            let pairs: Vec<_> = own.chain([(METRIC_NAME.as_bytes(), &b"target_info"[..])]).collect();
            admit_labels(&pairs, options)
        });
        let series = match series {
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

/// How the values of a metric count; `None` if that was not told.
fn temporality(data: &Data<'_>) -> Option<Temporality> {
    match (data.kind, Temporality::try_from(data.temporality)) {
        (DataKind::Gauge | DataKind::Summary, _) => Some(Temporality::Cumulative),
        (_, Ok(known @ (Temporality::Delta | Temporality::Cumulative))) => Some(known),
        _ => None,
    }
}
