//! The async skin: decode parameters, call one of `Ingest` or `Querier`, encode the answer. Here: the route table.

mod admin;
mod cardinality;
mod error;
mod features;
mod federate;
mod form;
mod jaeger;
mod json;
mod light;
mod limits;
mod loki;
mod middleware;
mod number;
mod origin;
mod otlp;
mod otlp_grpc;
mod packing;
mod prometheus;
mod query_log;
mod query_stats;
mod range_cache;
mod refusals;
mod remote_read;
mod result;
mod room;
mod rules;
mod run_query;
mod running;
mod self_metrics;
mod status;
mod syntax;
mod targets;
mod tempo;
mod workers;
mod write;
mod zipkin;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::routing::{get, post};
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tower_http::CompressionLevel;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;

use crate::clock::Clock;
use crate::ingest::Ingest;
use crate::model::Timestamp;
use crate::query::budget::Limits;
use crate::query::memory_pool::MemoryPool;
use crate::query::{Querier, RunningQueries};
use crate::storage::{Signal, Store};
pub use origin::ClientAddress;
pub use query_log::QueryLog;
use room::Room;

/// How the API behaves; the server fills it from the configuration.
#[derive(Clone, Debug)]
pub struct Options {
    pub body_bytes_max: usize,
    /// Of all requests in flight together.
    pub bodies_bytes_max: usize,
    pub decoded_bytes_max: usize,
    pub body_timeout: Duration,
    pub query_timeout: Duration,
    pub query_limits: Limits,
    /// Memory of all running queries together.
    pub query_total_bytes_max: u64,
    pub response_bytes_max: usize,
    /// Of answers that are kept for those who ask again; 0 keeps none.
    pub range_cache_bytes_max: u64,
    /// Of all answers in flight together.
    pub responses_bytes_max: usize,
    pub writes_max: usize,
    pub queries_max: usize,
    /// Those that receive requests; 2 at least, if light queries are to run on one.
    pub async_threads: usize,
    /// For `/api/v1/status/*`: every option's key and value, and where data are kept and for how long.
    pub settings: Vec<(&'static str, String)>,
    pub data_dir: PathBuf,
    pub retention: String,
    pub started_at: Timestamp,
    /// Whether series may be deleted.
    pub admin_api: bool,
    /// Shown as the one scraped target.
    pub self_target: Option<SelfTarget>,
}

/// The scrape of ourselves, as `/api/v1/targets` tells it.
#[derive(Clone, Debug)]
pub struct SelfTarget {
    pub address: String,
    pub interval: Duration,
}

/// How one scrape of ourselves went.
#[derive(Clone, Debug)]
pub struct SelfScrape {
    pub at: Timestamp,
    pub took: Duration,
    /// Why not every sample was stored; empty if every one was.
    pub error: String,
}

/// All that a handler may use.
pub struct Api {
    pub ingest: Arc<Ingest>,
    pub querier: Arc<Querier>,
    pub store: Arc<Store>,
    pub registry: ::prometheus::Registry,
    pub clock: Clock,
    workers: workers::Workers,
    running: RunningQueries,
    in_place: run_query::InPlace,
    query_log: Option<QueryLog>,
    /// What running queries may hold.
    memory: MemoryPool,
    /// Request bodies in flight.
    bodies: Room,
    /// Answers in flight.
    answers: Room,
    range_cache: range_cache::RangeCache,
    refusals: refusals::RefusalLog,
    metrics: middleware::HttpMetrics,
    options: Options,
    draining: AtomicBool,
    /// Places for live tails.
    tails: Arc<Semaphore>,
    /// Places for remote reads.
    reads: Arc<Semaphore>,
    /// The last one.
    self_scrape: Mutex<Option<SelfScrape>>,
}

impl Api {
    pub fn new(
        store: Arc<Store>,
        ingest: Arc<Ingest>,
        querier: Arc<Querier>,
        registry: ::prometheus::Registry,
        options: Options,
        query_log: Option<QueryLog>,
    ) -> Arc<Api> {
        Arc::new(Api {
            ingest,
            querier,
            store,
            clock: Clock,
            reads: Arc::new(Semaphore::new(remote_read::READS_MAX.min(options.queries_max / 2).max(1))),
            workers: workers::Workers::new(options.writes_max, options.queries_max, &registry),
            running: RunningQueries::default(),
            in_place: run_query::InPlace::new(options.async_threads, &registry),
            query_log,
            memory: MemoryPool::new(options.query_total_bytes_max, &registry),
            bodies: Room::new(
                "icecore_http_bodies_in_flight_bytes",
                "Bytes of request bodies being received or worked on.",
                options.bodies_bytes_max,
                &registry,
            ),
            answers: Room::new(
                "icecore_http_answers_in_flight_bytes",
                "Bytes of answers to queries not yet sent.",
                options.responses_bytes_max,
                &registry,
            ),
            range_cache: range_cache::RangeCache::new(options.range_cache_bytes_max, &registry),
            refusals: refusals::RefusalLog::default(),
            metrics: middleware::HttpMetrics::new(&registry),
            registry,
            options,
            draining: AtomicBool::new(false),
            tails: Arc::new(Semaphore::new(loki::TAILS_MAX)),
            self_scrape: Mutex::default(),
        })
    }

