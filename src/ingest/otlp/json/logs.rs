//! Log records in OTLP's JSON.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::logs::v1 as wire;

use super::{any_value, key_value, one_by_one, resource, scope};
use crate::ingest::IngestError;
use crate::ingest::admission::Echo;
use crate::ingest::json::{Object, parse_object};
use crate::ingest::refusals::Refusals;

pub(in super::super) fn decode(
    body: &[u8],
    refusals: &mut Refusals,
) -> Result<ExportLogsServiceRequest, IngestError> {
    let root = parse_object(body)?;
    let resource_logs = Object(&root).objects("resourceLogs", |object| resource_logs(object, refusals))?;
    Ok(ExportLogsServiceRequest { resource_logs })
}

fn resource_logs(object: Object<'_>, refusals: &mut Refusals) -> Result<wire::ResourceLogs, IngestError> {
    Ok(wire::ResourceLogs {
        resource: object.object("resource", resource)?,
        scope_logs: object.objects("scopeLogs", |logs| {
            Ok(wire::ScopeLogs {
                scope: logs.object("scope", scope)?,
                log_records: one_by_one(logs, "logRecords", refusals, name, log_record)?,
                schema_url: logs.text("schemaUrl")?,
            })
        })?,
        schema_url: object.text("schemaUrl")?,
    })
}

/// Which record it is, as far as that can be told.
fn name(record: Object<'_>) -> String {
    let line = record.get("body").and_then(|body| body.get("stringValue")?.as_str());
    format!("log record \"{}\"", Echo(line.unwrap_or_default().as_bytes()))
}

fn log_record(object: Object<'_>) -> Result<wire::LogRecord, IngestError> {
    Ok(wire::LogRecord {
        time_unix_nano: object.u64("timeUnixNano")?,
        observed_time_unix_nano: object.u64("observedTimeUnixNano")?,
        severity_number: object.i32("severityNumber")?,
        severity_text: object.text("severityText")?,
        body: object.object("body", any_value)?,
        attributes: object.objects("attributes", key_value)?,
        dropped_attributes_count: object.u32("droppedAttributesCount")?,
        flags: object.u32("flags")?,
        trace_id: object.hex("traceId")?,
        span_id: object.hex("spanId")?,
        event_name: object.text("eventName")?,
    })
}
