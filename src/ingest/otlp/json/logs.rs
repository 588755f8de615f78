//! Log records in OTLP's JSON.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::logs::v1 as wire;

use super::{any_value, key_value, resource, scope};
use crate::ingest::IngestError;
use crate::ingest::json::{Object, parse_object};

pub(in super::super) fn decode(body: &[u8]) -> Result<ExportLogsServiceRequest, IngestError> {
    let root = parse_object(body)?;
    Ok(ExportLogsServiceRequest { resource_logs: Object(&root).objects("resourceLogs", resource_logs)? })
}

fn resource_logs(object: Object<'_>) -> Result<wire::ResourceLogs, IngestError> {
    Ok(wire::ResourceLogs {
        resource: object.object("resource", resource)?,
        scope_logs: object.objects("scopeLogs", |logs| {
            Ok(wire::ScopeLogs {
                scope: logs.object("scope", scope)?,
                log_records: logs.objects("logRecords", log_record)?,
                schema_url: logs.text("schemaUrl")?,
            })
        })?,
        schema_url: object.text("schemaUrl")?,
    })
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
