//! `index/stats`, `index/volume` and `index/volume_range`: how much a selector covers.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Uri};

use super::Answer;
use super::params::{Bounds, Encoding, QUERY_SINCE_MS, positive};
use super::result::push_answer;
use crate::api::Api;
use crate::api::error::ApiError;
use crate::api::form::{Form, quoted};
use crate::api::prometheus::read_form;
use crate::api::run_query::run_query;
use crate::query::logs::{AggregateBy, Direction, VolumeQuery};

const VOLUMES_DEFAULT: usize = 100;

/// `/loki/api/v1/index/stats`: counts without an envelope.
pub async fn stats(State(api): State<Arc<Api>>, uri: Uri, headers: HeaderMap, body: Body) -> Answer {
    let form = read_form(&api, &uri, &headers, body).await?;
    let range = Bounds::of(&form, api.clock.now_ns(), QUERY_SINCE_MS)?.closed();
    let expr = form.get("query").to_owned();
    let answer = run_query(&api, &form, move |api, budget| {
        let stats = api.querier.log_stats(&expr, range, budget).map_err(ApiError::Query)?;
        let mut json = api.json_object().within(budget);
        json.raw(&format!(
            r#""streams":{},"chunks":{},"bytes":{},"entries":{}"#,
            stats.streams, stats.chunks, stats.bytes, stats.entries
        ));
        Ok(json.finish(&[], &[]))
    });
    Ok(answer.await?)
}

/// `/loki/api/v1/index/volume`: one total over the range.
pub async fn volume(State(api): State<Arc<Api>>, uri: Uri, headers: HeaderMap, body: Body) -> Answer {
    let form = read_form(&api, &uri, &headers, body).await?;
    let bounds = Bounds::of(&form, api.clock.now_ns(), QUERY_SINCE_MS)?;
    answer(&api, &form, bounds, 0).await
}

/// `/loki/api/v1/index/volume_range`: a point for each step.
pub async fn volume_range(State(api): State<Arc<Api>>, uri: Uri, headers: HeaderMap, body: Body) -> Answer {
    let form = read_form(&api, &uri, &headers, body).await?;
    let bounds = Bounds::of(&form, api.clock.now_ns(), QUERY_SINCE_MS)?;
    let step_ns = bounds.step_ns(&form)?;
    answer(&api, &form, bounds, step_ns).await
}

async fn answer(api: &Arc<Api>, form: &Form, bounds: Bounds, step_ns: i64) -> Answer {
    let request = VolumeQuery {
        expr: form.get("query").to_owned(),
        start: bounds.start,
        end: bounds.end,
        step_ns,
        limit: positive(form, "limit", VOLUMES_DEFAULT)?,
        target_labels: target_labels(form),
        aggregate_by: aggregate_by(form)?,
    };
    let answer = run_query(api, form, move |api, budget| {
        let answer = api.querier.log_volume(&request, budget).map_err(ApiError::Query)?;
        push_answer(api.json().within(budget), &answer, Encoding::Flat, Direction::Forward)
    });
    Ok(answer.await?)
}

fn target_labels(form: &Form) -> Vec<String> {
    let names = form.get("targetLabels").split(',').map(str::trim);
    names.filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

fn aggregate_by(form: &Form) -> Result<AggregateBy, ApiError> {
    match form.get("aggregateBy") {
        "" | "series" => Ok(AggregateBy::Series),
        "labels" => Ok(AggregateBy::Labels),
        other => Err(ApiError::Parameter {
            name: "aggregateBy",
            reason: format!("{} is neither series nor labels", quoted(other)),
        }),
    }
}
