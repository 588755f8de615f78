//! What is scraped: ourselves, if anything.

use std::sync::Arc;

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use prometheus::proto::MetricType;
use serde_json::{Value, json};

use super::error::ApiError;
use super::form::Form;
use super::status::{rfc3339, success};
use super::{Api, SelfTarget};
use crate::model::Labels;

const POOL: &str = "icecore";

/// Go's time before all others, as Prometheus writes it.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// `/api/v1/targets`.
pub async fn targets(State(api): State<Arc<Api>>, uri: Uri) -> Response {
    let form = Form::new(&uri, &Default::default());
    let (state, pool) = (form.get("state").to_lowercase(), form.get("scrapePool"));
    let is_shown = matches!(state.as_str(), "" | "any" | "active") && matches!(pool, "" | POOL);
    let target = api.options.self_target.as_ref().filter(|_| is_shown);
    let active: Vec<Value> = target.map(|target| active(&api, target)).into_iter().collect();
    success(json!({"activeTargets": active, "droppedTargets": [], "droppedTargetCounts": {}}))
}

fn active(api: &Api, target: &SelfTarget) -> Value {
    let last = api.self_scrape.lock().clone();
    let last = last.as_ref();
    let health = last.map_or("unknown", |scrape| if scrape.error.is_empty() { "up" } else { "down" });
    json!({
        "discoveredLabels": {"__address__": target.address, "job": POOL},
        "labels": {"instance": target.address, "job": POOL},
        "scrapePool": POOL,
        "scrapeUrl": format!("http://{}/metrics", target.address),
        "globalUrl": format!("http://{}/metrics", target.address),
        "lastError": last.map_or("", |scrape| scrape.error.as_str()),
        "lastScrape": last.map_or_else(|| NEVER.to_owned(), |scrape| rfc3339(scrape.at)),
        "lastScrapeDuration": last.map_or(0.0, |scrape| scrape.took.as_secs_f64()),
        "health": health,
        "scrapeInterval": format!("{}s", target.interval.as_secs_f64()),
        "scrapeTimeout": format!("{}s", target.interval.as_secs_f64()),
    })
}

/// `/api/v1/targets/metadata`: type and help of our own metrics. The limit is asked once for each target.
pub async fn metadata(State(api): State<Arc<Api>>, uri: Uri) -> Result<Response, ApiError> {
    let form = Form::new(&uri, &Default::default());
    let (limit, metric, wanted) = (form.number("limit")?, form.get("metric"), form.all("match_target"));
    let wanted: Vec<String> = wanted.into_iter().filter(|text| !text.is_empty()).collect();
    let selectors = api.querier.selectors(&wanted).map_err(|e| ApiError::of_query("match_target", e))?;
    let is_wanted = |target: &&SelfTarget| {
        let labels = Labels::from_sorted([("instance", target.address.as_str()), ("job", POOL)]);
        let matches = selectors.iter().flatten().all(|matcher| matcher.matches(labels.get(&matcher.name)));
        matches && limit != Some(0)
    };
    let mut shown = Vec::new();
    if let Some(target) = api.options.self_target.as_ref().filter(is_wanted) {
        for family in api.registry.gather() {
            if !metric.is_empty() && metric != family.name() {
                continue;
            }
            let mut entry = json!({
                "target": {"instance": target.address, "job": POOL},
                "type": type_text(family.get_field_type()),
                "help": family.help(),
                "unit": "",
            });
            if metric.is_empty() {
                entry["metric"] = json!(family.name());
            }
            shown.push(entry);
        }
    }
    Ok(success(Value::Array(shown)))
}

fn type_text(kind: MetricType) -> &'static str {
    match kind {
        MetricType::COUNTER => "counter",
        MetricType::GAUGE => "gauge",
        MetricType::HISTOGRAM => "histogram",
        MetricType::SUMMARY => "summary",
        MetricType::UNTYPED => "unknown",
    }
}

/// `/api/v1/scrape_pools`.
pub async fn scrape_pools(State(api): State<Arc<Api>>) -> Response {
    let pools: Vec<&str> = api.options.self_target.iter().map(|_| POOL).collect();
    success(json!({"scrapePools": pools}))
}
