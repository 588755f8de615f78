//! Where a request came from, for those who answer it: kept beside the task, since no handler needs it for its answer.

use std::net::{IpAddr, SocketAddr};

use axum::extract::Request;
use axum::http::{Method, Uri};
use axum::middleware::Next;
use axum::response::Response;

/// Put into a request by whoever accepted its connection.
#[derive(Clone, Copy, Debug)]
pub struct ClientAddress(pub SocketAddr);

#[derive(Clone, Debug, Default)]
pub struct Origin {
    pub client: Option<IpAddr>,
    pub method: Method,
    pub uri: Uri,
}

tokio::task_local! {
    static ORIGIN: Origin;
}

/// Remembers the origin of a request while it is answered.
pub async fn remember(request: Request, next: Next) -> Response {
    let origin = Origin {
        client: request.extensions().get::<ClientAddress>().map(|address| address.0.ip().to_canonical()),
        method: request.method().clone(),
        uri: request.uri().clone(),
    };
    ORIGIN.scope(origin, next.run(request)).await
}

impl Origin {
    /// That of the request which the running task answers; nothing is known of other tasks.
    pub fn current() -> Origin {
        ORIGIN.try_with(Origin::clone).unwrap_or_default()
    }

    /// The language of the queries that are asked on this path.
    pub fn language(&self) -> &'static str {
        let prefixes = [("/loki/", "logql")].into_iter().chain(TRACE_PATHS.map(|prefix| (prefix, "traceql")));
        let found = prefixes.into_iter().find(|(prefix, _)| self.uri.path().starts_with(prefix));
        found.map_or("promql", |(_, language)| language)
    }
}

/// Where Tempo's and Jaeger's paths begin.
const TRACE_PATHS: [&str; 9] = [
    "/jaeger/",
    "/api/search",
    "/api/traces",
    "/api/metrics/",
    "/api/services",
    "/api/operations",
    "/api/dependencies",
    "/api/v2/search",
    "/api/v2/traces",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_tells_the_language() {
        for (path, language) in [
            ("/api/v1/query", "promql"),
            ("/loki/api/v1/query_range", "logql"),
            ("/api/search", "traceql"),
            ("/api/v2/search/tags", "traceql"),
            ("/jaeger/api/traces", "traceql"),
        ] {
            assert_eq!(
                Origin { uri: path.parse().unwrap(), ..Origin::default() }.language(),
                language,
                "{path}"
            );
        }
    }
}
