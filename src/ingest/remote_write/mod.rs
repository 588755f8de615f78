//! Prometheus remote write: what its two versions have in common.
//!
//! Both send series after series, each with its labels and its points. The versions differ in how labels are
//! written ([`v1`], [`v2`]); each walks the bytes in place and hands over one [`Points`] for each series, whose
//! vectors are used again for the next.

mod histogram;
pub(super) mod v1;
pub(super) mod v2;

#[cfg(test)]
mod tests;

use crate::model::{Exemplar, Labels, MetricType, Timestamp};

use super::Options;
use super::admission::{Reason, Rejection};
use super::intake::{Admitted, Intake};
use super::protobuf::{Message, WireError};

/// A label as it came.
type Pair<'a> = (&'a [u8], &'a [u8]);

/// `start` is 0 where none was told.
#[derive(Clone, Copy, Debug, Default)]
struct WireSample {
    timestamp: Timestamp,
    value: f64,
    start: Timestamp,
}

/// Where a version has start timestamps: the numbers of their fields, or 0, which no field has.
#[derive(Clone, Copy, Debug)]
struct Starts {
    of_sample: u32,
    of_histogram: u32,
}

/// What one series sends.
#[derive(Debug)]
struct Points<'a> {
    starts: Starts,
    samples: Vec<WireSample>,
    histograms: Vec<Message<'a>>,
    exemplars: Vec<Message<'a>>,
    /// Since when the series counts, for all its points; 0 for unknown.
    created: Timestamp,
}

/// An exemplar's own fields and, as the version has it, its labels.
struct WireExemplar {
    labels: Result<Labels, Rejection>,
    value: f64,
    timestamp: Timestamp,
}

impl<'a> Points<'a> {
    fn new(starts: Starts) -> Points<'a> {
        Points { starts, samples: Vec::new(), histograms: Vec::new(), exemplars: Vec::new(), created: 0 }
    }

    fn clear(&mut self) {
        self.samples.clear();
        self.histograms.clear();
        self.exemplars.clear();
        self.created = 0;
    }

    #[inline]
    fn push_sample(&mut self, mut message: Message<'_>) -> Result<(), WireError> {
        let mut sample = WireSample::default();
        while let Some(field) = message.next_field()? {
            match field.number {
                1 => sample.value = field.double()?,
                2 => sample.timestamp = field.varint()? as i64,
                number if number == self.starts.of_sample => sample.start = field.varint()? as i64,
                _ => {}
            }
        }
        self.samples.push(sample);
        Ok(())
    }

    fn count(&self) -> u64 {
        (self.samples.len() + self.histograms.len() + self.exemplars.len()) as u64
    }

    /// Writes the points to their series, or refuses all of them with it.
    #[inline]
    fn write(
        &self,
        series: Result<Admitted, Rejection>,
        intake: &mut Intake<'_>,
        exemplar_of: impl Fn(Message<'a>, &Options) -> Result<WireExemplar, WireError>,
    ) -> Result<(), WireError> {
        let series = match series {
            Ok(series) => series,
            Err(rejection) => {
                // A series without a point is refused too: its sender must hear of it.
                intake.refuse(rejection, self.count().max(1));
                return Ok(());
            }
        };
        for sample in &self.samples {
            match intake.sample(series, sample.timestamp, sample.value) {
                Ok(()) => self.start(series, sample.timestamp, sample.start, intake),
                Err(rejection) => intake.refuse(rejection, 1),
            }
        }
        for &message in &self.histograms {
            let wire = histogram::decode(message, self.starts, intake.options.histogram_buckets_max)?;
            let written = wire.histogram.and_then(|h| intake.histogram(series, wire.timestamp, h));
            match written {
                Ok(()) => self.start(series, wire.timestamp, wire.start, intake),
                Err(rejection) => intake.refuse(rejection, 1),
            }
        }
        for &message in &self.exemplars {
            let WireExemplar { labels, value, timestamp } = exemplar_of(message, intake.options)?;
            // 0 is "not set".
            let timestamp = if timestamp != 0 { timestamp } else { self.last_timestamp() };
            let written =
                labels.and_then(|labels| intake.exemplar(series, Exemplar { labels, value, timestamp }));
            written.unwrap_or_else(|rejection| intake.refuse(rejection, 1));
        }
        Ok(())
    }

    fn last_timestamp(&self) -> Timestamp {
        self.samples.last().map_or(0, |sample| sample.timestamp)
    }

    #[inline]
    fn start(&self, series: Admitted, timestamp: Timestamp, own: Timestamp, intake: &mut Intake<'_>) {
        let start = if own != 0 { own } else { self.created };
        if start != 0 {
            intake.start(series, timestamp, start);
        }
    }
}

/// The numbering of types that both versions share.
fn metric_type(number: u64) -> MetricType {
    match number {
        1 => MetricType::Counter,
        2 => MetricType::Gauge,
        3 => MetricType::Histogram,
        4 => MetricType::GaugeHistogram,
        5 => MetricType::Summary,
        6 => MetricType::Info,
        7 => MetricType::StateSet,
        _ => MetricType::Unknown,
    }
}

/// Help and units are shown to people, so that one too long is cut rather than refused.
fn shown_text(bytes: &[u8], bytes_max: usize) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(bytes_max)]).into_owned()
}

/// The family of a series by its name: classic histograms and summaries have several names in one family.
fn family_of(name: &str, metric_type: MetricType) -> &str {
    let suffixes: &[&str] = match metric_type {
        MetricType::Histogram | MetricType::GaugeHistogram => &["_bucket", "_sum", "_count"],
        MetricType::Summary => &["_sum", "_count"],
        _ => &[],
    };
    suffixes.iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(name)
}

fn bad_reference(reference: u32, symbol_count: usize) -> Rejection {
    let message = format!("reference to symbol {reference} of {symbol_count}");
    Rejection::new(Reason::SymbolReference, message)
}
