//! What every request passes: counting, CORS, the tenant header, and answers where no route is.

use std::any::Any;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry};
use tower_http::compression::predicate::{NotForContentType, Predicate, SizeAbove};

use super::Api;
use super::error::ApiError;
use super::form::quoted;

pub struct HttpMetrics {
    requests: IntCounterVec,
    seconds: HistogramVec,
}

impl HttpMetrics {
    pub fn new(registry: &Registry) -> HttpMetrics {
        const ONCE: &str = "the name is valid and registered once";
        let requests = IntCounterVec::new(
            Opts::new("icecore_http_requests_total", "HTTP requests answered."),
            &["handler", "code"],
        )
        .expect(ONCE);
        let seconds = HistogramVec::new(
            HistogramOpts::new(
                "icecore_http_request_duration_seconds",
                "Time to the first byte of the answer.",
            )
            .buckets(vec![0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0]),
            &["handler"],
        )
        .expect(ONCE);
        registry.register(Box::new(requests.clone())).expect(ONCE);
        registry.register(Box::new(seconds.clone())).expect(ONCE);
        HttpMetrics { requests, seconds }
    }
}

/// Counts and times the request under its route, never under its path, of which there are endlessly many.
pub async fn measure(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    let path = request.extensions().get::<MatchedPath>().cloned();
    let started = Instant::now();
    let response = next.run(request).await;
    let handler = path.as_ref().map_or("none", MatchedPath::as_str);
    api.metrics.requests.with_label_values(&[handler, response.status().as_str()]).inc();
    api.metrics.seconds.with_label_values(&[handler]).observe(started.elapsed().as_secs_f64());
    response
}

/// Prometheus's CORS headers, for whoever names an origin; it answers OPTIONS to anybody.
pub async fn cors(request: Request, next: Next) -> Response {
    let has_origin = request.headers().contains_key(header::ORIGIN);
    let is_prometheus = request.uri().path().starts_with("/api/v1/");
    let mut response = match *request.method() {
        Method::OPTIONS if has_origin || is_prometheus => StatusCode::NO_CONTENT.into_response(),
        _ => next.run(request).await,
    };
    if !has_origin {
        return response;
    }
    let headers = response.headers_mut();
    for (name, value) in [
        (header::ACCESS_CONTROL_ALLOW_HEADERS, "Accept, Authorization, Content-Type, Origin"),
        (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, POST, OPTIONS"),
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (header::ACCESS_CONTROL_EXPOSE_HEADERS, "Date"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.append(header::VARY, HeaderValue::from_static("Origin"));
    response
}

const TENANT: &str = "x-scope-orgid";
const TENANT_BYTES_MAX: usize = 64;

/// There is one tenant; a name for it is accepted, and must be one that later versions can keep.
pub async fn check_tenant(request: Request, next: Next) -> Response {
    if is_tenant_valid(request.headers()) {
        return next.run(request).await;
    }
    ApiError::BadData(format!(
        "invalid tenant: X-Scope-OrgID must be 1 to {TENANT_BYTES_MAX} of A-Z a-z 0-9 . _ -"
    ))
    .into_response()
}

fn is_tenant_valid(headers: &HeaderMap) -> bool {
    let is_name_byte = |b: &u8| b.is_ascii_alphanumeric() || b"._-".contains(b);
    headers.get_all(TENANT).iter().map(HeaderValue::as_bytes).all(|name| {
        (1..=TENANT_BYTES_MAX).contains(&name.len())
            && name.iter().all(is_name_byte)
            && name != b"."
            && name != b".."
    })
}

pub async fn not_found(method: Method, uri: Uri, headers: HeaderMap) -> Response {
    if super::otlp_grpc::is_grpc(&headers) {
        return super::otlp_grpc::unimplemented();
    }
    no_such_endpoint(&method, &uri).into_response()
}

pub fn no_such_endpoint(method: &Method, uri: &Uri) -> ApiError {
    ApiError::NotFound(format!("no such endpoint: {method} {}", quoted(uri.path())))
}

pub async fn method_not_allowed(method: Method, uri: Uri) -> Response {
    let text = format!("{method} is not allowed on {}\n", quoted(uri.path()));
    (StatusCode::METHOD_NOT_ALLOWED, text).into_response()
}

pub fn panicked(_: Box<dyn Any + Send>) -> Response {
    ApiError::Panicked.into_response()
}

/// Short answers, gRPC, which compresses on its own, and streams of chunks, which are compressed, are sent as they are.
pub fn worth_compressing() -> impl Predicate + Send + Sync + 'static {
    const SHORT_BYTES: u16 = 1_024;
    const CHUNKS: NotForContentType = NotForContentType::const_new("application/x-streamed-protobuf");
    SizeAbove::new(SHORT_BYTES.into()).and(NotForContentType::GRPC).and(CHUNKS)
}
