//! What a metric sends: values, exemplars, metadata.

use std::sync::Arc;

use super::{Histogram, Labels, Timestamp};

/// The bits of the NaN that marks the end of a series. Every other NaN is data.
pub const STALE_NAN: u64 = 0x7ff0_0000_0000_0002;

/// True for the stale marker alone; it must be told from other NaNs by its bits.
pub fn is_stale(value: f64) -> bool {
    value.to_bits() == STALE_NAN
}

pub fn stale_marker() -> f64 {
    f64::from_bits(STALE_NAN)
}

/// The value of a sample. Floats keep their bits, NaN payloads included.
#[derive(Clone, Debug)]
pub enum Value {
    Float(f64),
    Histogram(Arc<Histogram>),
}

/// An example behind a sample, usually with a `trace_id` label.
#[derive(Clone, Debug, PartialEq)]
pub struct Exemplar {
    pub labels: Labels,
    pub value: f64,
    pub timestamp: Timestamp,
}

/// The types of OpenMetrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum MetricType {
    #[default]
    Unknown,
    Counter,
    Gauge,
    Histogram,
    GaugeHistogram,
    Summary,
    Info,
    StateSet,
}

impl MetricType {
    /// As `/api/v1/metadata` spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            MetricType::Unknown => "unknown",
            MetricType::Counter => "counter",
            MetricType::Gauge => "gauge",
            MetricType::Histogram => "histogram",
            MetricType::GaugeHistogram => "gaugehistogram",
            MetricType::Summary => "summary",
            MetricType::Info => "info",
            MetricType::StateSet => "stateset",
        }
    }
}

/// What is told about a metric family.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct MetricMetadata {
    pub metric_type: MetricType,
    pub help: String,
    pub unit: String,
}
