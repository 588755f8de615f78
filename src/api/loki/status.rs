//! What Grafana asks about the server itself before it asks for logs.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::api::Api;
use crate::api::status::build;
use crate::ingest::SERVICE_NAME_LABELS;

/// The version of Loki whose API this is: Grafana and Drilldown decide by it what they may ask.
const API_VERSION: &str = "3.7.6";

/// Names of labels and fields that tell an entry's level, which Drilldown colours lines by.
const LEVEL_FIELDS: [&str; 6] = ["level", "log.level", "log_level", "loglevel", "lvl", "severity"];

fn plain_json(value: Value) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], value.to_string()).into_response()
}

/// `/loki/api/v1/status/buildinfo`.
pub async fn buildinfo() -> Response {
    plain_json(build(API_VERSION))
}

/// `/ready`.
pub async fn ready(State(api): State<Arc<Api>>) -> Response {
    if api.is_draining() {
        return (StatusCode::SERVICE_UNAVAILABLE, "Icecore is shutting down.\n").into_response();
    }
    "ready\n".into_response()
}

/// `/loki/api/v1/drilldown-limits`: what Logs Drilldown adapts itself to. `0s` and `0B` are no limit.
pub async fn drilldown_limits(State(api): State<Arc<Api>>) -> Response {
    let setting = |key: &str| {
        let found = api.options.settings.iter().find(|(name, _)| *name == key);
        found.map_or("", |(_, value)| value.as_str())
    };
    plain_json(json!({
        "limits": {
            "retention_period": setting("retention.logs"),
            "query_timeout": setting("query.timeout"),
            "max_query_series": api.options.query_limits.series_max,
            "max_query_length": "0s",
            "max_query_lookback": "0s",
            "max_query_range": "0s",
            "max_query_bytes_read": "0B",
            "max_line_size_truncate": false,
            "max_entries_limit_per_query": 5_000,
            "discover_service_name": SERVICE_NAME_LABELS,
            "discover_log_levels": true,
            "log_level_fields": LEVEL_FIELDS,
            "volume_enabled": true,
            "volume_max_series": 1_000,
        },
        "pattern_ingester_enabled": false,
        "version": API_VERSION,
    }))
}
