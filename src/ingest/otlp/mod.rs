//! OpenTelemetry's protocol: metrics become series as in Prometheus's own OTLP receiver.
//!
//! One difference: what counts from report to report (delta) is not dropped. It goes to the store as an interval,
//! and the store makes it cumulative.

mod attributes;
mod exponential;
mod json;
mod metrics;
mod naming;
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

pub(super) fn decode(body: &[u8], format: OtlpFormat) -> Result<ExportMetricsServiceRequest, IngestError> {
    match format {
        OtlpFormat::Json => json::decode(body),
        OtlpFormat::Protobuf => ExportMetricsServiceRequest::decode(body).map_err(|e| {
            // prost names the field but not the place; our own walk does, where the framing itself is broken.
            IngestError::Malformed { what: "protobuf", offset: body.len(), reason: e.to_string() }
        }),
    }
}
