//! Every lower error as a status and a body; the only file that knows status codes of errors.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;

use super::json;
use crate::ingest::IngestError;
use crate::query::{Exceeded, QueryError};
use crate::storage::{DeletionError, MaintenanceError, WriteError};

/// Why a request got no answer, or not the one it asked for.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    #[error("invalid parameter \"{name}\": {reason}")]
    Parameter { name: &'static str, reason: String },
    #[error("{0}")]
    BadData(String),
    #[error(transparent)]
    Query(QueryError),
    #[error(transparent)]
    Ingest(#[from] IngestError),
    #[error(transparent)]
    Write(#[from] WriteError),
    /// Rows were refused; the others are stored.
    #[error("{rejected} of {} rejected: {reasons}", rejected + stored)]
    Rejected { rejected: u64, stored: u64, reasons: String, retryable: bool },
    #[error("answer is longer than {max} bytes (--query.max-response-bytes)")]
    ResponseTooLarge { max: usize },
    #[error("body is longer than {max} bytes (--limits.max-body-bytes)")]
    BodyTooLarge { max: usize },
    #[error("requests in flight would hold more than {max} bytes (--limits.max-bodies-bytes); try again")]
    BodiesTooLarge { max: u64 },
    #[error("answers in flight would hold more than {max} bytes (--query.max-responses-bytes); try again")]
    ResponsesTooLarge { max: u64 },
    #[error("body did not arrive within {seconds} s (--limits.body-timeout)")]
    BodyTooSlow { seconds: f64 },
    #[error("body ended early: {0}")]
    BodyBroken(String),
    #[error("{0}")]
    UnsupportedMedia(String),
    #[error("{admitted_max} {pool} requests are running or waiting; try again")]
    PoolFull { pool: &'static str, admitted_max: usize },
    #[error("a worker panicked; the log has the details")]
    Panicked,
    #[error("{0}")]
    NotFound(String),
    /// What Prometheus has only where it is told to, and is not here; without a hint to try again.
    #[error("{0} disabled")]
    Disabled(&'static str),
    #[error(transparent)]
    Maintenance(#[from] MaintenanceError),
    #[error(transparent)]
    Deletion(#[from] DeletionError),
}

/// What kind of failure, in the words of Prometheus's API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    BadData,
    Execution,
    Canceled,
    Timeout,
    Internal,
    Unavailable,
    NotFound,
}

impl Kind {
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::BadData => "bad_data",
            Kind::Execution => "execution",
            Kind::Canceled => "canceled",
            Kind::Timeout => "timeout",
            Kind::Internal => "internal",
            Kind::Unavailable => "unavailable",
            Kind::NotFound => "not_found",
        }
    }
}

/// What nginx invented for a client that left; nobody sees it but the log and the metrics.
const CLIENT_CLOSED_REQUEST: u16 = 499;

impl ApiError {
    /// A query's error; texts about the expression name the parameter it came in.
    pub fn of_query(parameter: &'static str, error: QueryError) -> ApiError {
        match error {
            QueryError::BadData(reason) => ApiError::Parameter { name: parameter, reason },
            other => ApiError::Query(other),
        }
    }

    pub fn kind(&self) -> Kind {
        match self {
            ApiError::Query(QueryError::BadData(_)) => Kind::BadData,
            ApiError::Query(QueryError::Execution(_)) => Kind::Execution,
            ApiError::Query(QueryError::Exceeded(Exceeded::Deadline | Exceeded::DeadlineInQueue)) => {
                Kind::Timeout
            }
            ApiError::Query(QueryError::Exceeded(Exceeded::Cancelled | Exceeded::CancelledInQueue)) => {
                Kind::Canceled
            }
            ApiError::Query(QueryError::Exceeded(Exceeded::TotalBytes { .. })) => Kind::Unavailable,
            ApiError::Query(QueryError::Exceeded(_))
            | ApiError::ResponseTooLarge { .. }
            | ApiError::Ingest(IngestError::NoStreams) => Kind::Execution,
            ApiError::Maintenance(MaintenanceError::Stopping) => Kind::Unavailable,
            ApiError::Deletion(DeletionError::TooMany) => Kind::Execution,
            ApiError::Query(QueryError::Internal(_)) | ApiError::Panicked => Kind::Internal,
            ApiError::Maintenance(_) | ApiError::Deletion(_) => Kind::Internal,
            ApiError::Ingest(IngestError::Busy(_)) | ApiError::Write(_) => Kind::Unavailable,
            ApiError::PoolFull { .. } | ApiError::Disabled(_) => Kind::Unavailable,
            ApiError::BodiesTooLarge { .. } | ApiError::ResponsesTooLarge { .. } => Kind::Unavailable,
            ApiError::Rejected { retryable: true, .. } => Kind::Unavailable,
            ApiError::NotFound(_) => Kind::NotFound,
            _ => Kind::BadData,
        }
    }

    pub fn status(&self) -> StatusCode {
        match self {
            ApiError::Ingest(IngestError::TooLarge { .. } | IngestError::DecompressesTooFar { .. })
            | ApiError::BodyTooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            ApiError::Rejected { retryable: true, .. } | ApiError::PoolFull { pool: "write", .. } => {
                StatusCode::TOO_MANY_REQUESTS
            }
            ApiError::BodyTooSlow { .. } => StatusCode::REQUEST_TIMEOUT,
            ApiError::Disabled(_) => StatusCode::INTERNAL_SERVER_ERROR,
            ApiError::UnsupportedMedia(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            _ => match self.kind() {
                Kind::BadData => StatusCode::BAD_REQUEST,
                Kind::Execution => StatusCode::UNPROCESSABLE_ENTITY,
                Kind::Canceled => {
                    StatusCode::from_u16(CLIENT_CLOSED_REQUEST).expect("499 is a possible status")
                }
                Kind::Timeout | Kind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
                Kind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
                Kind::NotFound => StatusCode::NOT_FOUND,
            },
        }
    }

    /// Seconds after which the same request may succeed, where waiting helps.
    pub fn retry_after_seconds(&self) -> Option<u64> {
        match self.kind() {
            Kind::Unavailable if !matches!(self, ApiError::Disabled(_)) => Some(1),
            _ => None,
        }
    }
}

impl From<Exceeded> for ApiError {
    fn from(exceeded: Exceeded) -> ApiError {
        ApiError::Query(QueryError::Exceeded(exceeded))
    }
}

impl ApiError {
    /// The error as a response with this body.
    pub fn respond(&self, content_type: &'static str, body: impl Into<Bytes>) -> Response {
        let mut response =
            (self.status(), [(header::CONTENT_TYPE, content_type)], body.into()).into_response();
        if let Some(seconds) = self.retry_after_seconds() {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        let is_unread = matches!(
            self,
            ApiError::BodyTooLarge { .. } | ApiError::BodiesTooLarge { .. } | ApiError::BodyTooSlow { .. }
        );
        if is_unread {
            // The rest of the body is not worth reading to find the next request behind it.
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

impl IntoResponse for ApiError {
    /// Prometheus's error envelope.
    fn into_response(self) -> Response {
        self.respond("application/json", json::error_body(self.kind().as_str(), &self.to_string()))
    }
}
