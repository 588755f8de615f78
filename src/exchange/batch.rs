//! What is sent at once: samples of many series as one message of remote write 2.0.
//!
//! A batch is bounded: who fills it asks [`Batch::is_full`] after each sample.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use prost::Message;

use super::histogram::to_wire;
use crate::model::{Exemplar, Histogram, Labels, MetricMetadata, MetricType, Timestamp};
use crate::wire::remote_write_v2::metadata::MetricType as WireType;
use crate::wire::remote_write_v2::{Exemplar as WireExemplar, Metadata, Request, Sample, TimeSeries};

/// A float takes 9 to 18 bytes, so this is below a megabyte, and a server takes a few hundred of them a second.
const SAMPLES_MAX: u64 = 50_000;
/// Decoded; a server's default limit is eight times as much.
const BYTES_MAX: usize = 4 << 20;
/// The keys and lengths of a series' message, and its place in the batch.
const SERIES_BYTES: usize = 64;
const SAMPLE_BYTES: usize = 24;

#[derive(Default)]
pub struct Batch {
    request: Request,
    symbols: HashMap<String, u32, RandomState>,
    /// Where in the request a series is.
    places: HashMap<Labels, usize, RandomState>,
    last: Option<(Labels, usize)>,
    /// Floats and histograms.
    pub sample_count: u64,
    bytes: usize,
    /// Where this was read, for who must be told of refusals.
    pub origin: String,
    /// First and last timestamp of its samples.
    pub times: Option<(Timestamp, Timestamp)>,
}

impl Batch {
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    pub fn is_full(&self) -> bool {
        self.sample_count >= SAMPLES_MAX || self.bytes >= BYTES_MAX
    }

    pub fn series(&self) -> impl Iterator<Item = &Labels> {
        self.places.keys()
    }

    /// `start` is since when the series counts, 0 for unknown.
    pub fn float(&mut self, labels: &Labels, timestamp: Timestamp, value: f64, start: Timestamp) {
        self.note(timestamp, SAMPLE_BYTES);
        self.place(labels).samples.push(Sample { value: Some(value), timestamp, start_timestamp: start });
    }

    pub fn histogram(&mut self, labels: &Labels, timestamp: Timestamp, histogram: &Histogram) {
        let histogram = to_wire(histogram, timestamp);
        self.note(timestamp, histogram.encoded_len() + SAMPLE_BYTES);
        self.place(labels).histograms.push(histogram);
    }

    pub fn exemplar(&mut self, labels: &Labels, exemplar: &Exemplar) {
        let labels_refs = self.references(&exemplar.labels);
        self.bytes += SAMPLE_BYTES + exemplar.labels.text_len();
        let exemplar =
            WireExemplar { labels_refs, value: Some(exemplar.value), timestamp: exemplar.timestamp };
        self.place(labels).exemplars.push(exemplar);
    }

    /// What is known of the metric whose sample was added last.
    pub fn metadata(&mut self, metadata: &MetricMetadata) {
        let Some((_, at)) =
            self.last.as_ref().filter(|(_, at)| self.request.timeseries[*at].metadata.is_none())
        else {
            return;
        };
        let at = *at;
        let metadata = Metadata {
            r#type: wire_type(metadata.metric_type).into(),
            help_ref: self.symbol(&metadata.help),
            unit_ref: self.symbol(&metadata.unit),
        };
        self.request.timeseries[at].metadata = Some(metadata);
    }

    /// The body of the request.
    pub fn encode(&self) -> Vec<u8> {
        let message = self.request.encode_to_vec();
        snap::raw::Encoder::new().compress_vec(&message).expect("a batch is far below snappy's 4 GiB")
    }

    fn note(&mut self, timestamp: Timestamp, bytes: usize) {
        self.sample_count += 1;
        self.bytes += bytes;
        let (first, last) = self.times.unwrap_or((timestamp, timestamp));
        self.times = Some((first.min(timestamp), last.max(timestamp)));
    }

    fn place(&mut self, labels: &Labels) -> &mut TimeSeries {
        let at = match &self.last {
            Some((last, at)) if last.shares_text(labels) => *at,
            _ => self.find_or_add(labels),
        };
        &mut self.request.timeseries[at]
    }

    fn find_or_add(&mut self, labels: &Labels) -> usize {
        let at = match self.places.get(labels) {
            Some(at) => *at,
            None => self.add(labels),
        };
        self.last = Some((labels.clone(), at));
        at
    }

    fn add(&mut self, labels: &Labels) -> usize {
        let at = self.request.timeseries.len();
        let labels_refs = self.references(labels);
        self.request.timeseries.push(TimeSeries { labels_refs, ..TimeSeries::default() });
        self.places.insert(labels.clone(), at);
        self.bytes += SERIES_BYTES;
        at
    }

    fn references(&mut self, labels: &Labels) -> Vec<u32> {
        labels.iter().flat_map(|(name, value)| [self.symbol(name), self.symbol(value)]).collect()
    }

