//! Prometheus's query API: parameters in, `Querier` asked, JSON out.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};

use super::Api;
use super::error::ApiError;
use super::form::{Form, quoted};
use super::json::{JsonWriter, push_labels, push_string};
use super::limits::{content_encoding, read_body};
use super::number::{push_sample, push_timestamp};
use super::query_log::LogEntry;
use super::query_stats::StatsWish;
use super::result::push_answer;
use super::run_query::{run_in_one_piece, run_logged_query, run_query};
use crate::ingest::Encoding;
use crate::model::{Matcher, TimeRange};
use crate::query::{self, Budget, InstantQuery, Listing, QueryError, QueryStats, RangeQuery};

pub type Answer = Result<Response, ApiError>;

/// Prometheus's, so that a line on a screen has a few points for each pixel and no more.
const POINTS_MAX: i64 = 11_000;

/// `/api/v1/query`.
pub async fn query(State(api): State<Arc<Api>>, uri: Uri, headers: HeaderMap, body: Body) -> Answer {
    let form = read_form(&api, &uri, &headers, body).await?;
    let (limit, stats, strict) = (form.limit("limit")?, StatsWish::of(&form), form.flag("strict")?);
    let request = InstantQuery {
        time: form.time_or("time", api.clock.now_ms())?,
        expr: form.get("query").to_owned(),
        lookback_ms: form.lookback()?,
        limit,
        per_step_stats: stats.per_step,
        strict,
    };
    let entry = LogEntry::new(&api, &request.expr, request.time, request.time, 0);
    run_logged_query(&api, &form, entry, move |api, budget, entry| {
        let result = api.querier.instant(&request, budget);
        finish_query(api, budget, entry, &stats, result)
    })
    .await
}

/// `/api/v1/query_range`.
pub async fn query_range(State(api): State<Arc<Api>>, uri: Uri, headers: HeaderMap, body: Body) -> Answer {
    let form = read_form(&api, &uri, &headers, body).await?;
    let (limit, stats, strict) = (form.limit("limit")?, StatsWish::of(&form), form.flag("strict")?);
    let (start, end) = (form.time("start")?, form.time("end")?);
    if end < start {
        let reason = "end timestamp must not be before start time".to_owned();
        return Err(ApiError::Parameter { name: "end", reason });
    }
    let step_ms = form.duration("step")?;
    if step_ms <= 0 {
        let reason = "zero or negative query resolution step widths are not accepted. Try a positive integer"
            .to_owned();
        return Err(ApiError::Parameter { name: "step", reason });
    }
    if end.saturating_sub(start) / step_ms > POINTS_MAX {
        return Err(ApiError::BadData(
            "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution \
             (?step=XX)"
                .to_owned(),
        ));
    }
    let request = RangeQuery {
        expr: form.get("query").to_owned(),
        start,
        end,
        step_ms,
        lookback_ms: form.lookback()?,
        limit,
        per_step_stats: stats.per_step,
        strict,
    };
    let asks_cache = !form.flag("nocache")? && !stats.any && api.range_cache.keeps_any();
    let entry = LogEntry::new(&api, &request.expr, start, end, step_ms);
    run_logged_query(&api, &form, entry, move |api, budget, entry| {
        if asks_cache {
            let found = api.range_cache.find(&api.querier, &request, budget);
            log_query(api, budget, entry, found.as_ref().map(|found| &found.stats));
            let found = found.map_err(|e| ApiError::of_query("query", e))?;
            return found.respond(api.json().within(budget), request.limit);
        }
        let result = api.querier.range(&request, budget);
        finish_query(api, budget, entry, &stats, result)
    })
    .await
}

fn finish_query(
    api: &Api,
    budget: &Budget,
    entry: Option<LogEntry>,
    stats: &StatsWish,
    result: Result<query::Answer, QueryError>,
) -> Answer {
    log_query(api, budget, entry, result.as_ref().map(|answer| &answer.stats));
    let answer = result.map_err(|e| ApiError::of_query("query", e))?;
    push_answer(api.json().within(budget), answer, stats)
}

