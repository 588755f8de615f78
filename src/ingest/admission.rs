//! What is let in: labels, timestamps and histograms within the limits of [`Options`].
//!
//! A refusal names what, where and the limit, and echoes at most [`ECHO_BYTES_MAX`] bytes of input with control
//! characters escaped. It concerns one series or one sample, never its neighbours.

use std::fmt;

use crate::model::histogram::HistogramError;
use crate::model::labels::is_label_name;
use crate::model::time::{DAY, HOUR, MINUTE, SECOND};
use crate::model::{Histogram, Labels, Nanos, Timestamp, nanos};
use crate::storage::metrics::Refusal;

use super::Options;
use super::protobuf::WireError;

const ECHO_BYTES_MAX: usize = 128;

// OpenMetrics' limit for all names and values of an exemplar together, in characters.
const EXEMPLAR_CHARS_MAX: usize = 128;

/// Why something was refused: the label `reason` of `icecore_ingest_rejected_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    LabelCount,
    LabelNameBytes,
    LabelValueBytes,
    EmptyLabelName,
    LabelName,
    NoLabels,
    DuplicateLabel,
    NotUtf8,
    NoMetricName,
    SymbolReference,
    TimestampAhead,
    TimestampBehind,
    HistogramInvalid,
    HistogramBuckets,
    ExemplarLength,
    SeriesLimit,
    SeriesRate,
    Unsupported,
    LineBytes,
    MetadataCount,
    MetadataBytes,
    SpanBytes,
    SpanIds,
    SpanTimes,
    NoStreams,
    DecodedSize,
    Malformed,
    QueueFull,
    MemoryFull,
    DiskFull,
    LogFailing,
    SeriesRetired,
    Closing,
}

impl Reason {
    /// In the order of the declaration, so that `reason as usize` is the index.
    pub const ALL: [Reason; 33] = [
        Reason::LabelCount,
        Reason::LabelNameBytes,
        Reason::LabelValueBytes,
        Reason::EmptyLabelName,
        Reason::LabelName,
        Reason::NoLabels,
        Reason::DuplicateLabel,
        Reason::NotUtf8,
        Reason::NoMetricName,
        Reason::SymbolReference,
        Reason::TimestampAhead,
        Reason::TimestampBehind,
        Reason::HistogramInvalid,
        Reason::HistogramBuckets,
        Reason::ExemplarLength,
        Reason::SeriesLimit,
        Reason::SeriesRate,
        Reason::Unsupported,
        Reason::LineBytes,
        Reason::MetadataCount,
        Reason::MetadataBytes,
        Reason::SpanBytes,
        Reason::SpanIds,
        Reason::SpanTimes,
        Reason::NoStreams,
        Reason::DecodedSize,
        Reason::Malformed,
        Reason::QueueFull,
        Reason::MemoryFull,
        Reason::DiskFull,
        Reason::LogFailing,
        Reason::SeriesRetired,
        Reason::Closing,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Reason::LabelCount => "label_count",
            Reason::LabelNameBytes => "label_name_bytes",
            Reason::LabelValueBytes => "label_value_bytes",
            Reason::EmptyLabelName => "empty_label_name",
            Reason::LabelName => "label_name",
            Reason::NoLabels => "no_labels",
            Reason::DuplicateLabel => "duplicate_label",
            Reason::NotUtf8 => "not_utf8",
            Reason::NoMetricName => "no_metric_name",
            Reason::SymbolReference => "symbol_reference",
            Reason::TimestampAhead => "timestamp_ahead",
            Reason::TimestampBehind => "timestamp_behind",
            Reason::HistogramInvalid => "histogram_invalid",
            Reason::HistogramBuckets => "histogram_buckets",
            Reason::ExemplarLength => "exemplar_length",
            Reason::SeriesLimit => "series_limit",
            Reason::SeriesRate => "series_rate",
            Reason::Unsupported => "unsupported",
            Reason::LineBytes => "line_bytes",
            Reason::MetadataCount => "metadata_count",
            Reason::MetadataBytes => "metadata_bytes",
            Reason::SpanBytes => "span_bytes",
            Reason::SpanIds => "span_ids",
            Reason::SpanTimes => "span_times",
            Reason::NoStreams => "no_streams",
            Reason::DecodedSize => "decoded_size",
            Reason::Malformed => "malformed",
            Reason::QueueFull => "queue_full",
            Reason::MemoryFull => "memory_full",
            Reason::DiskFull => "disk_full",
            Reason::LogFailing => "log_failing",
            Reason::SeriesRetired => "series_retired",
            Reason::Closing => "closing",
        }
    }

    /// True if the same input may be let in later.
    pub fn passes_by_waiting(self) -> bool {
        matches!(self, Reason::SeriesLimit | Reason::SeriesRate)
    }
}

/// One refusal, for the sender to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rejection {
    pub reason: Reason,
    pub message: String,
}

