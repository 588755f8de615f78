//! `/api/v1/features`: what of Prometheus is here and switched on, by its own names.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde_json::json;

use super::Api;
use super::status::success;
use crate::query::Options;
use crate::query::promql::ast::{AggregateOp, BinaryOp};
use crate::query::promql::functions_table::FUNCTIONS;

type Switches = BTreeMap<&'static str, bool>;

pub async fn features(State(api): State<Arc<Api>>) -> Response {
    let options = api.querier.options();
    success(json!({
        "api": {
            "admin": api.options.admin_api,
            "exclude_alerts": true,
            "label_values_match": true,
            "lifecycle": false,
            "otlp_write_receiver": true,
            "query_stats": true,
            "query_warnings": true,
            "remote_write_receiver": true,
            "search": false,
            "time_range_labels": true,
            "time_range_series": true,
        },
        "otlp_receiver": {"delta_conversion": true, "native_delta_ingestion": false},
        "prometheus": {"agent_mode": false, "auto_reload_config": false, "server_mode": true},
        "promql": language(options),
        "promql_functions": functions(options),
        "promql_operators": operators(options),
        "tsdb": {"exemplar_storage": true, "native_histograms": true, "st_storage": true},
    }))
}

fn language(options: &Options) -> Switches {
    const KEYWORDS: [&str; 8] =
        ["bool", "by", "group_left", "group_right", "ignoring", "offset", "on", "without"];
    let mut switches: Switches = KEYWORDS.map(|keyword| (keyword, true)).into();
    switches.extend([
        ("anchored", options.extended_range_selectors),
        ("smoothed", options.extended_range_selectors),
        ("fill", options.fill_modifiers),
        ("fill_left", options.fill_modifiers),
        ("fill_right", options.fill_modifiers),
        ("at_modifier", true),
        ("delayed_name_removal", options.delayed_name_removal),
        ("duration_expr", true),
        ("negative_offset", true),
        ("per_query_lookback_delta", true),
        ("per_step_stats", options.per_step_stats),
        ("subqueries", true),
        ("type_and_unit_labels", false),
    ]);
    switches
}

fn functions(options: &Options) -> Switches {
    let is_on = |is_experimental: bool| !is_experimental || options.experimental_functions;
    FUNCTIONS.iter().map(|function| (function.name, is_on(function.is_experimental))).collect()
}

fn operators(options: &Options) -> Switches {
    let aggregators = AggregateOp::ALL
        .iter()
        .map(|op| (op.text(), !op.is_experimental() || options.experimental_functions));
    BinaryOp::ALL.iter().map(|op| (op.text(), true)).chain(aggregators).collect()
}
