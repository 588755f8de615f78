//! OpenTelemetry's protocol: metrics become series as in Prometheus's own OTLP receiver, log records become entries as
//! in Loki's, spans stay what they are.
//!
//! One difference: what counts from report to report (delta) is not dropped. It goes to the store as an interval,
//! and the store makes it cumulative.

mod any;
mod attributes;
mod bounds;
mod exponential;
#[cfg(test)]
mod generated;
mod json;
mod logs;
#[cfg(test)]
mod logs_tests;
mod metrics;
mod naming;
mod scan;
mod shape;
#[cfg(test)]
mod tests;
mod traces;
#[cfg(test)]
mod traces_tests;

use std::borrow::Cow;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use prost::Message as _;

pub(super) use logs::read as read_logs;
pub(super) use metrics::read;
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

// Honest requests take three to four times their bytes once decoded.
const DECODED_GROWTH_MAX: usize = 8;

/// Reads a body of at most `bytes_max` bytes.
pub(super) fn decode(
    body: &[u8],
    format: BodyFormat,
    bytes_max: usize,
) -> Result<ExportMetricsServiceRequest, IngestError> {
    match format {
        BodyFormat::Json => json::metrics::decode(body),
        BodyFormat::Protobuf => {
            scan::scan(body, DECODED_GROWTH_MAX * bytes_max)?;
            // What is left to be wrong, a text that is not UTF-8 or a number in the place of a text, prost tells
            // by its field.
            ExportMetricsServiceRequest::decode(body).map_err(|e| IngestError::Malformed {
                what: "protobuf",
                offset: body.len(),
                reason: e.to_string(),
            })
        }
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
