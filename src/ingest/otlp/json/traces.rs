//! Spans in OTLP's JSON.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1 as wire;

use super::{key_value, one_by_one, resource, scope};
use crate::ingest::IngestError;
use crate::ingest::admission::Echo;
use crate::ingest::json::{Object, parse_object};
use crate::ingest::refusals::Refusals;

pub(in super::super) fn decode(
    body: &[u8],
    refusals: &mut Refusals,
) -> Result<ExportTraceServiceRequest, IngestError> {
    let root = parse_object(body)?;
    let resource_spans = Object(&root).objects("resourceSpans", |object| resource_spans(object, refusals))?;
    Ok(ExportTraceServiceRequest { resource_spans })
}

fn resource_spans(object: Object<'_>, refusals: &mut Refusals) -> Result<wire::ResourceSpans, IngestError> {
    Ok(wire::ResourceSpans {
        resource: object.object("resource", resource)?,
        scope_spans: object.objects("scopeSpans", |spans| {
            Ok(wire::ScopeSpans {
                scope: spans.object("scope", scope)?,
                spans: one_by_one(spans, "spans", refusals, name, span)?,
                schema_url: spans.text("schemaUrl")?,
            })
        })?,
        schema_url: object.text("schemaUrl")?,
    })
}

/// Which span it is, as far as that can be told.
fn name(span: Object<'_>) -> String {
    format!("span \"{}\"", Echo(span.text("name").unwrap_or_default().as_bytes()))
}

fn span(object: Object<'_>) -> Result<wire::Span, IngestError> {
    Ok(wire::Span {
        trace_id: object.hex("traceId")?,
        span_id: object.hex("spanId")?,
        trace_state: object.text("traceState")?,
        parent_span_id: object.hex("parentSpanId")?,
        flags: object.u32("flags")?,
        name: object.text("name")?,
        kind: object.i32("kind")?,
        start_time_unix_nano: object.u64("startTimeUnixNano")?,
        end_time_unix_nano: object.u64("endTimeUnixNano")?,
        attributes: object.objects("attributes", key_value)?,
        dropped_attributes_count: object.u32("droppedAttributesCount")?,
        events: object.objects("events", event)?,
        dropped_events_count: object.u32("droppedEventsCount")?,
        links: object.objects("links", link)?,
        dropped_links_count: object.u32("droppedLinksCount")?,
        status: object.object("status", |status| {
            Ok(wire::Status { message: status.text("message")?, code: status.i32("code")? })
        })?,
    })
}

fn event(object: Object<'_>) -> Result<wire::span::Event, IngestError> {
    Ok(wire::span::Event {
        time_unix_nano: object.u64("timeUnixNano")?,
        name: object.text("name")?,
        attributes: object.objects("attributes", key_value)?,
        dropped_attributes_count: object.u32("droppedAttributesCount")?,
    })
}

fn link(object: Object<'_>) -> Result<wire::span::Link, IngestError> {
    Ok(wire::span::Link {
        trace_id: object.hex("traceId")?,
        span_id: object.hex("spanId")?,
        trace_state: object.text("traceState")?,
        attributes: object.objects("attributes", key_value)?,
        dropped_attributes_count: object.u32("droppedAttributesCount")?,
        flags: object.u32("flags")?,
    })
}
