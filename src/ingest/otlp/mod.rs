//! OpenTelemetry's protocol: metrics become series as in Prometheus's own OTLP receiver, log records become entries as
//! in Loki's, spans stay what they are.
//!
//! One difference: what counts from report to report (delta) is not dropped. It goes to the store as an interval,
//! and the store makes it cumulative.

mod any;
mod attributes;
mod bounds;
mod exemplars;
mod exponential;
#[cfg(test)]
mod generated;
mod json;
mod logs;
#[cfg(test)]
mod logs_tests;
mod metrics;
mod naming;
mod points;
mod series;
mod shape;
#[cfg(test)]
mod tests;
mod traces;
#[cfg(test)]
mod traces_tests;
mod walk;
#[cfg(test)]
mod walk_tests;

use std::borrow::Cow;

use prost::Message as _;

pub(super) use logs::read as read_logs;
pub(super) use metrics::read as read_metrics;
pub use naming::TranslationStrategy;
pub(super) use traces::read as read_spans;

use super::refusals::Refusals;
use super::{BodyFormat, IngestError};

/// How OTLP becomes series.
#[derive(Clone, Debug, Default)]
pub struct Options {
    pub translation: TranslationStrategy,
    /// By their OTLP names; they become labels of every series of their resource.
    pub promote_resource_attributes: Vec<String>,
}

/// An encoded `ExportMetricsServiceRequest`.
pub(super) fn encoded_metrics(body: &[u8], format: BodyFormat) -> Result<Cow<'_, [u8]>, IngestError> {
    match format {
        BodyFormat::Protobuf => Ok(Cow::Borrowed(body)),
        BodyFormat::Json => Ok(Cow::Owned(json::metrics::decode(body)?.encode_to_vec())),
    }
}

/// An encoded `ExportLogsServiceRequest`.
pub(super) fn encoded_logs<'b>(
    body: &'b [u8],
    format: BodyFormat,
    refusals: &mut Refusals,
) -> Result<Cow<'b, [u8]>, IngestError> {
    match format {
        BodyFormat::Protobuf => Ok(Cow::Borrowed(body)),
        BodyFormat::Json => Ok(Cow::Owned(json::logs::decode(body, refusals)?.encode_to_vec())),
    }
}

/// An encoded `ExportTraceServiceRequest`.
pub(super) fn encoded_spans<'b>(
    body: &'b [u8],
    format: BodyFormat,
    refusals: &mut Refusals,
) -> Result<Cow<'b, [u8]>, IngestError> {
    match format {
        BodyFormat::Protobuf => Ok(Cow::Borrowed(body)),
        BodyFormat::Json => Ok(Cow::Owned(json::traces::decode(body, refusals)?.encode_to_vec())),
    }
}