impl Rejection {
    pub fn new(reason: Reason, message: impl Into<String>) -> Rejection {
        Rejection { reason, message: message.into() }
    }
}

/// Within the labels of one series: its neighbours are read on.
impl From<WireError> for Rejection {
    fn from(error: WireError) -> Rejection {
        let WireError { offset, reason } = error;
        let message = format!("invalid protobuf at byte {offset} of a series' labels: {reason}");
        Rejection::new(Reason::Malformed, message)
    }
}

impl From<Refusal> for Rejection {
    fn from(refusal: Refusal) -> Rejection {
        let reason = match refusal {
            Refusal::SeriesLimit { .. } => Reason::SeriesLimit,
            Refusal::SeriesRate { .. } => Reason::SeriesRate,
        };
        Rejection::new(reason, refusal.to_string())
    }
}

/// To be asked before labels are collected.
pub(super) fn admit_label_count(count: usize, options: &Options) -> Result<(), Rejection> {
    if count <= options.labels_max {
        return Ok(());
    }
    let message = format!("{count} labels > {} (--limits.max-labels)", options.labels_max);
    Err(Rejection::new(Reason::LabelCount, message))
}

/// The labels of a series as they came: any order, values that may be empty, bytes that may be no text.
pub(super) fn admit_labels(pairs: &[(&[u8], &[u8])], options: &Options) -> Result<Labels, Rejection> {
    admit_label_count(pairs.len(), options)?;
    let mut texts = Vec::with_capacity(pairs.len());
    for &(name, value) in pairs {
        if name.is_empty() {
            return Err(Rejection::new(Reason::EmptyLabelName, "a label has an empty name"));
        }
        let name = admit_text(name, Part::Name, options)?;
        let value = admit_text(value, Part::Value(name), options)?;
        texts.push((name, value));
    }
    let labels = Labels::from_pairs(texts).map_err(|e| {
        Rejection::new(Reason::DuplicateLabel, format!("duplicate label \"{}\"", Echo(e.0.as_bytes())))
    })?;
    if labels.metric_name().is_empty() {
        let message =
            format!("no metric name (label \"__name__\") in {}", Echo(labels.to_string().as_bytes()));
        return Err(Rejection::new(Reason::NoMetricName, message));
    }
    Ok(labels)
}

/// The labels of a stream of log entries: names in the classic form, at least one label.
pub(super) fn admit_stream_labels<'t>(
    pairs: impl IntoIterator<Item = (&'t str, &'t str)>,
    options: &Options,
) -> Result<Labels, Rejection> {
    let mut texts = Vec::new();
    for (name, value) in pairs {
        if !is_label_name(name) {
            let message = format!("label name \"{}\" is not [a-zA-Z_][a-zA-Z0-9_]*", Echo(name.as_bytes()));
            return Err(Rejection::new(Reason::LabelName, message));
        }
        let name = admit_text(name.as_bytes(), Part::Name, options)?;
        let value = admit_text(value.as_bytes(), Part::Value(name), options)?;
        texts.push((name, value));
    }
    let labels = Labels::from_pairs(texts).map_err(|e| {
        Rejection::new(Reason::DuplicateLabel, format!("duplicate label \"{}\"", Echo(e.0.as_bytes())))
    })?;
    if labels.is_empty() {
        return Err(Rejection::new(Reason::NoLabels, "a stream has no labels: at least one is needed"));
    }
    Ok(labels)
}

/// The labels of an exemplar: short, and none is demanded.
pub(super) fn admit_exemplar_labels(
    pairs: &[(&[u8], &[u8])],
    options: &Options,
) -> Result<Labels, Rejection> {
    let mut texts = Vec::with_capacity(pairs.len().min(options.labels_max));
    let mut chars = 0;
    for &(name, value) in pairs {
        let name = admit_text(name, Part::Name, options)?;
        let value = admit_text(value, Part::Value(name), options)?;
        chars += name.chars().count() + value.chars().count();
        if chars > EXEMPLAR_CHARS_MAX {
            let message = format!("exemplar labels have more than {EXEMPLAR_CHARS_MAX} characters");
            return Err(Rejection::new(Reason::ExemplarLength, message));
        }
        texts.push((name, value));
    }
    Labels::from_pairs(texts).map_err(|e| {
        Rejection::new(Reason::DuplicateLabel, format!("duplicate label \"{}\"", Echo(e.0.as_bytes())))
    })
}

enum Part<'a> {
    Name,
    /// Of the label so named.
    Value(&'a str),
}

