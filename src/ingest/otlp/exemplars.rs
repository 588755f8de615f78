//! Exemplars: few, and none is known before, so that they are decoded.

use std::borrow::Cow;

use opentelemetry_proto::tonic::metrics::v1::Exemplar;
use opentelemetry_proto::tonic::metrics::v1::exemplar::Value;

use super::attributes::text;
use super::shape::{DECODED_MAX, Shape, decode};
use crate::ingest::Options;
use crate::ingest::admission::{Reason, Rejection, admit_exemplar_labels, admit_label_count};
use crate::ingest::protobuf::{Message, WireError};
use crate::model::Labels;

pub(super) fn decoded(message: Message<'_>) -> Result<Exemplar, Rejection> {
    decode(message, Shape::Exemplar, &mut { DECODED_MAX }).map_err(|WireError { offset, reason }| {
        let message = format!("invalid protobuf at byte {offset} of an exemplar: {reason}");
        Rejection::new(Reason::Malformed, message)
    })
}

pub(super) fn value(exemplar: &Exemplar) -> Option<f64> {
    exemplar.value.as_ref().map(|value| match value {
        Value::AsDouble(value) => *value,
        Value::AsInt(value) => *value as f64,
    })
}

/// The trace comes first; the other attributes are left out if there is no room for all.
pub(super) fn labels(exemplar: &Exemplar, options: &Options) -> Result<Labels, Rejection> {
    let ids = [("trace_id", hex(&exemplar.trace_id)), ("span_id", hex(&exemplar.span_id))];
    let mut pairs: Vec<(&str, Cow<'_, str>)> = Vec::new();
    pairs.extend(ids.into_iter().filter(|(_, id)| !id.is_empty()).map(|(name, id)| (name, Cow::Owned(id))));
    let id_count = pairs.len();
    admit_label_count(exemplar.filtered_attributes.len(), options)?;
    pairs.extend(exemplar.filtered_attributes.iter().map(|a| (a.key.as_str(), text(a.value.as_ref()))));
    let bytes: Vec<_> = pairs.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
    admit_exemplar_labels(&bytes, options).or_else(|_| admit_exemplar_labels(&bytes[..id_count], options))
}

/// Empty for an id that is not set.
fn hex(id: &[u8]) -> String {
    if id.iter().all(|&byte| byte == 0) {
        return String::new();
    }
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}