fn log_query(api: &Api, budget: &Budget, entry: Option<LogEntry>, result: Result<&QueryStats, &QueryError>) {
    // What Prometheus refuses before it runs anything it does not log either.
    if let Some(entry) = entry.filter(|_| !matches!(result, Err(QueryError::BadData(_)))) {
        entry.write(api, budget, result.map(Some));
    }
}

/// `/api/v1/series`.
pub async fn series(State(api): State<Arc<Api>>, uri: Uri, headers: HeaderMap, body: Body) -> Answer {
    let form = read_form(&api, &uri, &headers, body).await?;
    let texts = form.all("match[]");
    if texts.is_empty() {
        return Err(ApiError::BadData("no match[] parameter provided".to_owned()));
    }
    let (range, limit) = (form.range()?, form.limit("limit")?);
    let selectors = api.querier.selectors(&texts).map_err(|e| ApiError::of_query("match[]", e))?;
    run_query(&api, &form, move |api, budget| {
        let found = api.querier.series(&selectors, range, limit, budget).map_err(ApiError::Query)?;
        let mut json = api.json().within(budget);
        json.list(&found.items, |json, labels| {
            push_labels(json.text(), labels);
            Ok(())
        })?;
        Ok(finish(json, found))
    })
    .await
}

/// `/api/v1/labels`.
pub async fn labels(State(api): State<Arc<Api>>, uri: Uri, headers: HeaderMap, body: Body) -> Answer {
    let form = read_form(&api, &uri, &headers, body).await?;
    let (range, limit) = (form.range()?, form.limit("limit")?);
    let selectors = selectors(&api, &form)?;
    run_query(&api, &form, move |api, budget| {
        let found = api.querier.label_names(&selectors, range, limit, budget).map_err(ApiError::Query)?;
        let mut json = api.json().within(budget);
        json.strings(&found.items)?;
        Ok(finish(json, found))
    })
    .await
}

/// `/api/v1/label/<name>/values`; the name may be escaped as `U__…`.
pub async fn label_values(
    State(api): State<Arc<Api>>,
    Path(name): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let form = read_form(&api, &uri, &headers, body).await?;
    let (range, limit) = (form.range()?, form.limit("limit")?);
    let selectors = selectors(&api, &form)?;
    let name = unescape_name(&name).unwrap_or(name);
    if name.is_empty() {
        return Err(ApiError::BadData(format!("invalid label name: {}", quoted(&name))));
    }
    run_query(&api, &form, move |api, budget| {
        let found =
            api.querier.label_values(&name, &selectors, range, limit, budget).map_err(ApiError::Query)?;
        let mut json = api.json().within(budget);
        json.strings(&found.items)?;
        Ok(finish(json, found))
    })
    .await
}

/// `/api/v1/metadata`.
pub async fn metadata(State(api): State<Arc<Api>>, uri: Uri) -> Answer {
    let form = Form::new(&uri, &Default::default());
    let (limit, limit_per_metric) = (form.number("limit")?, form.number("limit_per_metric")?);
    let metric = Some(form.get("metric").to_owned()).filter(|metric| !metric.is_empty());
    let or_all = |limit: Option<i64>| limit.and_then(|n| usize::try_from(n).ok()).unwrap_or(usize::MAX);
    let (families_max, entries_max) = (or_all(limit), or_all(limit_per_metric.filter(|n| *n > 0)));
    run_in_one_piece(&api, &form, move |api| {
        let families = api.querier.metadata(metric.as_deref());
        let mut json = api.json();
        json.raw("{");
        for (i, (family, entries)) in families.iter().take(families_max).enumerate() {
            json.raw(if i > 0 { "," } else { "" });
            push_string(json.text(), family);
            json.raw(":");
            json.list(entries.iter().take(entries_max), |json, entry| {
                for (key, value) in [
                    ("{\"type\":", entry.metric_type.as_str()),
                    (",\"help\":", &entry.help),
                    (",\"unit\":", &entry.unit),
                ] {
                    json.raw(key);
                    push_string(json.text(), value);
                }
                json.raw("}");
                Ok(())
            })?;
        }
        json.raw("}");
        Ok(json.finish(&[], &[]))
    })
    .await
}

