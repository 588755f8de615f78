//! `/api/v1/status/*`: what the server is and how it was started.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::Api;
use crate::model::{Timestamp, time};
use crate::storage::{Deletion, TierStatus};

/// The version of Prometheus whose API this is: Grafana decides by it what it may ask.
const API_VERSION: &str = "3.14.0";

/// `data` in the envelope of success.
pub fn success(data: Value) -> Response {
    let body = format!(r#"{{"status":"success","data":{data}}}"#);
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

pub fn rfc3339(timestamp: Timestamp) -> String {
    jiff::Timestamp::from_millisecond(timestamp).map_or_else(|_| String::new(), |time| time.to_string())
}

/// No `features` key: Grafana takes whoever has one for another product.
pub async fn buildinfo() -> Response {
    success(build(API_VERSION))
}

/// What `buildinfo` tells where the API is that of another's server of this version.
pub fn build(version: &str) -> Value {
    json!({
        "version": version,
        "revision": format!("icecore-{}", env!("CARGO_PKG_VERSION")),
        "branch": "",
        "buildUser": "",
        "buildDate": "",
        "goVersion": "",
    })
}

/// Of Go's runtime there is nothing to tell: threads stand for goroutines, and nothing limits its memory.
pub async fn runtimeinfo(State(api): State<Arc<Api>>) -> Response {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    success(json!({
        "startTime": rfc3339(api.options.started_at),
        "CWD": std::env::current_dir().map_or_else(|_| String::new(), |dir| dir.display().to_string()),
        "hostname": from_kernel("/proc/sys/kernel/hostname").trim(),
        "serverTime": rfc3339(api.clock.now_ms()),
        "reloadConfigSuccess": true,
        "lastConfigTime": rfc3339(api.options.started_at),
        "corruptionCount": api.store.stats().damaged_wal_records,
        "goroutineCount": threads(),
        "GOMAXPROCS": cores,
        "GOMEMLIMIT": i64::MAX,
        "GOGC": "",
        "GODEBUG": "",
        "storageRetention": api.options.retention,
    }))
}

/// Those of this process; 0 where the system does not tell.
fn threads() -> u64 {
    let status = from_kernel("/proc/self/status");
    let count = status.lines().find_map(|line| line.strip_prefix("Threads:"));
    count.and_then(|count| count.trim().parse().ok()).unwrap_or(0)
}

/// What the kernel tells; nothing where it does not.
fn from_kernel(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
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

/// What each tier holds, oldest and newest, and what is still to be rolled up.
pub async fn tiers(State(api): State<Arc<Api>>) -> Response {
    let (status, stats) = (api.store.status(api.clock.now_ms()), api.store.stats());
    let tier = |tier: &TierStatus| {
        json!({
            "signal": tier.signal.name(),
            "tier": tier.name,
            "resolution": resolution(tier.resolution_ms),
            "kept": duration(tier.retention_ms),
            "directory": tier.dir.display().to_string(),
            "segments": tier.segments,
            "bytes": tier.bytes,
            "rows": tier.rows,
            "bytesPerRow": (tier.rows > 0).then(|| tier.bytes as f64 / tier.rows as f64),
            "oldest": tier.times.map(|times| rfc3339(times.after.saturating_add(1))),
            "newest": tier.times.map(|times| rfc3339(times.until)),
        })
    };
    let deletion = |deletion: &Deletion| {
        json!({
            "match": deletion.selectors,
            "start": rfc3339(deletion.range.after.saturating_add(1)),
            "end": rfc3339(deletion.range.until),
        })
    };
    success(json!({
        "tiers": status.tiers.iter().map(tier).collect::<Vec<_>>(),
        "unsealed": {"rows": stats.unsealed_samples, "bytes": stats.unsealed_bytes},
        "backlog": {
            "days": status.days_to_roll_up.len(),
            // A day is named by its end.
            "oldest": status.days_to_roll_up.first().map(|day| rfc3339(day.saturating_sub(time::DAY))),
        },
        // Hidden, and still in files.
        "tombstones": status.tombstones.iter().map(deletion).collect::<Vec<_>>(),
    }))
}

fn resolution(ms: i64) -> String {
    if ms == 0 { "raw".to_owned() } else { duration(ms) }
}

/// As options are written: the largest units first.
fn duration(ms: i64) -> String {
    let mut rest = ms;
    let mut text = String::new();
    for (name, unit) in
        [("d", time::DAY), ("h", time::HOUR), ("m", time::MINUTE), ("s", time::SECOND), ("ms", 1)]
    {
        if rest >= unit {
            text += &format!("{}{name}", rest / unit);
            rest %= unit;
        }
    }
    text
}

/// The log is replayed before anybody is listened to.
pub async fn walreplay() -> Response {
    success(json!({"min": 0, "max": 0, "current": 0}))
}

pub async fn notifications() -> Response {
    success(json!([]))
}

/// There will be none: who waits for them need not come back.
pub async fn live_notifications() -> StatusCode {
    StatusCode::NO_CONTENT
}
