//! Jaeger's query API, version 1, for Grafana's Jaeger data source and Jaeger's own tools. Every path is there twice:
//! as Jaeger has it, and below `/jaeger` for who keeps the protocols apart.
//!
//! `/api/traces/<id>` is also Tempo's; there, who accepts protobuf gets Tempo's answer.

mod json;

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::Api;
use super::error::ApiError;
use super::form::{Form, quoted};
use super::json::{JsonWriter, push_string};
use super::run_query::run_query;
use super::tempo;
use crate::model::nanos::NANOS_PER_MILLI;
use crate::model::{NanoRange, Nanos, TraceId};
use crate::query::traceql;
use crate::query::traces::{DurationBounds, SpanForm, Trace, TraceById};

pub fn paths() -> Router<Arc<Api>> {
    let mut routes = Router::new();
    for prefix in ["/api", "/jaeger/api"] {
        routes = routes
            .route(&format!("{prefix}/services"), get(services))
            .route(&format!("{prefix}/services/{{service}}/operations"), get(operations_of))
            .route(&format!("{prefix}/operations"), get(operations))
            .route(&format!("{prefix}/traces"), get(search))
            .route(&format!("{prefix}/dependencies"), get(dependencies));
    }
    routes.route("/api/traces/{id}", get(by_id_or_tempo)).route("/jaeger/api/traces/{id}", get(by_id))
}

type Answer = Result<Response, JaegerError>;

/// An error in Jaeger's envelope.
struct JaegerError(ApiError);

impl<E: Into<ApiError>> From<E> for JaegerError {
    fn from(error: E) -> JaegerError {
        JaegerError(error.into())
    }
}

