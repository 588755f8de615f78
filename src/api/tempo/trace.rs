//! A trace by its id, as protobuf for Grafana or as JSON for people.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, Uri, header};
use axum::response::Response;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, TracesData};
use prost::Message;

use super::jsonpb::push_resource_spans;
use super::{Answer, trace_id};
use crate::api::Api;
use crate::api::error::ApiError;
use crate::api::form::Form;
use crate::api::json::{push_string, whole_body};
use crate::api::run_query::run_query;
use crate::model::TraceId;
use crate::query::Budget;
use crate::wire::tempo::{Status, TraceById};

const PROTOBUF: &str = "application/protobuf";

/// Whether the `Accept` header names protobuf, as Grafana's Tempo data source does.
pub fn wants_protobuf(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter();
    accepted.filter_map(|value| value.to_str().ok()).any(|value| value.contains(PROTOBUF))
}

/// `/api/v2/traces/<id>`. `start` and `end` are hints where to look; here the whole trace is found without them.
pub async fn by_id(
    State(api): State<Arc<Api>>,
    Path(id): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Answer {
    let form = Form::new(&uri, &Default::default());
    let (id, is_protobuf) = (trace_id(&id)?, wants_protobuf(&headers));
    let answer = run_query(&api, &form, move |api, budget| {
        let (resource_spans, warnings) = find(api, id, budget)?;
        let message = warnings.join("; ");
        let status = if message.is_empty() { Status::Complete } else { Status::Partial };
        if is_protobuf {
            let trace = TracesData { resource_spans }.encode_to_vec();
            let answer = TraceById { trace, message, status: status.into(), ..TraceById::default() };
            return protobuf(api, answer.encode_to_vec());
        }
        let mut json = api.json_object().within(budget);
        json.raw(r#""trace":{"resourceSpans":"#);
        push_resource_spans(&mut json, &resource_spans)?;
        json.raw(r#"},"metrics":{}"#);
        if status == Status::Partial {
            json.raw(r#","status":"PARTIAL","message":"#);
            push_string(json.text(), &message);
        }
        Ok(json.finish(&[], &[]))
    });
    Ok(answer.await?)
}

/// `/api/traces/<id>` for who wants protobuf: the trace alone.
pub async fn by_id_v1_protobuf(api: &Arc<Api>, id: &str, uri: &Uri) -> Answer {
    let (form, id) = (Form::new(uri, &Default::default()), trace_id(id)?);
    let answer = run_query(api, &form, move |api, budget| {
        let (resource_spans, _) = find(api, id, budget)?;
        protobuf(api, TracesData { resource_spans }.encode_to_vec())
    });
    Ok(answer.await?)
}

/// The trace and why it may not be whole; an error if there is nothing of it.
fn find(api: &Api, id: TraceId, budget: &Budget) -> Result<(Vec<ResourceSpans>, Vec<String>), ApiError> {
    let found = api.querier.trace(id, budget).map_err(ApiError::Query)?;
    match found.trace {
        Some(trace) => Ok((trace.into_resource_spans(), found.warnings)),
        None => {
            Err(ApiError::NotFound([vec!["trace not found".to_owned()], found.warnings].concat().join("; ")))
        }
    }
}

fn protobuf(api: &Api, body: Vec<u8>) -> Result<Response, ApiError> {
    whole_body(body, PROTOBUF, api.options.response_bytes_max, &api.answers)
}
