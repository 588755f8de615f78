//! Remote read: another Prometheus, or what behaves like one, asks for samples and evaluates them itself.
//!
//! Statuses and texts are Prometheus's where it has them; errors are their text alone. An answer has all samples of the
//! range, both ends included, but for look-ups of series, which want none.

mod samples;
mod stream;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use prost::Message;
use tokio::sync::OwnedSemaphorePermit;

use super::Api;
use super::error::ApiError;
use super::limits::read_body;
use super::running::running_query;
use super::workers::within;
use crate::model::{Labels, MatchOp, Matcher, TimeRange};
use crate::query::{Budget, Exceeded, Listed, QueryError};
use crate::storage::metrics::SampleBuffer;
use crate::wire::remote_read::label_matcher::Type;
use crate::wire::remote_read::read_request::ResponseType;
use crate::wire::remote_read::{Query, ReadRequest};
use crate::wire::remote_write_v1::Label;

/// Reads at once; more wait. Prometheus's number; never more than half of the query workers, as a stream holds its
/// worker for as long as its client takes to receive it.
pub const READS_MAX: usize = 10;

/// A request is a few queries of a few matchers. Decoded it takes up to forty times its length, so this is 40 MiB.
const REQUEST_BYTES_MAX: usize = 1 << 20;

const TEXT: &str = "text/plain; charset=utf-8";

/// `/api/v1/read`.
pub async fn read(State(api): State<Arc<Api>>, body: Body) -> Response {
    answer(&api, body).await.unwrap_or_else(|error| error.respond(TEXT, format!("{error}\n")))
}

async fn answer(api: &Arc<Api>, body: Body) -> Result<Response, ApiError> {
    let request = decode(&read_body(api, body).await?)?;
    let queries = request.queries.into_iter().map(|query| RangeOfSeries::new(api, query));
    let response_type = response_type(&request.accepted_response_types)?;
    let queries = queries.collect::<Result<Vec<_>, _>>()?;
    let turn = Turn::wait(api, &queries).await?;
    match response_type {
        ResponseType::Samples => samples::answer(api, queries, turn).await,
        ResponseType::StreamedXorChunks => stream::answer(api, queries, turn).await,
    }
}

/// One query of a request.
struct RangeOfSeries {
    matchers: Vec<Matcher>,
    range: TimeRange,
    wants_samples: bool,
}

impl RangeOfSeries {
    fn new(api: &Api, query: Query) -> Result<RangeOfSeries, ApiError> {
        let parts = query.matchers.into_iter().map(|matcher| {
            let op = match Type::try_from(matcher.r#type) {
                Ok(Type::Eq) => MatchOp::Equal,
                Ok(Type::Neq) => MatchOp::NotEqual,
                Ok(Type::Re) => MatchOp::Regex,
                Ok(Type::Nre) => MatchOp::NotRegex,
                Err(_) => return Err(ApiError::BadData("invalid matcher type".to_owned())),
            };
            Ok((matcher.name, op, matcher.value))
        });
        let parts = parts.collect::<Result<Vec<_>, _>>()?;
        let matchers = api.querier.matchers(parts).map_err(ApiError::Query)?;
        let range = TimeRange::closed(query.start_timestamp_ms, query.end_timestamp_ms);
        let wants_samples = query.hints.is_none_or(|hints| hints.func != "series");
        Ok(RangeOfSeries { matchers, range, wants_samples })
    }

    /// Hands each series over, in the order of labels.
    fn read(
        &self,
        api: &Api,
        budget: &Budget,
        mut take: impl FnMut(&Labels, &SampleBuffer) -> Result<(), ApiError>,
    ) -> Result<(), ApiError> {
        if !self.wants_samples {
            let selectors = std::slice::from_ref(&self.matchers);
            let found = api.querier.series(selectors, self.range, 0, budget).map_err(of_query)?;
            return found.items.iter().try_for_each(|labels| take(labels, &SampleBuffer::default()));
        }
        let read = api.querier.samples(&self.matchers, self.range, budget, |labels, samples| {
            match take(labels, samples) {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => ControlFlow::Break(error),
            }
        });
        match read.map_err(of_query)? {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(error) => Err(error),
        }
    }

    /// As a selector.
    fn text(&self) -> String {
        let conditions = self
            .matchers
            .iter()
            .map(|matcher| format!("{}{}{:?}", matcher.name, matcher.op.text(), matcher.value));
        format!("{{{}}}", conditions.collect::<Vec<_>>().join(","))
    }
}

/// The right to read within a budget, whose time runs while it is waited for.
struct Turn {
    permit: OwnedSemaphorePermit,
    budget: Budget,
    /// Among the queries that run.
    listed: Listed,
}