    /// From now on `/-/ready` says 503, so that nobody new is sent here.
    pub fn start_draining(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Told by whoever hands our own metrics to the store.
    pub fn scraped_self(&self, scrape: SelfScrape) {
        *self.self_scrape.lock() = Some(scrape);
    }

    /// The log of queries, if there is one.
    pub fn query_log(&self) -> Option<&QueryLog> {
        self.query_log.as_ref()
    }

    fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }
}

/// Everything, for `--listen`.
pub fn routes(api: &Arc<Api>) -> Router {
    let routes = Router::new()
        .route("/api/v1/write", post(write::write))
        .route("/api/v1/read", post(remote_read::read))
        .merge(otlp::routes())
        .route("/api/v1/otlp/v1/metrics", otlp::receiver(Signal::Metrics))
        .route("/otlp/v1/logs", otlp::receiver(Signal::Logs))
        .route("/api/v2/spans", post(zipkin::spans))
        .route("/api/v1/query", get(prometheus::query).post(prometheus::query))
        .route("/api/v1/query_range", get(prometheus::query_range).post(prometheus::query_range))
        .route("/api/v1/query_exemplars", get(prometheus::query_exemplars).post(prometheus::query_exemplars))
        .route("/api/v1/format_query", get(syntax::format_query).post(syntax::format_query))
        .route("/api/v1/parse_query", get(syntax::parse_query).post(syntax::parse_query))
        .route("/api/v1/series", get(prometheus::series).post(prometheus::series))
        .route("/api/v1/labels", get(prometheus::labels).post(prometheus::labels))
        .route("/api/v1/label/{name}/values", get(prometheus::label_values))
        .route("/api/v1/metadata", get(prometheus::metadata))
        .route("/api/v1/rules", get(rules::rules))
        .route("/api/v1/alerts", get(rules::alerts))
        .route("/api/v1/alertmanagers", get(rules::alertmanagers))
        .route("/api/v1/targets", get(targets::targets))
        .route("/api/v1/targets/metadata", get(targets::metadata))
        .route("/api/v1/scrape_pools", get(targets::scrape_pools))
        .route("/api/v1/search/{what}", get(admin::search).post(admin::search))
        .route("/api/v1/features", get(features::features))
        .route("/api/v1/notifications", get(status::notifications))
        .route("/api/v1/notifications/live", get(status::live_notifications))
        .route("/api/v1/status/buildinfo", get(status::buildinfo))
        .route("/api/v1/status/runtimeinfo", get(status::runtimeinfo))
        .route("/api/v1/status/tsdb", get(cardinality::tsdb))
        .route("/api/v1/status/tsdb/blocks", get(cardinality::blocks))
        .route("/api/v1/status/self_metrics", get(self_metrics::self_metrics))
        .route("/api/v1/status/walreplay", get(status::walreplay))
        .route("/api/v1/status/active_queries", get(running::list))
        .route("/api/v1/status/tiers", get(status::tiers))
        .route("/api/v1/status/flags", get(status::flags))
        .route("/api/v1/status/config", get(status::config))
        .route("/api/v1/admin/flush", post(admin::flush))
        .route("/api/v1/admin/compact", post(admin::compact))
        .route("/api/v1/admin/queries/{id}/cancel", post(running::cancel))
        .route("/api/v1/admin/tsdb/{task}", post(admin::tsdb).put(admin::tsdb))
        .merge(loki::paths())
        .merge(tempo::paths())
        .merge(jaeger::paths())
        .route("/federate", get(federate::federate))
        .route("/", get(admin::welcome))
        .route("/metrics", get(admin::metrics))
        .route("/-/healthy", get(admin::healthy))
        .route("/-/ready", get(admin::ready))
        .with_state(api.clone())
        .merge(otlp_grpc::routes(api));
    dressed(api, routes)
}

/// OTLP's own HTTP port.
pub fn otlp_http_routes(api: &Arc<Api>) -> Router {
    dressed(api, otlp::routes().with_state(api.clone()))
}

/// OTLP's own gRPC port.
pub fn otlp_grpc_routes(api: &Arc<Api>) -> Router {
    dressed(api, otlp_grpc::routes(api))
}

/// How hard gzip and deflate try. At the default, 6, an answer of 2.5 MB takes 44 ms in place of 11, for a quarter fewer
/// bytes.
const ANSWER_LEVEL: i32 = 2;

/// What every request passes, outermost last.
fn dressed(api: &Arc<Api>, routes: Router) -> Router {
    routes
        .fallback(middleware::not_found)
        .method_not_allowed_fallback(middleware::method_not_allowed)
        .layer(axum::middleware::from_fn_with_state(api.clone(), limits::admit_body))
        .layer(axum::middleware::from_fn(middleware::check_tenant))
        .layer(
            CompressionLayer::new()
                .gzip(true)
                .deflate(true)
                .quality(CompressionLevel::Precise(ANSWER_LEVEL))
                .compress_when(middleware::worth_compressing()),
        )
        .layer(axum::middleware::map_response(packing::give_way))
        .layer(axum::middleware::from_fn(middleware::cors))
        .layer(axum::middleware::from_fn(origin::remember))
        .layer(axum::middleware::from_fn_with_state(api.clone(), middleware::measure))
        .layer(CatchPanicLayer::custom(middleware::panicked))
}