    fn symbol(&mut self, text: &str) -> u32 {
        if self.request.symbols.is_empty() {
            // The first one is the empty text, which stands for none.
            self.request.symbols.push(String::new());
            self.symbols.insert(String::new(), 0);
        }
        if let Some(reference) = self.symbols.get(text) {
            return *reference;
        }
        let reference = self.request.symbols.len() as u32;
        self.request.symbols.push(text.to_owned());
        self.symbols.insert(text.to_owned(), reference);
        self.bytes += text.len() + size_of::<u32>();
        reference
    }
}

fn wire_type(metric_type: MetricType) -> WireType {
    match metric_type {
        MetricType::Unknown => WireType::Unspecified,
        MetricType::Counter => WireType::Counter,
        MetricType::Gauge => WireType::Gauge,
        MetricType::Histogram => WireType::Histogram,
        MetricType::GaugeHistogram => WireType::Gaugehistogram,
        MetricType::Summary => WireType::Summary,
        MetricType::Info => WireType::Info,
        MetricType::StateSet => WireType::Stateset,
    }
}

#[cfg(test)]
impl Batch {
    /// The samples in the order of their series, as text.
    pub fn show(&self) -> Vec<String> {
        let request = &self.request;
        let text = |reference: u32| request.symbols[reference as usize].as_str();
        let labels = |references: &[u32]| {
            let pairs = references.chunks_exact(2).map(|pair| (text(pair[0]), text(pair[1])));
            Labels::from_pairs(pairs).unwrap()
        };
        let mut lines = Vec::new();
        for series in &request.timeseries {
            let name = labels(&series.labels_refs);
            for sample in &series.samples {
                let start = if sample.start_timestamp == 0 {
                    String::new()
                } else {
                    format!(" since {}", sample.start_timestamp)
                };
                lines.push(format!("{name} {}@{}{start}", sample.value(), sample.timestamp));
            }
            lines.extend(series.histograms.iter().map(|h| format!("{name} histogram@{}", h.timestamp)));
            for exemplar in &series.exemplars {
                let example = labels(&exemplar.labels_refs);
                lines.push(format!("{name} # {example} {}@{}", exemplar.value(), exemplar.timestamp));
            }
            if let Some(metadata) = &series.metadata {
                let kind = metadata.r#type().as_str_name().trim_start_matches("METRIC_TYPE_").to_lowercase();
                lines.push(format!(
                    "{name} is a {kind}: {} [{}]",
                    text(metadata.help_ref),
                    text(metadata.unit_ref)
                ));
            }
        }
        lines
    }

    /// All floats with their bits.
    pub fn floats(&self) -> Vec<(Timestamp, u64)> {
        let samples = self.request.timeseries.iter().flat_map(|series| &series.samples);
        samples.map(|sample| (sample.timestamp, sample.value().to_bits())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(name: &str) -> Labels {
        Labels::from_pairs([("__name__", name), ("job", "a")]).unwrap()
    }

    #[test]
    fn a_series_and_a_text_stand_once_in_a_batch() {
        let mut batch = Batch::default();
        for i in 0..3 {
            batch.float(&labels("up"), i, i as f64, 0);
            batch.float(&labels("down"), i, 0.0, 1);
        }
        assert_eq!(batch.request.timeseries.len(), 2);
        assert_eq!(batch.request.symbols, ["", "__name__", "up", "job", "a", "down"]);
        assert_eq!((batch.sample_count, batch.times), (6, Some((0, 2))));
        assert_eq!(batch.show()[3], r#"down{job="a"} 0@0 since 1"#);
    }

    #[test]
    fn what_is_zero_keeps_its_sign() {
        let mut batch = Batch::default();
        batch.float(&labels("up"), 0, -0.0, 0);
        let message = snap::raw::Decoder::new().decompress_vec(&batch.encode()).unwrap();
        let sample = Request::decode(&message[..]).unwrap().timeseries[0].samples[0];
        assert_eq!(sample.value().to_bits(), (-0.0f64).to_bits());
    }

    #[test]
    fn a_batch_is_full_by_samples_and_by_bytes() {
        let mut batch = Batch::default();
        let up = labels("up");
        (0..SAMPLES_MAX as i64 - 1).for_each(|i| batch.float(&up, i, 0.0, 0));
        assert!(!batch.is_full());
        batch.float(&up, -1, 0.0, 0);
        assert!(batch.is_full());

        let mut batch = Batch::default();
        batch.float(&labels(&"x".repeat(BYTES_MAX)), 0, 0.0, 0);
        assert!(batch.is_full());
    }

    #[test]
    fn metadata_goes_with_the_sample_before_it_and_stands_once() {
        let mut batch = Batch::default();
        let about =
            MetricMetadata { metric_type: MetricType::Gauge, help: "Is it?".into(), unit: String::new() };
        batch.metadata(&about);
        batch.float(&labels("up"), 0, 1.0, 0);
        batch.metadata(&about);
        batch.metadata(&MetricMetadata::default());
        assert_eq!(batch.show()[1], r#"up{job="a"} is a gauge: Is it? []"#);
    }
}
