//! Rules and alerts, of which there are none: their parameters are read as Prometheus reads them.

use std::sync::Arc;

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use serde_json::json;

use super::Api;
use super::error::ApiError;
use super::form::{Form, parse_whole, quoted};
use super::status::success;

/// `/api/v1/rules`.
pub async fn rules(State(api): State<Arc<Api>>, uri: Uri) -> Result<Response, ApiError> {
    let form = Form::new(&uri, &Default::default());
    api.querier.selectors(&form.all("match[]")).map_err(ApiError::Query)?;
    let kind = form.get("type").to_lowercase();
    if !matches!(kind.as_str(), "" | "alert" | "record") {
        return Err(refused("type", format!("not supported value {}", quoted(&kind))));
    }
    check_bool(&form)?;
    check_page(&form)?;
    Ok(success(json!({"groups": []})))
}

fn refused(name: &'static str, reason: String) -> ApiError {
    ApiError::Parameter { name, reason }
}

/// `exclude_alerts`, in any of Go's ways to write a truth.
fn check_bool(form: &Form) -> Result<(), ApiError> {
    let text = form.get("exclude_alerts").to_lowercase();
    if matches!(text.as_str(), "" | "1" | "t" | "true" | "0" | "f" | "false") {
        return Ok(());
    }
    let problem = format!("strconv.ParseBool: parsing {}: invalid syntax", quoted(&text));
    Err(refused("exclude_alerts", format!("error converting exclude_alerts: {problem}")))
}

/// `group_limit` and `group_next_token`.
fn check_page(form: &Form) -> Result<(), ApiError> {
    let (limit, token) = (form.get("group_limit"), form.get("group_next_token"));
    if limit.is_empty() {
        let reason = "group_limit needs to be present in order to paginate over the groups".to_owned();
        return if token.is_empty() { Ok(()) } else { Err(refused("group_next_token", reason)) };
    }
    let number = parse_whole(limit).map_err(|reason| {
        let reason = reason.replace("Atoi", "ParseInt");
        refused("group_limit", format!("group_limit needs to be a valid number: {reason}"))
    })?;
    if number <= 0 {
        return Err(refused("group_limit", "group_limit needs to be greater than 0".to_owned()));
    }
    if !token.is_empty() {
        let reason = format!("invalid group_next_token '{token}'. were rule groups changed?");
        return Err(refused("group_next_token", reason));
    }
    Ok(())
}

pub async fn alerts() -> Response {
    success(json!({"alerts": []}))
}

pub async fn alertmanagers() -> Response {
    success(json!({"activeAlertmanagers": [], "droppedAlertmanagers": []}))
}
