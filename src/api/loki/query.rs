//! `query`, `query_range` and `format_query`.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Uri};

use super::Answer;
use super::params::{Bounds, Encoding, QUERY_SINCE_MS, direction, entries, interval_ns};
use super::result::push_answer;
use crate::api::Api;
use crate::api::error::ApiError;
use crate::api::form::Form;
use crate::api::json::push_string;
use crate::api::prometheus::read_form;
use crate::api::query_log::LogEntry;
use crate::api::run_query::run_logged_query;
use crate::model::nanos::to_millis;
use crate::query::logs::LogQuery;

/// `/loki/api/v1/query`: a metric expression at an instant.
pub async fn query(State(api): State<Arc<Api>>, uri: Uri, headers: HeaderMap, body: Body) -> Answer {
    let form = read_form(&api, &uri, &headers, body).await?;
    let time = form.nanos_or("time", api.clock.now_ns())?;
    let request = LogQuery {
        expr: form.get("query").to_owned(),
        start: time,
        end: time,
        step_ns: 0,
        interval_ns: 0,
        direction: direction(&form)?,
        limit: entries(&form)?,
        now: api.clock.now_ns(),
    };
    answer(&api, &form, request, Encoding::of(&headers)).await
}

/// `/loki/api/v1/query_range`: entries, or a metric expression at each step.
pub async fn query_range(State(api): State<Arc<Api>>, uri: Uri, headers: HeaderMap, body: Body) -> Answer {
    let form = read_form(&api, &uri, &headers, body).await?;
    let bounds = Bounds::of(&form, api.clock.now_ns(), QUERY_SINCE_MS)?;
    let request = LogQuery {
        expr: form.get("query").to_owned(),
        start: bounds.start,
        end: bounds.end,
        step_ns: bounds.step_ns(&form)?,
        interval_ns: interval_ns(&form)?,
        direction: direction(&form)?,
        limit: entries(&form)?,
        now: api.clock.now_ns(),
    };
    answer(&api, &form, request, Encoding::of(&headers)).await
}

async fn answer(api: &Arc<Api>, form: &Form, request: LogQuery, encoding: Encoding) -> Answer {
    let [start, end, step_ms] = [request.start, request.end, request.step_ns].map(to_millis);
    let entry = LogEntry::new(api, &request.expr, start, end, step_ms);
    let answer = run_logged_query(api, form, entry, move |api, budget, entry| {
        let result = api.querier.logs(&request, budget);
        if let Some(entry) = entry {
            entry.write(api, budget, result.as_ref().map(|_| None));
        }
        let answer = result.map_err(ApiError::Query)?;
        push_answer(api.json().within(budget), &answer, encoding, request.direction)
    });
    Ok(answer.await?)
}

/// `/loki/api/v1/format_query`: the expression as it is written best.
pub async fn format_query(State(api): State<Arc<Api>>, uri: Uri, headers: HeaderMap, body: Body) -> Answer {
    let form = read_form(&api, &uri, &headers, body).await?;
    let text = api.querier.format_logs(form.get("query")).map_err(ApiError::Query)?;
    let mut json = api.json();
    push_string(json.text(), &text);
    Ok(json.finish(&[], &[]))
}
