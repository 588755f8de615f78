//! `tail`: entries as they come in, over a websocket.
//!
//! A thread of its own follows the store (`follow`): the last entries there are come first, then what the store takes
//! in. It hands frames to the socket through a short queue. A client that reads too slowly fills that queue, then the
//! store's subscription; what is lost there is counted, and told in the next frame.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::http::{HeaderMap, Uri};
use axum::response::{IntoResponse, Response};
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::{self, Receiver};

use super::LokiError;
use super::follow::{Follower, Frame};
use super::params::{Bounds, Encoding, QUERY_SINCE_MS, entries};
use crate::api::Api;
use crate::api::error::ApiError;
use crate::api::form::Form;
use crate::api::run_query::run_query;
use crate::model::nanos::NANOS_PER_MILLI;
use crate::query::logs::{Direction, LogQuery, LogValue};

/// Each has a thread that waits.
pub const TAILS_MAX: usize = 32;

/// When the server ends, clients have this long to take what was sent before.
const FAREWELL_TIME: Duration = Duration::from_secs(2);

/// Loki's own limit.
const DELAY_SECONDS_MAX: usize = 5;
/// Batches of entries that wait for the pipeline; beyond, entries are lost to this client.
const BATCHES_WAITING: usize = 256;
/// Frames that wait for the socket.
const FRAMES_WAITING: usize = 4;
/// A peer that vanished without a word is noticed when it does not take these.
const PING_INTERVAL: Duration = Duration::from_secs(10);
/// What a client has to say is short.
const MESSAGE_BYTES_MAX: usize = 4 << 10;

/// `/loki/api/v1/tail`. What is wrong with the question is told before the connection becomes a websocket.
pub async fn tail(
    State(api): State<Arc<Api>>,
    uri: Uri,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Response> {
    let upgrade = upgrade.map_err(IntoResponse::into_response)?;
    let (follower, place) =
        begin(&api, &uri, &headers).await.map_err(|error| LokiError(error).into_response())?;
    let (frames, waiting) = mpsc::channel(FRAMES_WAITING);
    Ok(upgrade.max_message_size(MESSAGE_BYTES_MAX).on_upgrade(move |socket| async move {
        // Ends when it sees that nobody waits for frames any more.
        tokio::task::spawn_blocking(move || follower.run(&api, &frames));
        show(socket, waiting).await;
        drop(place);
    }))
}

impl Api {
    /// Returns when all clients who follow the store were told that it ends; [`Api::start_draining`] makes that happen.
    pub async fn tails_ended(&self) {
        let all = self.tails.acquire_many(TAILS_MAX as u32);
        let _ = tokio::time::timeout(FAREWELL_TIME, all).await;
    }
}

/// Subscribes, then asks for the entries there are: what comes in between is in both, never in none.
async fn begin(
    api: &Arc<Api>,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<(Follower, OwnedSemaphorePermit), ApiError> {
    let form = Form::new(uri, &Default::default());
    let bounds = Bounds::of(&form, api.clock.now_ns(), QUERY_SINCE_MS)?;
    let delay = delay(&form)?;
    let past = LogQuery {
        expr: form.get("query").to_owned(),
        start: bounds.start,
        end: bounds.end,
        // Without meaning for entries.
        step_ns: NANOS_PER_MILLI,
        interval_ns: 0,
        direction: Direction::Backward,
        limit: entries(&form)?,
        now: api.clock.now_ns(),
    };
    let pipeline = api.querier.tail_logs(&past.expr).map_err(ApiError::Query)?;
    let place = api.tails.clone().try_acquire_owned();
    let place = place.map_err(|_| ApiError::PoolFull { pool: "tail", admitted_max: TAILS_MAX })?;
    let subscription = api.store.tail_logs(BATCHES_WAITING);
    let past =
        run_query(api, &form, move |api, budget| api.querier.logs(&past, budget).map_err(ApiError::Query));
    let past = match past.await?.value {
        LogValue::Streams(streams) => streams,
        LogValue::Metric(_) => Vec::new(),
    };
    Ok((Follower::new(subscription, pipeline, past, delay, Encoding::of(headers)), place))
}

/// How long entries wait for others that are older.
fn delay(form: &Form) -> Result<Duration, ApiError> {
    match form.limit("delay_for")? {
        seconds if seconds <= DELAY_SECONDS_MAX => Ok(Duration::from_secs(seconds as u64)),
        _ => Err(ApiError::Parameter {
            name: "delay_for",
            reason: format!("delay_for can't be greater than {DELAY_SECONDS_MAX}"),
        }),
    }
}

/// Sends frames until one side has enough.
async fn show(mut socket: WebSocket, mut frames: Receiver<Frame>) {
    let mut pings = tokio::time::interval(PING_INTERVAL);
    loop {
        let sent = tokio::select! {
            frame = frames.recv() => match frame {
                Some(frame) => socket.send(Message::Text(frame.text.into())).await,
                None => {
                    let reason = "Icecore is shutting down".into();
                    let _ = socket.send(Message::Close(Some(CloseFrame { code: close_code::AWAY, reason }))).await;
                    return;
                }
            },
            message = socket.recv() => match message {
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                // Pings are answered by the protocol; nothing else has a meaning.
                Some(Ok(_)) => Ok(()),
            },
            _ = pings.tick() => socket.send(Message::Ping(Default::default())).await,
        };
        if sent.is_err() {
            return;
        }
    }
}
