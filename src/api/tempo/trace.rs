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
use crate::api::json::whole_body;
use crate::api::prometheus::on_worker;
use crate::model::TraceId;
use crate::query::Budget;
use crate::query::traces::Trace;
use crate::wire::tempo::TraceById;

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
    let answer = on_worker(&api, &form, move |api, budget| {
        let data = TracesData { resource_spans: find(api, id, budget)? };
        if is_protobuf {
            let answer = TraceById { trace: data.encode_to_vec(), ..TraceById::default() };
            return protobuf(api, answer.encode_to_vec());
        }
        let mut json = api.json_object();
        json.raw(r#""trace":{"resourceSpans":"#);
        push_resource_spans(&mut json, &data.resource_spans)?;
        json.raw(r#"},"metrics":{}"#);
        Ok(json.finish(&[], &[]))
    });
    Ok(answer.await?)
}

/// `/api/traces/<id>` for who wants protobuf: the trace alone.
pub async fn by_id_v1_protobuf(api: &Arc<Api>, id: &str, uri: &Uri) -> Answer {
    let (form, id) = (Form::new(uri, &Default::default()), trace_id(id)?);
    let answer = on_worker(api, &form, move |api, budget| {
        let data = TracesData { resource_spans: find(api, id, budget)? };
        protobuf(api, data.encode_to_vec())
    });
    Ok(answer.await?)
}

fn find(api: &Api, id: TraceId, budget: &Budget) -> Result<Vec<ResourceSpans>, ApiError> {
    let trace = api.querier.trace(id, budget).map_err(ApiError::Query)?;
    trace.map(Trace::into_resource_spans).ok_or_else(|| ApiError::NotFound("trace not found".to_owned()))
}

fn protobuf(api: &Api, body: Vec<u8>) -> Result<Response, ApiError> {
    whole_body(body, PROTOBUF, api.options.response_bytes_max, &api.answers)
}
