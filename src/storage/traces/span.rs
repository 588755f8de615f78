//! A span as it is read back: OTLP's own shape, and beside it where it comes from.

use std::sync::Arc;

use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, Span};
use prost::Message;

use crate::codec::Malformed;
use crate::model::Nanos;

/// A span and where it comes from.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredSpan {
    pub origin: Arc<Origin>,
    pub span: Span,
}

/// Who sent a span: what OTLP writes once for many spans.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Origin {
    pub resource: Resource,
    pub resource_schema_url: String,
    pub scope: InstrumentationScope,
    pub scope_schema_url: String,
}

impl StoredSpan {
    pub fn start(&self) -> Nanos {
        nanos(self.span.start_time_unix_nano)
    }

    pub fn duration_ns(&self) -> i64 {
        duration_ns(self.span.start_time_unix_nano, self.span.end_time_unix_nano)
    }
}

/// OTLP's unsigned time; what lies after the year 2262 lies at the end of it.
pub(super) fn nanos(time_unix_nano: u64) -> Nanos {
    Nanos::try_from(time_unix_nano).unwrap_or(Nanos::MAX)
}

/// 0 for a span that ends before it starts.
pub(super) fn duration_ns(start_unix_nano: u64, end_unix_nano: u64) -> i64 {
    nanos(end_unix_nano.saturating_sub(start_unix_nano))
}

impl Origin {
    /// Reads an encoded `ResourceSpans` whose one `ScopeSpans` has no spans.
    pub fn decode(bytes: &[u8]) -> Result<Origin, Malformed> {
        let encoded =
            ResourceSpans::decode(bytes).map_err(|_| Malformed("an origin is not a ResourceSpans"))?;
        let scope_spans = encoded.scope_spans.into_iter().next().unwrap_or_default();
        Ok(Origin {
            resource: encoded.resource.unwrap_or_default(),
            resource_schema_url: encoded.schema_url,
            scope: scope_spans.scope.unwrap_or_default(),
            scope_schema_url: scope_spans.schema_url,
        })
    }

    /// The resource's `service.name`; `None` where it has no such text.
    pub fn service_name(&self) -> Option<&str> {
        let attribute = self.resource.attributes.iter().find(|pair| pair.key == SERVICE_NAME)?;
        match attribute.value.as_ref()?.value.as_ref()? {
            Value::StringValue(name) => Some(name),
            _ => None,
        }
    }
}

pub(super) const SERVICE_NAME: &str = "service.name";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_that_make_no_sense_do_not_wrap() {
        assert_eq!(nanos(u64::MAX), i64::MAX);
        assert_eq!(duration_ns(5, 3), 0);
        assert_eq!(duration_ns(3, 5), 2);
    }

    #[test]
    fn an_origin_without_anything_is_still_one() {
        assert_eq!(Origin::decode(&[]), Ok(Origin::default()));
        assert_eq!(Origin::default().service_name(), None);
        assert!(Origin::decode(&[0xff]).is_err());
    }
}
