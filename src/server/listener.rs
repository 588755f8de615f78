//! Connections: one listener speaks HTTP/1.1 and HTTP/2, which the first bytes tell apart. Bounded in number, in the
//! time they may stay silent, and in what a peer may open on them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use prometheus::{IntCounter, IntGauge, Registry};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower::ServiceExt;

use super::request_line::Mended;
use super::shutdown::Shutdown;
use crate::api::ClientAddress;

#[derive(Clone, Copy, Debug)]
pub struct ConnectionLimits {
    /// On each port.
    pub connections_max: usize,
    pub header_timeout: Duration,
    pub stall_timeout: Duration,
}

/// What is in flight when the end begins has this long to finish.
const DRAIN_TIME: Duration = Duration::from_secs(9);

const STREAMS_MAX: u32 = 100;
const HEADER_BYTES_MAX: u32 = 16 << 10;
/// To a request whose head is longer, as to a URL of 64 KiB, hyper says 431 or 414 without a word before any of our code
/// sees it; who asks for so much sends a form.
const HTTP1_BUFFER_BYTES: usize = 64 << 10;
const HTTP2_WINDOW_BYTES: u32 = 1 << 20;
/// A peer that vanished without a word is noticed after these two.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// After an accept that failed, most likely for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// All listeners and their connections.
pub struct Serving {
    limits: ConnectionLimits,
    shutdown: Shutdown,
    metrics: ConnectionMetrics,
    open: parking_lot::Mutex<Vec<Arc<Semaphore>>>,
}

#[derive(Clone)]
struct ConnectionMetrics {
    open: IntGauge,
    refused: IntCounter,
}

impl ConnectionMetrics {
    fn new(registry: &Registry) -> ConnectionMetrics {
        const ONCE: &str = "the name is valid and registered once";
        let open = IntGauge::new("icecore_connections", "Connections open.").expect(ONCE);
        let refused = IntCounter::new(
            "icecore_connections_refused_total",
            "Connections closed at once because too many were open.",
        )
        .expect(ONCE);
        registry.register(Box::new(open.clone())).expect(ONCE);
        registry.register(Box::new(refused.clone())).expect(ONCE);
        ConnectionMetrics { open, refused }
    }
}

impl Serving {
    pub fn new(limits: ConnectionLimits, shutdown: Shutdown, registry: &Registry) -> Serving {
        let metrics = ConnectionMetrics::new(registry);
        Serving { limits, shutdown, metrics, open: parking_lot::Mutex::default() }
    }

    /// Serves `routes` on `listener` until the end begins.
    pub fn accept(&self, listener: TcpListener, routes: Router) {
        let open = Arc::new(Semaphore::new(self.limits.connections_max));
        self.open.lock().push(open.clone());
        let port = Port {
            routes,
            open,
            limits: self.limits,
            metrics: self.metrics.clone(),
            shutdown: self.shutdown.clone(),
        };
        tokio::spawn(async move {
            tokio::select! {
                () = port.accept_all(&listener) => {}
                () = port.shutdown.asked() => {}
            }
        });
    }

    /// Returns when no connection is open, or when the time for that is over.
    pub async fn drained(&self) {
        let all = self.open.lock().clone();
        let connections_max = self.limits.connections_max as u32;
        let drained = async {
            for open in all {
                let _ = open.acquire_many(connections_max).await;
            }
        };
        if tokio::time::timeout(DRAIN_TIME, drained).await.is_err() {
            tracing::warn!("some requests did not finish in time");
        }
    }
}

/// What all connections of one listener share.
#[derive(Clone)]
struct Port {
    routes: Router,
    open: Arc<Semaphore>,
    limits: ConnectionLimits,
    metrics: ConnectionMetrics,
    shutdown: Shutdown,
}

impl Port {
    async fn accept_all(&self, listener: &TcpListener) {
        loop {
            let (stream, client) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            match self.open.clone().try_acquire_owned() {
                Ok(permit) => {
                    tokio::spawn(self.clone().serve(stream, client, permit));
                }
                // Closed at once: that tells the peer more than a place in a queue that nobody may ever serve.
                Err(_) => self.metrics.refused.inc(),
            }
        }
    }

    async fn serve(self, stream: TcpStream, client: SocketAddr, _permit: OwnedSemaphorePermit) {
        self.metrics.open.inc();
        self.converse(stream, client).await;
        self.metrics.open.dec();
    }

    async fn converse(&self, stream: TcpStream, client: SocketAddr) {
        // An answer is written whole; there is nothing to gain by waiting for more.
        let _ = stream.set_nodelay(true);
        // The kernel ends a connection whose peer takes nothing of what is sent; hyper would wait for ever.
        let stall_ms = self.limits.stall_timeout.as_millis() as u32;
        let _ = rustix::net::sockopt::set_tcp_user_timeout(&stream, stall_ms);
        let has_spoken = Arc::new(AtomicBool::new(false));
        let spoken = has_spoken.clone();
        let service = self.routes.clone().map_request(move |mut request: hyper::Request<Incoming>| {
            spoken.store(true, Ordering::Relaxed);
            request.extensions_mut().insert(ClientAddress(client));
            request.map(axum::body::Body::new)
        });
        let builder = connection_builder(self.limits);
        let service = TowerToHyperService::new(service);
        let connection = builder.serve_connection_with_upgrades(TokioIo::new(Mended::new(stream)), service);
        tokio::pin!(connection);
        let silent_for_too_long = async {
            // hyper's own limit starts once the protocol is known; this one holds from the first moment on.
            tokio::time::sleep(self.limits.header_timeout).await;
            if has_spoken.load(Ordering::Relaxed) {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            _ = connection.as_mut() => return,
            () = silent_for_too_long => return,
            () = self.shutdown.asked() => connection.as_mut().graceful_shutdown(),
        }
        // A broken connection is its peer's business, and the peer knows.
        let _ = connection.await;
    }
}

fn connection_builder(limits: ConnectionLimits) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_buf_size(HTTP1_BUFFER_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEADER_BYTES_MAX)
        .initial_stream_window_size(HTTP2_WINDOW_BYTES)
        .initial_connection_window_size(HTTP2_WINDOW_BYTES)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT);
    builder
}