fn admit_text<'a>(bytes: &'a [u8], part: Part<'_>, options: &Options) -> Result<&'a str, Rejection> {
    let (what, bytes_max, flag, reason) = match part {
        Part::Name => {
            ("label name", options.label_name_bytes_max, "max-label-name-bytes", Reason::LabelNameBytes)
        }
        Part::Value(_) => {
            ("label value", options.label_value_bytes_max, "max-label-value-bytes", Reason::LabelValueBytes)
        }
    };
    let rejection = |reason, message: String| match part {
        Part::Name => Rejection::new(reason, format!("{message}: \"{}\"", Echo(bytes))),
        Part::Value(name) => {
            Rejection::new(reason, format!("{message}, of label \"{}\"", Echo(name.as_bytes())))
        }
    };
    if bytes.len() > bytes_max {
        let message = format!("{what} has {} bytes > {bytes_max} (--limits.{flag})", bytes.len());
        return Err(rejection(reason, message));
    }
    std::str::from_utf8(bytes)
        .map_err(|e| rejection(Reason::NotUtf8, format!("{what} is not UTF-8 (byte {})", e.valid_up_to())))
}

/// The instants that are let in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    now: Timestamp,
    earliest: Timestamp,
    latest: Timestamp,
}

impl Window {
    pub fn new(now: Timestamp, behind_max_ms: i64, ahead_max_ms: i64) -> Window {
        Window { now, earliest: now.saturating_sub(behind_max_ms), latest: now.saturating_add(ahead_max_ms) }
    }

    #[inline]
    pub fn admit(&self, timestamp: Timestamp) -> Result<(), Rejection> {
        if self.earliest <= timestamp && timestamp <= self.latest {
            return Ok(());
        }
        Err(self.refuse(timestamp, timestamp))
    }

    /// As [`Window::admit`] for an instant of logs and spans.
    #[inline]
    pub fn admit_nanos<T>(&self, time: T) -> Result<Nanos, Rejection>
    where
        T: Copy + fmt::Display + TryInto<Nanos>,
    {
        // What has no place in 64 bits with a sign lies beyond the year 2262.
        let nanos = time.try_into().unwrap_or(Nanos::MAX);
        let timestamp = nanos::to_millis(nanos);
        if self.earliest <= timestamp && timestamp <= self.latest {
            return Ok(nanos);
        }
        Err(self.refuse(timestamp, time))
    }

    #[cold]
    fn refuse(&self, timestamp: Timestamp, shown: impl fmt::Display) -> Rejection {
        let distance = timestamp.abs_diff(self.now);
        let (reason, side, limit) = match timestamp > self.now {
            true => (Reason::TimestampAhead, "ahead", self.latest.abs_diff(self.now)),
            false => (Reason::TimestampBehind, "behind", self.earliest.abs_diff(self.now)),
        };
        let message = format!("timestamp {shown} is {} {side} (limit {})", Words(distance), Duration(limit));
        Rejection::new(reason, message)
    }
}

/// Whether a histogram can be stored.
pub(super) fn admit_histogram(histogram: &Histogram, options: &Options) -> Result<(), Rejection> {
    histogram.validate(options.histogram_buckets_max).map_err(|e| match e {
        HistogramError::TooManyBuckets { .. } => {
            Rejection::new(Reason::HistogramBuckets, format!("{e} (--limits.max-histogram-buckets)"))
        }
        _ => Rejection::new(Reason::HistogramInvalid, format!("invalid histogram: {e}")),
    })
}

/// Milliseconds in whole units of the largest kind, for people.
struct Words(u64);

impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // 365.2425 days, the Gregorian mean.
        const YEAR: u64 = 31_556_952_000;
        let units = [
            (YEAR, "years"),
            (DAY as u64, "days"),
            (HOUR as u64, "hours"),
            (MINUTE as u64, "minutes"),
            (SECOND as u64, "seconds"),
        ];
        let (unit, name) =
            units.into_iter().find(|(unit, _)| self.0 >= 2 * unit).unwrap_or((1, "milliseconds"));
        write!(f, "{} {name}", self.0 / unit)
    }
}

/// Milliseconds as a flag would be written: `10m`, `15d`.
struct Duration(u64);

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(DAY as u64, "d"), (HOUR as u64, "h"), (MINUTE as u64, "m"), (SECOND as u64, "s")];
        let (unit, name) = units
            .into_iter()
            .find(|(unit, _)| self.0 > 0 && self.0.is_multiple_of(*unit))
            .unwrap_or((1, "ms"));
        write!(f, "{}{name}", self.0 / unit)
    }
}

/// Input as it may be shown: at most [`ECHO_BYTES_MAX`] bytes of it, printable.
pub(super) struct Echo<'a>(pub &'a [u8]);

impl fmt::Display for Echo<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = &self.0[..self.0.len().min(ECHO_BYTES_MAX)];
        for chunk in shown.utf8_chunks() {
            for c in chunk.valid().chars() {
                // Controls, and characters that turn the direction or cannot be seen, are told by their number.
                match c {
                    '\'' => fmt::Write::write_char(f, c)?,
                    _ => write!(f, "{}", c.escape_debug())?,
                }
            }
            chunk.invalid().iter().try_for_each(|byte| write!(f, "\\x{byte:02x}"))?;
        }
        if self.0.len() > ECHO_BYTES_MAX {
            f.write_str("…")?;
        }
        Ok(())
    }
}
