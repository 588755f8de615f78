//! A walk over an OTLP request before it is decoded: it knows which fields hold messages, and no more.
//!
//! It finds the byte at which a body stops being protobuf, which the decoder does not tell, and adds up what the
//! decoded messages will take: an empty one is two bytes on the wire and some three hundred in memory.

use opentelemetry_proto::tonic::common::v1 as common;
use opentelemetry_proto::tonic::metrics::v1 as metrics;
use opentelemetry_proto::tonic::resource::v1::Resource;

use super::super::IngestError;
use super::super::protobuf::{Message, Value, WireError};

// The decoder's own limit.
const DEPTH_MAX: usize = 100;

/// A message that can hold messages or costs more than its bytes.
#[derive(Clone, Copy)]
enum Kind {
    Request,
    ResourceMetrics,
    Resource,
    ScopeMetrics,
    Scope,
    Metric,
    Gauge,
    Sum,
    Histogram,
    ExponentialHistogram,
    Summary,
    NumberPoint,
    HistogramPoint,
    ExponentialPoint,
    SummaryPoint,
    Buckets,
    Quantile,
    Exemplar,
    KeyValue,
    AnyValue,
    List,
    Map,
    EntityRef,
}

impl Kind {
    /// The message in a field, by the numbers of the protocol.
    fn of_field(self, number: u32) -> Option<Kind> {
        Some(match (self, number) {
            (Kind::Request, 1) => Kind::ResourceMetrics,
            (Kind::ResourceMetrics, 1) => Kind::Resource,
            (Kind::ResourceMetrics, 2) => Kind::ScopeMetrics,
            (Kind::Resource, 3) => Kind::EntityRef,
            (Kind::ScopeMetrics, 1) => Kind::Scope,
            (Kind::ScopeMetrics, 2) => Kind::Metric,
            (Kind::Metric, 5) => Kind::Gauge,
            (Kind::Metric, 7) => Kind::Sum,
            (Kind::Metric, 9) => Kind::Histogram,
            (Kind::Metric, 10) => Kind::ExponentialHistogram,
            (Kind::Metric, 11) => Kind::Summary,
            (Kind::Gauge | Kind::Sum, 1) => Kind::NumberPoint,
            (Kind::Histogram, 1) => Kind::HistogramPoint,
            (Kind::ExponentialHistogram, 1) => Kind::ExponentialPoint,
            (Kind::Summary, 1) => Kind::SummaryPoint,
            (Kind::ExponentialPoint, 8 | 9) => Kind::Buckets,
            (Kind::SummaryPoint, 6) => Kind::Quantile,
            (Kind::NumberPoint, 5) | (Kind::HistogramPoint, 8) | (Kind::ExponentialPoint, 11) => {
                Kind::Exemplar
            }
            (Kind::AnyValue, 5) => Kind::List,
            (Kind::AnyValue, 6) => Kind::Map,
            (Kind::KeyValue, 2) | (Kind::List, 1) => Kind::AnyValue,
            (Kind::Resource | Kind::ExponentialPoint | Kind::Map, 1)
            | (Kind::Scope, 3)
            | (Kind::Metric, 12)
            | (Kind::NumberPoint | Kind::SummaryPoint | Kind::Exemplar, 7)
            | (Kind::HistogramPoint, 9) => Kind::KeyValue,
            _ => return None,
        })
    }

    /// Bytes of the decoded message, without what its fields point to.
    fn size(self) -> usize {
        match self {
            Kind::ResourceMetrics => size_of::<metrics::ResourceMetrics>(),
            Kind::Resource => size_of::<Resource>(),
            Kind::ScopeMetrics => size_of::<metrics::ScopeMetrics>(),
            Kind::Scope => size_of::<common::InstrumentationScope>(),
            Kind::Metric => size_of::<metrics::Metric>(),
            Kind::NumberPoint => size_of::<metrics::NumberDataPoint>(),
            Kind::HistogramPoint => size_of::<metrics::HistogramDataPoint>(),
            Kind::ExponentialPoint => size_of::<metrics::ExponentialHistogramDataPoint>(),
            Kind::SummaryPoint => size_of::<metrics::SummaryDataPoint>(),
            Kind::Quantile => size_of::<metrics::summary_data_point::ValueAtQuantile>(),
            Kind::Exemplar => size_of::<metrics::Exemplar>(),
            Kind::KeyValue => size_of::<common::KeyValue>(),
            Kind::AnyValue => size_of::<common::AnyValue>(),
            Kind::EntityRef => size_of::<common::EntityRef>(),
            // Part of the message around them.
            Kind::Request
            | Kind::Gauge
            | Kind::Sum
            | Kind::Histogram
            | Kind::ExponentialHistogram
            | Kind::Summary
            | Kind::Buckets
            | Kind::List
            | Kind::Map => 0,
        }
    }
}

/// Refuses what is no protobuf, is nested too deep, or would take more than `bytes_max` once decoded.
pub(super) fn scan(body: &[u8], bytes_max: usize) -> Result<(), IngestError> {
    let mut bytes = 0;
    walk(Message::new(body), Kind::Request, 0, &mut bytes)?;
    if bytes > bytes_max {
        return Err(IngestError::TooLarge { size: bytes as u64, max: bytes_max as u64 });
    }
    Ok(())
}

fn walk(mut message: Message<'_>, kind: Kind, depth: usize, bytes: &mut usize) -> Result<(), WireError> {
    while let Some(field) = message.next_field()? {
        let Value::Bytes(content) = field.value else {
            // One number of a list that is not packed.
            *bytes += size_of::<u64>();
            continue;
        };
        match kind.of_field(field.number) {
            Some(_) if depth == DEPTH_MAX => {
                return Err(WireError { offset: field.offset, reason: "nested deeper than 100" });
            }
            Some(inner) => {
                *bytes += inner.size();
                walk(content, inner, depth + 1, bytes)?;
            }
            // Packed numbers of one byte each take eight; texts take themselves.
            None if matches!(kind, Kind::Buckets) => *bytes += size_of::<u64>() * content.bytes().len(),
            None => *bytes += content.bytes().len(),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A field of messages in messages, outermost number first.
    fn nested(numbers: &[u32], content: Vec<u8>) -> Vec<u8> {
        numbers.iter().rev().fold(content, |content, number| {
            let mut field = Vec::new();
            prost::encoding::encode_key(*number, prost::encoding::WireType::LengthDelimited, &mut field);
            prost::encoding::encode_varint(content.len() as u64, &mut field);
            field.extend(content);
            field
        })
    }

    #[test]
    fn empty_points_are_refused_for_what_they_would_take() {
        let points = nested(&[1, 2, 2, 10], [0x0A, 0x00].repeat(100_000));
        let error = scan(&points, 1 << 20).unwrap_err();
        assert!(matches!(error, IngestError::TooLarge { size, .. } if size > 20_000_000), "{error}");
        let counts = nested(&[1, 2, 2, 10, 1, 8, 2], vec![1; 200_000]);
        assert!(matches!(scan(&counts, 1 << 20), Err(IngestError::TooLarge { .. })));
        assert!(scan(&counts, 1 << 21).is_ok());
    }

    #[test]
    fn an_error_says_at_which_byte() {
        let mut body = nested(&[1, 2, 2, 5, 1, 7, 1], b"key".to_vec());
        let at = body.len() - 4;
        body[at] = 100;
        assert_eq!(
            scan(&body, 1 << 20).unwrap_err().to_string(),
            format!("invalid protobuf at byte {at}: a field is longer than its message")
        );
    }
}
