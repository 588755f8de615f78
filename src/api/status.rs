//! `/api/v1/status/*`, and the lists that are true and mostly empty: rules, alerts, targets.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::Api;
use crate::model::Timestamp;

/// Go's time before all others, as Prometheus writes it.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// The version of Prometheus whose API this is: Grafana decides by it what it may ask.
const API_VERSION: &str = "3.14.0";

/// `data` in the envelope of success.
pub fn success(data: Value) -> Response {
    let body = format!(r#"{{"status":"success","data":{data}}}"#);
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

fn rfc3339(timestamp: Timestamp) -> String {
    jiff::Timestamp::from_millisecond(timestamp).map_or_else(|_| String::new(), |time| time.to_string())
}

/// No `features` key: Grafana takes whoever has one for another product.
pub async fn buildinfo() -> Response {
    success(json!({
        "version": API_VERSION,
        "revision": format!("icecore-{}", env!("CARGO_PKG_VERSION")),
        "branch": "",
        "buildUser": "",
        "buildDate": "",
        "goVersion": "",
    }))
}

pub async fn runtimeinfo(State(api): State<Arc<Api>>) -> Response {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    success(json!({
        "startTime": rfc3339(api.options.started_at),
        "CWD": std::env::current_dir().map_or_else(|_| String::new(), |dir| dir.display().to_string()),
        "serverTime": rfc3339(api.clock.now_ms()),
        "reloadConfigSuccess": true,
        "lastConfigTime": rfc3339(api.options.started_at),
        "corruptionCount": api.store.stats().damaged_wal_records,
        "GOMAXPROCS": threads,
        "storageRetention": api.options.retention,
    }))
}

pub async fn flags(State(api): State<Arc<Api>>) -> Response {
    let flags = api.options.settings.iter().map(|(key, value)| ((*key).to_owned(), json!(value)));
    success(Value::Object(flags.collect()))
}

/// The configuration in force, as TOML with dotted keys.
pub async fn config(State(api): State<Arc<Api>>) -> Response {
    let lines: String =
        api.options.settings.iter().map(|(key, value)| format!("{key} = {value:?}\n")).collect();
    success(json!({"yaml": lines}))
}

pub async fn rules() -> Response {
    success(json!({"groups": []}))
}

pub async fn alerts() -> Response {
    success(json!({"alerts": []}))
}

pub async fn alertmanagers() -> Response {
    success(json!({"activeAlertmanagers": [], "droppedAlertmanagers": []}))
}

pub async fn targets(State(api): State<Arc<Api>>) -> Response {
    let last = api.self_scrape.lock().clone();
    let last = last.as_ref();
    let health = last.map_or("unknown", |scrape| if scrape.error.is_empty() { "up" } else { "down" });
    let active: Vec<Value> = api
        .options
        .self_target
        .iter()
        .map(|target| {
            json!({
                "discoveredLabels": {"__address__": target.address, "job": "icecore"},
                "labels": {"instance": target.address, "job": "icecore"},
                "scrapePool": "icecore",
                "scrapeUrl": format!("http://{}/metrics", target.address),
                "globalUrl": format!("http://{}/metrics", target.address),
                "lastError": last.map_or("", |scrape| scrape.error.as_str()),
                "lastScrape": last.map_or_else(|| NEVER.to_owned(), |scrape| rfc3339(scrape.at)),
                "lastScrapeDuration": last.map_or(0.0, |scrape| scrape.took.as_secs_f64()),
                "health": health,
                "scrapeInterval": format!("{}s", target.interval.as_secs_f64()),
                "scrapeTimeout": format!("{}s", target.interval.as_secs_f64()),
            })
        })
        .collect();
    success(json!({"activeTargets": active, "droppedTargets": [], "droppedTargetCounts": {}}))
}
