//! [`run`]: bind, open, serve, drain, close. The order is the documentation.

mod features;
mod housekeeping;
mod listener;
mod machine;
mod request_line;
mod settings;
mod shutdown;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use prometheus::Registry;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::api::{self, Api, QueryLog};
use crate::clock::Clock;
use crate::config::{Config, WalSync};
use crate::ingest::Ingest;
use crate::query::Querier;
use crate::storage::{OpenError, Store};
use listener::Serving;
use shutdown::Shutdown;

pub use settings::storage as storage_options;

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("cannot listen on {address} ({option}): {source}")]
    Bind { option: &'static str, address: SocketAddr, source: std::io::Error },
    #[error("cannot write the query log {} (--query.log-file): {source}", path.display())]
    QueryLog { path: PathBuf, source: std::io::Error },
    #[error("retention.rules: {selector}: {reason}")]
    Rule { selector: String, reason: String },
    #[error("cannot start: {0}")]
    Runtime(std::io::Error),
}

impl ServeError {
    /// 2: the operator must change something. 1: the machine did not do what it should.
    pub fn exit_code(&self) -> u8 {
        match self {
            ServeError::Open(_) | ServeError::Bind { .. } => 2,
            ServeError::QueryLog { .. } | ServeError::Rule { .. } => 2,
            ServeError::Runtime(_) => 1,
        }
    }
}

/// Serves until SIGTERM or Ctrl-C. Returns when everything acknowledged is in sealed files.
pub fn run(config: &Config) -> Result<(), ServeError> {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(settings::async_threads()).enable_all();
    let runtime = runtime.build().map_err(ServeError::Runtime)?;
    let result = runtime.block_on(serve(config));
    // A query that did not finish in time is not waited for.
    runtime.shutdown_background();
    result
}

async fn serve(config: &Config) -> Result<(), ServeError> {
    let shutdown = Shutdown::on_signals().map_err(ServeError::Runtime)?;
    let hangup = signal(SignalKind::hangup()).map_err(ServeError::Runtime)?;

    // Bind, before anything is written: a port that is taken leaves no data directory behind.
    let main = bind("--listen", config.listen).await?;
    let address = main.local_addr().unwrap_or(config.listen);
    let otlp_grpc = bind_optional("--otlp-grpc", config.otlp_grpc).await?;
    let otlp_http = bind_optional("--otlp-http", config.otlp_http).await?;

    features::report(&config.features);

    // Open. Who connects meanwhile waits to be accepted.
    let started_at = Clock.now_ms();
    let registry = settings::registry();
    let store = Store::open(settings::storage(config)?, &registry, started_at)?;
    let ingest = Arc::new(Ingest::new(store.clone(), settings::ingest(config), &registry));
    let querier = Arc::new(Querier::new(store.clone(), settings::query(config), &registry));
    let serving = Serving::new(settings::connections(config), shutdown.clone(), &registry);
    let query_log = open_query_log(config.query.log_file.as_deref(), &registry)?;
    let options = settings::api(config, address, started_at);
    let api = Api::new(store.clone(), ingest, querier, registry, options, query_log);

    // Serve.
    announce(config, address, &otlp_grpc, &otlp_http);
    serving.accept(main, api::routes(&api));
    if let Some(listener) = otlp_grpc {
        serving.accept(listener, api::otlp_grpc_routes(&api));
    }
    if let Some(listener) = otlp_http {
        serving.accept(listener, api::otlp_http_routes(&api));
    }
    let housekeeping = tokio::spawn(housekeeping::run(
        api.clone(),
        config.self_scrape.then_some(config.self_scrape_interval),
        address,
        shutdown.clone(),
    ));
    tokio::spawn(housekeeping::reopen_query_log(api.clone(), hangup));
    shutdown.asked().await;

    // Drain.
    tracing::info!("stopping: finishing what is in flight; another signal stops at once");
    api.start_draining();
    store.stop_tidying();
    serving.drained().await;
    api.tails_ended().await;
    if housekeeping.await.is_err() {
        tracing::error!("housekeeping had panicked");
    }
    if let Some(log) = api.query_log() {
        log.end();
    }

    // Close: what is in memory is sealed, so the next start has no samples to replay.
    if tokio::task::spawn_blocking(move || store.close()).await.is_err() {
        tracing::error!("closing the store panicked; the next start replays the log");
    }
    tracing::info!("stopped");
    Ok(())
}

fn open_query_log(path: Option<&Path>, registry: &Registry) -> Result<Option<QueryLog>, ServeError> {
    let open = |path: &Path| {
        QueryLog::open(path, registry)
            .map_err(|source| ServeError::QueryLog { path: path.to_owned(), source })
    };
    path.map(open).transpose()
}

async fn bind(option: &'static str, address: SocketAddr) -> Result<TcpListener, ServeError> {
    TcpListener::bind(address).await.map_err(|source| ServeError::Bind { option, address, source })
}

async fn bind_optional(
    option: &'static str,
    address: Option<SocketAddr>,
) -> Result<Option<TcpListener>, ServeError> {
    match address {
        Some(address) => bind(option, address).await.map(Some),
        None => Ok(None),
    }
}

/// Tells on stdout where the server listens, what to do next, and what a crash can cost.
fn announce(
    config: &Config,
    address: SocketAddr,
    otlp_grpc: &Option<TcpListener>,
    otlp_http: &Option<TcpListener>,
) {
    let address_of = |listener: &Option<TcpListener>| {
        let bound = listener.as_ref().and_then(|listener| listener.local_addr().ok());
        bound.map_or("off".to_owned(), |address| address.to_string())
    };
    println!("Icecore {} keeps its data in {}", env!("CARGO_PKG_VERSION"), config.data_dir.display());
    println!("listening on http://{address}");
    println!("OTLP/gRPC: {}, OTLP/HTTP: {}", address_of(otlp_grpc), address_of(otlp_http));
    println!("wal.sync = {}", sync_promise(config.wal_sync));
    println!(
        "next: icecore query 'up'   |   remote_write to http://{address}/api/v1/write   |   Grafana: Prometheus, Loki, Tempo at http://{address}"
    );
}

fn sync_promise(mode: WalSync) -> &'static str {
    match mode {
        WalSync::Group => "group: what was acknowledged survives a crash and a power cut",
        WalSync::Interval => "interval: a power cut may lose the last second of acknowledged writes",
        WalSync::Off => "off: a power cut may lose acknowledged writes that the kernel had not written yet",
    }
}
