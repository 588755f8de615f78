//! OpenTelemetry's protocol: metrics become series as in Prometheus's own OTLP receiver.
//!
//! One difference: what counts from report to report (delta) is not dropped. It goes to the store as an interval,
//! and the store makes it cumulative.

mod attributes;
mod exponential;
mod json;
mod metrics;
mod naming;
mod scan;
#[cfg(test)]
mod tests;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use prost::Message as _;

pub(super) use metrics::read;
pub use naming::TranslationStrategy;

use super::{IngestError, OtlpFormat};

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
    format: OtlpFormat,
    bytes_max: usize,
) -> Result<ExportMetricsServiceRequest, IngestError> {
    match format {
        OtlpFormat::Json => json::decode(body),
        OtlpFormat::Protobuf => {
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