impl IntoResponse for JaegerError {
    fn into_response(self) -> Response {
        let code = self.0.status().as_u16();
        let mut body =
            format!(r#"{{"data":null,"total":0,"limit":0,"offset":0,"errors":[{{"code":{code},"msg":"#);
        push_string(&mut body, &self.0.to_string());
        body.push_str("}]}");
        self.0.respond("application/json", body)
    }
}

/// Ends an answer whose `data` is written.
fn finish(mut json: JsonWriter, total: usize) -> Response {
    json.raw(&format!(r#","total":{total},"limit":0,"offset":0,"errors":null"#));
    json.finish(&[], &[])
}

/// `/api/services`.
async fn services(State(api): State<Arc<Api>>, uri: Uri) -> Answer {
    let form = Form::new(&uri, &Default::default());
    let answer = run_query(&api, &form, move |api, budget| {
        let services = api.querier.trace_services(NanoRange::ALL, budget).map_err(ApiError::Query)?;
        strings(api, &services)
    });
    Ok(answer.await?)
}

/// `/api/services/<service>/operations`.
async fn operations_of(State(api): State<Arc<Api>>, Path(service): Path<String>, uri: Uri) -> Answer {
    let form = Form::new(&uri, &Default::default());
    let answer = run_query(&api, &form, move |api, budget| {
        let names =
            api.querier.trace_operations(&service, NanoRange::ALL, budget).map_err(ApiError::Query)?;
        strings(api, &names)
    });
    Ok(answer.await?)
}

/// `/api/operations?service=`: with the kind of span, which is not told apart.
async fn operations(State(api): State<Arc<Api>>, uri: Uri) -> Answer {
    let form = Form::new(&uri, &Default::default());
    let service = required_service(&form)?;
    let answer = run_query(&api, &form, move |api, budget| {
        let names =
            api.querier.trace_operations(&service, NanoRange::ALL, budget).map_err(ApiError::Query)?;
        let mut json = api.json_object().within(budget);
        json.raw(r#""data":"#);
        json.list(&names, |json, name| {
            json.raw(r#"{"name":"#);
            push_string(json.text(), name);
            json.raw(r#","spanKind":""}"#);
            Ok(())
        })?;
        Ok(finish(json, names.len()))
    });
    Ok(answer.await?)
}

fn strings(api: &Api, items: &[String]) -> Result<Response, ApiError> {
    let mut json = api.json_object();
    json.raw(r#""data":"#);
    json.strings(items)?;
    Ok(finish(json, items.len()))
}

fn required_service(form: &Form) -> Result<String, ApiError> {
    let service = form.get("service");
    if service.is_empty() {
        let reason = "a service is required".to_owned();
        return Err(ApiError::Parameter { name: "service", reason });
    }
    Ok(service.to_owned())
}

const TRACES_DEFAULT: usize = 100;
const NANOS_PER_MICRO: i64 = 1_000;
const DAY_NS: i64 = 24 * 3_600 * 1_000_000_000;

/// `/api/traces`: those with these ids, or those that match the form.
async fn search(State(api): State<Arc<Api>>, uri: Uri) -> Answer {
    let form = Form::new(&uri, &Default::default());
    let ids = form.all("traceID");
    if !ids.is_empty() {
        let ids = ids.iter().map(|id| tempo::trace_id(id)).collect::<Result<Vec<TraceId>, _>>()?;
        return Ok(run_query(&api, &form, move |api, budget| {
            let mut found = Vec::new();
            for id in &ids {
                found.push((*id, api.querier.trace(*id, budget).map_err(ApiError::Query)?));
            }
            traces_by_id(api, found)
        })
        .await?);
    }
    let asked = SpanForm {
        service: required_service(&form)?,
        operation: form.get("operation").to_owned(),
        tags: tags(&form)?,
        duration: DurationBounds {
            min: tempo::duration(&form, "minDuration")?,
            max: tempo::duration(&form, "maxDuration")?,
        },
    };
    let range = search_range(&form, api.clock.now_ns())?;
    let limit = match form.limit("limit")? {
        0 => TRACES_DEFAULT,
        limit => limit,
    };
    let answer = run_query(&api, &form, move |api, budget| {
        let traces = api.querier.find_traces(&asked, range, limit, budget).map_err(ApiError::Query)?;
        let mut json = api.json_object().within(budget);
        json.raw(r#""data":"#);
        json.list(&traces, |json, trace| json::push_trace(json, trace, &[]))?;
        Ok(finish(json, 0))
    });
    Ok(answer.await?)
}

/// `tags={"key":"value"}` and any number of `tag=key:value`.
fn tags(form: &Form) -> Result<Vec<(String, String)>, ApiError> {
    let mut tags = Vec::new();
    for text in form.all("tags").iter().filter(|text| !text.is_empty()) {
        let read: BTreeMap<String, String> = serde_json::from_str(text).map_err(|_| ApiError::Parameter {
            name: "tags",
            reason: format!("{} is not a JSON object of strings", quoted(text)),
        })?;
        tags.extend(read);
    }
    for text in form.all("tag") {
        let (key, value) = text.split_once(':').ok_or_else(|| ApiError::Parameter {
            name: "tag",
            reason: format!("{} is not key:value", quoted(&text)),
        })?;
        tags.push((key.to_owned(), value.to_owned()));
    }
    Ok(tags)
}

/// `start` and `end` in microseconds. Without an end, until now; without a start, as far back as `lookback` says, or two
/// days.
fn search_range(form: &Form, now: Nanos) -> Result<NanoRange, ApiError> {
    let end = whole(form, "end")?.map_or(now, |micros| micros.saturating_mul(NANOS_PER_MICRO));
    let start = match whole(form, "start")? {
        Some(micros) => micros.saturating_mul(NANOS_PER_MICRO),
        // Jaeger's own page sends "custom" beside a start and an end.
        None => end.saturating_sub(traceql::duration(form.get("lookback")).unwrap_or(2 * DAY_NS)),
    };
    if end < start {
        let reason = "end must not be before start".to_owned();
        return Err(ApiError::Parameter { name: "end", reason });
    }
    Ok(NanoRange::closed(start, end))
}

fn whole(form: &Form, name: &'static str) -> Result<Option<i64>, ApiError> {
    let text = form.get(name);
    if text.is_empty() {
        return Ok(None);
    }
    let reason = || format!("{} is not a whole number", quoted(text));
    text.parse().map(Some).map_err(|_| ApiError::Parameter { name, reason: reason() })
}

/// `/api/traces/<id>`, which is Tempo's for who accepts protobuf.
async fn by_id_or_tempo(
    State(api): State<Arc<Api>>,
    Path(id): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    if tempo::wants_protobuf(&headers) {
        return tempo::by_id_v1_protobuf(&api, &id, &uri).await.into_response();
    }
    by_id(State(api), Path(id), uri).await.into_response()
}

/// `/jaeger/api/traces/<id>`. `start` and `end` are hints where to look; the whole trace is found without them.
async fn by_id(State(api): State<Arc<Api>>, Path(id): Path<String>, uri: Uri) -> Answer {
    let (form, id) = (Form::new(&uri, &Default::default()), tempo::trace_id(&id)?);
    let answer = run_query(&api, &form, move |api, budget| {
        let found = api.querier.trace(id, budget).map_err(ApiError::Query)?;
        traces_by_id(api, vec![(id, found)])
    });
    Ok(answer.await?)
}

/// Grafana takes an empty list of traces badly: where none is found, the answer is 404 with an error for each.
fn traces_by_id(api: &Api, found: Vec<(TraceId, TraceById)>) -> Result<Response, ApiError> {
    let traces: Vec<(&Trace, &[String])> =
        found.iter().filter_map(|(_, f)| Some((f.trace.as_ref()?, &f.warnings[..]))).collect();
    let missing: Vec<TraceId> = found.iter().filter(|(_, f)| f.trace.is_none()).map(|(id, _)| *id).collect();
    let mut json = api.json_object();
    json.raw(r#""data":"#);
    match traces.is_empty() {
        true => _ = json.raw("null"),
        false => json.list(&traces, |json, (trace, warnings)| json::push_trace(json, trace, warnings))?,
    }
    if missing.is_empty() {
        return Ok(finish(json, 0));
    }
    json.raw(r#","total":0,"limit":0,"offset":0,"errors":"#);
    json.list(missing, |json, id| {
        json.raw(&format!(r#"{{"code":404,"msg":"trace not found","traceID":"{id}"}}"#));
        Ok(())
    })?;
    let mut response = json.finish(&[], &[]);
    if traces.is_empty() {
        *response.status_mut() = StatusCode::NOT_FOUND;
    }
    Ok(response)
}

/// `/api/dependencies`: `endTs` and `lookback` in milliseconds.
async fn dependencies(State(api): State<Arc<Api>>, uri: Uri) -> Answer {
    let form = Form::new(&uri, &Default::default());
    let end = whole(&form, "endTs")?.map_or(api.clock.now_ns(), |ms| ms.saturating_mul(NANOS_PER_MILLI));
    let lookback = whole(&form, "lookback")?.map_or(DAY_NS, |ms| ms.saturating_mul(NANOS_PER_MILLI));
    let range = NanoRange::closed(end.saturating_sub(lookback), end);
    let answer = run_query(&api, &form, move |api, budget| {
        let found = api.querier.trace_dependencies(range, budget).map_err(ApiError::Query)?;
        let mut json = api.json_object().within(budget);
        json.raw(r#""data":"#);
        json.list(&found, |json, dependency| {
            json.raw(r#"{"parent":"#);
            push_string(json.text(), &dependency.parent);
            json.raw(r#","child":"#);
            push_string(json.text(), &dependency.child);
            json.raw(&format!(r#","callCount":{}}}"#, dependency.calls));
            Ok(())
        })?;
        Ok(finish(json, 0))
    });
    Ok(answer.await?)
}