impl Turn {
    async fn wait(api: &Api, queries: &[RangeOfSeries]) -> Result<Turn, ApiError> {
        let deadline = Instant::now() + api.options.query_timeout;
        let budget = Budget::new(deadline, api.options.query_limits).drawing_on(&api.memory);
        let mut texts: Vec<String> = Vec::new();
        for text in queries.iter().map(RangeOfSeries::text) {
            // Of several ranges of the same series, say.
            if !texts.contains(&text) {
                texts.push(text);
            }
        }
        let listed = api.running.enter(running_query(api, texts.join(" ")), &budget);
        let permit = within(&budget, api.reads.clone().acquire_owned()).await?;
        Ok(Turn { permit: permit.expect("the semaphore is never closed"), budget, listed })
    }

    /// Runs the reading in the query pool.
    async fn run<T: Send + 'static>(
        self,
        api: &Arc<Api>,
        job: impl FnOnce(&Api, &Budget) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let (worker, held) = (api.clone(), (self.permit, self.listed));
        let job = move |budget: &Budget| {
            // Until it is done, which may be after its client stopped waiting.
            let _held = held;
            job(&worker, budget)
        };
        api.workers.query(self.budget, job).await?
    }
}

/// Clients say no more about the body than that it is one: it is always snappy.
fn decode(body: &[u8]) -> Result<ReadRequest, ApiError> {
    let corrupt = |_| ApiError::BadData("snappy: corrupt input".to_owned());
    let len = snap::raw::decompress_len(body).map_err(corrupt)?;
    if len > REQUEST_BYTES_MAX {
        let reason = format!("snappy: decoded length {len} exceeds limit {REQUEST_BYTES_MAX}");
        return Err(ApiError::BadData(reason));
    }
    let bytes = snap::raw::Decoder::new().decompress_vec(body).map_err(corrupt)?;
    ReadRequest::decode(&bytes[..]).map_err(|error| ApiError::BadData(format!("proto: {error}")))
}

/// The first that we know; older clients name none.
fn response_type(accepted: &[i32]) -> Result<ResponseType, ApiError> {
    if accepted.is_empty() {
        return Ok(ResponseType::Samples);
    }
    accepted.iter().find_map(|number| ResponseType::try_from(*number).ok()).ok_or_else(|| {
        let text = "server does not support any of the requested response types";
        ApiError::BadData(format!("{text}: {accepted:?}; supported: SAMPLES, STREAMED_XOR_CHUNKS"))
    })
}

/// What a query met, in the words of this protocol.
fn of_query(error: QueryError) -> ApiError {
    match error {
        QueryError::Exceeded(Exceeded::Samples { max, .. }) => {
            ApiError::BadData(format!("exceeded sample limit ({max})"))
        }
        other => ApiError::Query(other),
    }
}

fn wire_labels(labels: &Labels) -> Vec<Label> {
    labels.iter().map(|(name, value)| Label { name: name.to_owned(), value: value.to_owned() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(bytes: &[u8]) -> Result<ReadRequest, String> {
        decode(bytes).map_err(|error| error.to_string())
    }

    #[test]
    fn a_body_that_is_none_is_refused_with_its_reason() {
        let snappy = |bytes: &[u8]| snap::raw::Encoder::new().compress_vec(bytes).unwrap();
        assert_eq!(decoded(b"").unwrap_err(), "snappy: corrupt input");
        assert_eq!(decoded(b"\x05abc").unwrap_err(), "snappy: corrupt input");
        let bomb = "snappy: decoded length 4294967295 exceeds limit 1048576";
        assert_eq!(decoded(b"\xff\xff\xff\xff\x0f\x00").unwrap_err(), bomb);
        assert!(decoded(&snappy(b"\xff\xff")).unwrap_err().starts_with("proto: "));
        assert_eq!(decoded(&snappy(b"")).unwrap(), ReadRequest::default());
    }

    #[test]
    fn the_first_known_response_type_wins_and_none_means_samples() {
        let chosen = |accepted: &[i32]| response_type(accepted).map_err(|error| error.to_string());
        assert_eq!(chosen(&[]), Ok(ResponseType::Samples));
        assert_eq!(chosen(&[7, 1, 0]), Ok(ResponseType::StreamedXorChunks));
        assert_eq!(chosen(&[0, 1]), Ok(ResponseType::Samples));
        assert!(chosen(&[7]).unwrap_err().contains("[7]; supported"));
    }

    proptest::proptest! {
        #[test]
        fn no_body_is_too_odd_to_be_read(body: Vec<u8>) {
            let _ = decode(&body);
            let _ = decode(&snap::raw::Encoder::new().compress_vec(&body).unwrap());
        }
    }
}
