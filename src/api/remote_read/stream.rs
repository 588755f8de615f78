//! The streamed answer: frames of chunks, made while the client takes them. What is held is one series and a few frames.
//!
//! An error before the first frame has its status; a later one breaks the connection, so that nobody takes a part for the
//! whole.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use hyper::body::Frame;
use prost::Message;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::{RangeOfSeries, Turn, wire_labels};
use crate::api::Api;
use crate::api::error::ApiError;
use crate::api::room::{Held, Room};
use crate::api::workers::QUEUE_CHECK;
use crate::codec::chunks::Chunks;
use crate::codec::crc32c::crc32c;
use crate::model::Labels;
use crate::query::{Budget, Exceeded};
use crate::storage::metrics::SampleBuffer;
use crate::wire::remote_read::{Chunk, ChunkedReadResponse, ChunkedSeries};
use crate::wire::remote_write_v1::Label;

const CONTENT_TYPE: &str = "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse";

/// Prometheus's: a series that takes more goes on in the next frame.
const FRAME_BYTES_MAX: usize = 1 << 20;

/// Frames of small series are sent together.
const PIECE_BYTES: usize = 64 << 10;

/// Pieces that are made before the client takes them.
const PIECES_AHEAD_MAX: usize = 2;

/// Some frames on their way out, and the room they take there.
struct Piece {
    bytes: Bytes,
    _held: Held,
}

pub async fn answer(api: &Arc<Api>, queries: Vec<RangeOfSeries>, turn: Turn) -> Result<Response, ApiError> {
    let (to, pieces) = mpsc::channel(PIECES_AHEAD_MAX);
    let worker = api.clone();
    let job = tokio::spawn(async move {
        turn.run(&worker, move |api, budget| send_all(api, &queries, budget, to)).await
    });
    let mut stream = Stream { first: None, pieces, job: Some(job) };
    stream.first = stream.pieces.recv().await;
    if stream.first.is_none()
        && let Some(job) = &mut stream.job
    {
        // It ended without a frame: nothing was found, or there is an error to tell.
        let ended = job.await;
        stream.job = None;
        ended.map_err(|_| ApiError::Panicked)??;
    }
    Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], Body::new(stream)).into_response())
}

fn send_all(
    api: &Api,
    queries: &[RangeOfSeries],
    budget: &Budget,
    to: mpsc::Sender<Piece>,
) -> Result<(), ApiError> {
    let (room, budget_of_frames) = (api.answers.clone(), budget.clone());
    let mut frames = Frames { bytes: Vec::new(), to, room, budget: budget_of_frames };
    for (query_index, query) in (0..).zip(queries) {
        query.read(api, budget, |labels, samples| frames.push_series(query_index, labels, samples))?;
    }
    frames.send()
}

/// Frames that wait to become a piece.
struct Frames {
    bytes: Vec<u8>,
    to: mpsc::Sender<Piece>,
    room: Room,
    budget: Budget,
}

impl Frames {
    fn push_series(
        &mut self,
        query_index: i64,
        labels: &Labels,
        samples: &SampleBuffer,
    ) -> Result<(), ApiError> {
        let labels = wire_labels(labels);
        let label_bytes: usize = labels.iter().map(Message::encoded_len).sum();
        let chunk_bytes_max = FRAME_BYTES_MAX.saturating_sub(label_bytes);
        let chunks = Chunks::new(
            (&samples.float_timestamps, &samples.floats),
            (&samples.histogram_timestamps, &samples.histograms),
        );
        let (mut ready, mut ready_bytes) = (Vec::new(), 0);
        for chunk in chunks {
            let chunk = Chunk {
                min_time_ms: chunk.min_time,
                max_time_ms: chunk.max_time,
                r#type: chunk.encoding as i32,
                data: chunk.data,
            };
            ready_bytes += chunk.encoded_len();
            ready.push(chunk);
            if ready_bytes >= chunk_bytes_max {
                self.push_frame(query_index, &labels, std::mem::take(&mut ready))?;
                ready_bytes = 0;
            }
        }
        let is_told = ready.is_empty() && !samples.is_empty();
        if is_told { Ok(()) } else { self.push_frame(query_index, &labels, ready) }
    }

    /// Its length, its checksum, and the message.
    fn push_frame(&mut self, query_index: i64, labels: &[Label], chunks: Vec<Chunk>) -> Result<(), ApiError> {
        let series = ChunkedSeries { labels: labels.to_vec(), chunks };
        let message = ChunkedReadResponse { chunked_series: vec![series], query_index }.encode_to_vec();
        prost::encode_length_delimiter(message.len(), &mut self.bytes).expect("a vector grows");
        self.bytes.extend_from_slice(&crc32c(&message).to_be_bytes());
        self.bytes.extend_from_slice(&message);
        if self.bytes.len() < PIECE_BYTES { Ok(()) } else { self.send() }
    }

    /// Waits for the client; if that leaves, or the read is cancelled or too late, the job is over.
    fn send(&mut self) -> Result<(), ApiError> {
        if self.bytes.is_empty() {
            return Ok(());
        }
        let bytes = Bytes::from(std::mem::take(&mut self.bytes));
        let mut held = self.room.hold_nothing();
        held.grow(bytes.len() as u64).map_err(|full| ApiError::ResponsesTooLarge { max: full.bytes_max })?;
        let runtime = Handle::current();
        loop {
            let place =
                runtime.block_on(async { tokio::time::timeout(QUEUE_CHECK, self.to.reserve()).await });
            match place {
                Ok(Ok(place)) => {
                    place.send(Piece { bytes, _held: held });
                    return Ok(());
                }
                Ok(Err(_)) => return Err(ApiError::from(Exceeded::Cancelled)),
                Err(_) => self.budget.check().map_err(ApiError::from)?,
            }
        }
    }
}

/// The body of the answer; dropped, it ends the job.
struct Stream {
    first: Option<Piece>,
    pieces: mpsc::Receiver<Piece>,
    /// Until its end was seen.
    job: Option<JoinHandle<Result<(), ApiError>>>,
}

impl hyper::body::Body for Stream {
    type Data = Bytes;
    type Error = ApiError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ApiError>>> {
        let piece = match self.first.take() {
            Some(first) => Some(first),
            None => ready!(self.pieces.poll_recv(context)),
        };
        if let Some(piece) = piece {
            return Poll::Ready(Some(Ok(Frame::data(piece.bytes))));
        }
        let Some(job) = &mut self.job else { return Poll::Ready(None) };
        let ended = ready!(Pin::new(job).poll(context));
        self.job = None;
        let ended = ended.unwrap_or(Err(ApiError::Panicked));
        Poll::Ready(ended.err().map(|error| {
            tracing::warn!("a remote read was broken off: {error}");
            Err(error)
        }))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if let Some(job) = &self.job {
            // Its budget is cancelled with it.
            job.abort();
        }
    }
}