/// `/api/v1/query_exemplars`.
pub async fn query_exemplars(
    State(api): State<Arc<Api>>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let form = read_form(&api, &uri, &headers, body).await?;
    let (start, end) =
        (form.time_or("start", TimeRange::ALL.after)?, form.time_or("end", TimeRange::ALL.until)?);
    if end < start {
        return Err(ApiError::BadData("end timestamp must not be before start timestamp".to_owned()));
    }
    let range = TimeRange::closed(start, end);
    let expr = form.get("query").to_owned();
    run_query(&api, &form, move |api, budget| {
        let Some(found) = api.querier.exemplars(&expr, range, budget).map_err(ApiError::Query)? else {
            return Ok(StatusCode::NO_CONTENT.into_response());
        };
        let mut json = api.json().within(budget);
        json.list(found.iter().filter(|series| !series.exemplars.is_empty()), |json, series| {
            json.raw("{\"seriesLabels\":");
            push_labels(json.text(), &series.labels);
            json.raw(",\"exemplars\":");
            json.list(&series.exemplars, |json, exemplar| {
                json.raw("{\"labels\":");
                push_labels(json.text(), &exemplar.labels);
                json.raw(",\"value\":\"");
                push_sample(json.text(), exemplar.value);
                json.raw("\",\"timestamp\":");
                push_timestamp(json.text(), exemplar.timestamp);
                json.raw("}");
                Ok(())
            })?;
            json.raw("}");
            Ok(())
        })?;
        Ok(json.finish(&[], &[]))
    })
    .await
}

impl Api {
    /// An answer that will succeed, unless it grows too long.
    pub fn json(&self) -> JsonWriter {
        JsonWriter::success(self.options.response_bytes_max, &self.answers)
    }

    /// The same for an answer without an envelope.
    pub fn json_object(&self) -> JsonWriter {
        JsonWriter::object(self.options.response_bytes_max, &self.answers)
    }
}

/// The parameters of a request, wherever they stand.
pub async fn read_form(api: &Api, uri: &Uri, headers: &HeaderMap, body: Body) -> Result<Form, ApiError> {
    let body = read_body(api, body).await?;
    // Compressed, it would be read as a form without parameters, and the error would name the wrong thing.
    if !body.is_empty() && !matches!(content_encoding(headers), Ok(Encoding::Identity)) {
        let reason = "content-encoding of a form is not supported: send it uncompressed";
        return Err(ApiError::UnsupportedMedia(reason.to_owned()));
    }
    Ok(Form::new(uri, &body))
}

fn selectors(api: &Api, form: &Form) -> Result<Vec<Vec<Matcher>>, ApiError> {
    api.querier.selectors(&form.all("match[]")).map_err(ApiError::Query)
}

fn finish<T>(json: JsonWriter, listing: Listing<T>) -> Response {
    let mut warnings = listing.warnings;
    if listing.truncated {
        warnings.push("results truncated due to limit".to_owned());
    }
    json.finish(&warnings, &[])
}

/// The name behind `U__my_2e_name`; `None` where the text is no such escape and means itself.
fn unescape_name(text: &str) -> Option<String> {
    let mut rest = text.strip_prefix("U__")?;
    let mut name = String::new();
    while let Some(at) = rest.find('_') {
        name.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let end = rest.find('_')?;
        match &rest[..end] {
            "" => name.push('_'),
            hex if hex.len() <= 6 && hex.bytes().all(|b| b.is_ascii_hexdigit()) => {
                name.push(char::from_u32(u32::from_str_radix(hex, 16).ok()?)?);
            }
            _ => return None,
        }
        rest = &rest[end + 1..];
    }
    name.push_str(rest);
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaped_names_are_read_and_others_mean_themselves() {
        for (text, name) in [
            ("U__my_2e_name", Some("my.name")),
            ("U__a__b", Some("a_b")),
            ("U___20ac_", Some("€")),
            ("U__a_1f600_", Some("a😀")),
            ("U__a_zz_", None),
            ("U__a_2e", None),
            ("U__a_d800_", None),
            ("U__a_1234567_", None),
            ("job", None),
        ] {
            assert_eq!(unescape_name(text).as_deref(), name, "{text}");
        }
    }
}
