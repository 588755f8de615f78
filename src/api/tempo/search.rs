//! `/api/search`: traces that match, in the members that Grafana's strict reader knows.

use std::sync::Arc;

use axum::extract::State;
use axum::http::Uri;

use super::jsonpb::push_value;
use super::{Answer, duration, number, range};
use crate::api::Api;
use crate::api::error::ApiError;
use crate::api::form::Form;
use crate::api::json::{JsonWriter, push_string};
use crate::api::query_log::LogEntry;
use crate::api::run_query::run_logged_query;
use crate::model::nanos::to_millis;
use crate::query::traceql::Value;
use crate::query::traces::{DurationBounds, FoundSpan, FoundSpanset, FoundTrace, TraceFilter, TraceQuery};

const TRACES_DEFAULT: usize = 20;
const SPANS_PER_SPANSET_DEFAULT: usize = 3;

/// `/api/search`.
pub async fn search(State(api): State<Arc<Api>>, uri: Uri) -> Answer {
    let form = Form::new(&uri, &Default::default());
    let request = request(&form)?;
    let text = if form.get("q").is_empty() { form.get("tags") } else { form.get("q") };
    let [start, end] = [request.range.after, request.range.until].map(to_millis);
    let entry = LogEntry::new(&api, text, start, end, 0);
    let answer = run_logged_query(&api, &form, entry, move |api, budget, entry| {
        let result = api.querier.search_traces(&request, budget);
        if let Some(entry) = entry {
            entry.write(api, budget, result.as_ref().map(|_| None));
        }
        let answer = result.map_err(ApiError::Query)?;
        let mut json = api.json_object().within(budget);
        json.raw(r#""traces":"#);
        json.list(&answer.traces, push_trace)?;
        let inspected = answer.inspected;
        json.raw(&format!(r#","metrics":{{"inspectedTraces":{inspected},"completedJobs":1,"totalJobs":1}}"#));
        Ok(json.finish(&[], &[]))
    });
    Ok(answer.await?)
}

fn request(form: &Form) -> Result<TraceQuery, ApiError> {
    let bounds = DurationBounds { min: duration(form, "minDuration")?, max: duration(form, "maxDuration")? };
    let (q, tags) = (form.get("q"), form.get("tags"));
    let what = if q.trim().is_empty() {
        TraceFilter::Tags { tags: tags.to_owned(), duration: bounds }
    } else {
        TraceFilter::TraceQl(q.to_owned())
    };
    Ok(TraceQuery {
        what,
        range: range(form)?,
        limit: number(form, "limit", 1, TRACES_DEFAULT)?,
        spans_per_spanset: number(form, "spss", 0, SPANS_PER_SPANSET_DEFAULT)?,
    })
}

fn push_trace(json: &mut JsonWriter, trace: &FoundTrace) -> Result<(), ApiError> {
    json.raw(&format!(r#"{{"traceID":"{}","rootServiceName":"#, trace.id));
    push_string(json.text(), &trace.root_service);
    json.raw(r#","rootTraceName":"#);
    push_string(json.text(), &trace.root_name);
    let duration_ms = u32::try_from(trace.duration_ns / 1_000_000).unwrap_or(u32::MAX);
    json.raw(&format!(r#","startTimeUnixNano":"{}","durationMs":{duration_ms}"#, trace.start));
    // The first stands here, too, for clients from before there were several.
    if let Some(first) = trace.spansets.first() {
        json.raw(r#","spanSet":"#);
        push_spanset(json, first)?;
    }
    json.raw(r#","spanSets":"#);
    json.list(&trace.spansets, push_spanset)?;
    json.raw(r#","serviceStats":{"#);
    for (i, (service, stats)) in trace.services.iter().enumerate() {
        json.raw(if i > 0 { "," } else { "" });
        push_string(json.text(), service);
        json.raw(&format!(r#":{{"spanCount":{},"errorCount":{}}}"#, stats.spans, stats.errors));
        json.checkpoint()?;
    }
    json.raw("}}");
    Ok(())
}

fn push_spanset(json: &mut JsonWriter, set: &FoundSpanset) -> Result<(), ApiError> {
    json.raw(r#"{"spans":"#);
    json.list(&set.spans, push_span)?;
    json.raw(&format!(r#","matched":{}"#, set.matched));
    push_attributes(json, &set.attributes)?;
    json.raw("}");
    Ok(())
}

fn push_span(json: &mut JsonWriter, span: &FoundSpan) -> Result<(), ApiError> {
    json.raw(&format!(r#"{{"spanID":"{}","name":"#, span.id));
    push_string(json.text(), &span.name);
    let (start, duration) = (span.start, span.duration_ns);
    json.raw(&format!(r#","startTimeUnixNano":"{start}","durationNanos":"{duration}""#));
    push_attributes(json, &span.attributes)?;
    json.raw("}");
    Ok(())
}

fn push_attributes(json: &mut JsonWriter, attributes: &[(String, Value)]) -> Result<(), ApiError> {
    if attributes.is_empty() {
        return Ok(());
    }
    json.raw(r#","attributes":"#);
    json.list(attributes, |json, (key, value)| {
        json.raw(r#"{"key":"#);
        push_string(json.text(), key);
        json.raw(r#","value":"#);
        push_value(json.text(), value);
        json.raw("}");
        Ok(())
    })
}
