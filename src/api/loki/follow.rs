//! What one live tail has to show: entries that pass its pipeline, made into frames.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use crossbeam::channel::RecvTimeoutError;
use tokio::sync::mpsc::Sender;

use super::params::Encoding;
use super::result::{push_flags, push_streams};
use crate::api::Api;
use crate::api::error::ApiError;
use crate::api::json::JsonWriter;
use crate::api::room::Held;
use crate::model::{Labels, Nanos};
use crate::query::logs::{Direction, LogLine, LogTail, StreamAnswer};
use crate::storage::logs::LogTail as Subscription;

/// How soon the end of the client or of the server is noticed while nothing comes in.
const TICK: Duration = Duration::from_millis(200);
/// How long an entry of the past may still come in: it was subscribed to before the past was read.
const OVERLAP_TIME: Duration = Duration::from_secs(5);
/// Entries that wait for older ones are shown early if their lines take more than this.
const WAITING_BYTES_MAX: usize = 4 << 20;

/// A message to the client; its bytes count among all answers in flight until it is sent.
pub struct Frame {
    pub text: String,
    _held: Held,
}

pub struct Follower {
    subscription: Subscription,
    pipeline: LogTail,
    encoding: Encoding,
    delay: Duration,
    past: Past,
    waiting: Waiting,
}

impl Follower {
    /// `past` is shown first; its newest entries come first in it.
    pub fn new(
        subscription: Subscription,
        pipeline: LogTail,
        mut past: Vec<StreamAnswer>,
        delay: Duration,
        encoding: Encoding,
    ) -> Follower {
        past.iter_mut().for_each(|stream| stream.entries.reverse());
        let past = Past { shown: past.iter().flat_map(keys).collect(), streams: past };
        Follower { subscription, pipeline, encoding, delay, past, waiting: Waiting::default() }
    }

    /// Makes frames until nobody takes them, or the server ends.
    pub fn run(mut self, api: &Api, frames: &Sender<Frame>) {
        let started = Instant::now();
        let mut ready = merged(std::mem::take(&mut self.past.streams));
        let mut lost = 0;
        while !frames.is_closed() && !api.is_draining() {
            lost += self.subscription.take_lost();
            if !ready.is_empty() || lost > 0 {
                let lost_until_now = (lost, api.clock.now_ns());
                let frame = frame(api.json_object(), &ready, lost_until_now, self.encoding);
                // Without room for it among the answers in flight, its entries are lost.
                lost = if frame.is_ok() { 0 } else { lost + count(&ready) };
                if frame.is_ok_and(|frame| frames.blocking_send(frame).is_err()) {
                    return;
                }
            }
            match self.subscription.batches.recv_timeout(TICK) {
                Ok(rows) => {
                    let mut streams = self.pipeline.run(&rows, api.clock.now_ns());
                    self.past.leave_new(&mut streams, started.elapsed());
                    self.waiting.add(Instant::now(), streams);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            ready = merged(self.waiting.take(Instant::now(), self.delay));
        }
    }
}

/// The entries that were there at the beginning.
struct Past {
    streams: Vec<StreamAnswer>,
    shown: HashSet<(u128, Nanos, String)>,
}

impl Past {
    /// Removes what was shown as past, as long as it may come in.
    fn leave_new(&mut self, streams: &mut Vec<StreamAnswer>, since_start: Duration) {
        if since_start > OVERLAP_TIME {
            self.shown = HashSet::new();
        }
        if self.shown.is_empty() {
            return;
        }
        for stream in streams.iter_mut() {
            let mut is_new =
                keys(stream).map(|key| !self.shown.contains(&key)).collect::<Vec<_>>().into_iter();
            stream.entries.retain(|_| is_new.next().unwrap_or(true));
        }
        streams.retain(|stream| !stream.entries.is_empty());
    }
}

fn keys(stream: &StreamAnswer) -> impl Iterator<Item = (u128, Nanos, String)> {
    let labels = stream.labels.fingerprint();
    stream.entries.iter().map(move |entry| (labels, entry.timestamp, entry.line.clone()))
}

/// Entries that have passed the pipeline, in order of arrival.
#[derive(Default)]
struct Waiting {
    arrived: VecDeque<(Instant, Vec<StreamAnswer>)>,
    bytes: usize,
}

impl Waiting {
    fn add(&mut self, now: Instant, streams: Vec<StreamAnswer>) {
        if !streams.is_empty() {
            self.bytes += bytes_of(&streams);
            self.arrived.push_back((now, streams));
        }
    }

    /// What has waited for long enough, or for which there is no more room.
    fn take(&mut self, now: Instant, delay: Duration) -> Vec<StreamAnswer> {
        let mut taken = Vec::new();
        while let Some((arrived, _)) = self.arrived.front() {
            if now.duration_since(*arrived) < delay && self.bytes <= WAITING_BYTES_MAX {
                break;
            }
            let (_, streams) = self.arrived.pop_front().expect("it was there a moment ago");
            self.bytes -= bytes_of(&streams);
            taken.extend(streams);
        }
        taken
    }
}

fn count(streams: &[StreamAnswer]) -> u64 {
    streams.iter().map(|stream| stream.entries.len() as u64).sum()
}

fn bytes_of(streams: &[StreamAnswer]) -> usize {
    streams.iter().flat_map(|stream| &stream.entries).map(|entry| entry.line.len()).sum()
}

/// Each stream once, its entries in order of time.
fn merged(streams: Vec<StreamAnswer>) -> Vec<StreamAnswer> {
    let mut by_labels: BTreeMap<Labels, Vec<LogLine>> = BTreeMap::new();
    for stream in streams {
        by_labels.entry(stream.labels).or_default().extend(stream.entries);
    }
    let in_time_order = |(labels, mut entries): (Labels, Vec<LogLine>)| {
        entries.sort_by_key(|entry| entry.timestamp);
        StreamAnswer { labels, entries }
    };
    by_labels.into_iter().map(in_time_order).collect()
}

/// `{streams, dropped_entries}`. Which entries were lost nobody knows any more, only how many.
fn frame(
    mut json: JsonWriter,
    streams: &[StreamAnswer],
    (lost, now): (u64, Nanos),
    encoding: Encoding,
) -> Result<Frame, ApiError> {
    if encoding == Encoding::Categorized {
        push_flags(&mut json);
        json.raw(",");
    }
    json.raw(r#""streams":"#);
    push_streams(&mut json, streams, encoding, Direction::Forward)?;
    json.raw(r#","dropped_entries":["#);
    if lost > 0 {
        json.raw(&format!(r#"{{"timestamp":"{now}","labels":{{"dropped":"{lost}"}}}}"#));
    }
    json.raw("]");
    let (text, held) = json.finish_text()?;
    Ok(Frame { text, _held: held })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::room::Room;

    fn stream(app: &str, entries: &[(Nanos, &str)]) -> StreamAnswer {
        let entry = |&(timestamp, line): &(Nanos, &str)| LogLine {
            timestamp,
            line: line.to_owned(),
            metadata: vec![("user".to_owned(), "u".to_owned())],
            parsed: Vec::new(),
        };
        StreamAnswer {
            labels: Labels::from_sorted([("app", app)]),
            entries: entries.iter().map(entry).collect(),
        }
    }

    #[test]
    fn a_frame_names_its_streams_and_what_was_lost() {
        let room = Room::new("bytes", "help", 1 << 20, &prometheus::Registry::new());
        let text = |streams: &[StreamAnswer], lost, encoding| {
            frame(JsonWriter::object(1 << 20, &room), streams, (lost, 9), encoding).unwrap().text
        };
        let streams = [stream("a", &[(1, "x")])];
        assert_eq!(
            text(&streams, 0, Encoding::Flat),
            r#"{"streams":[{"stream":{"app":"a","user":"u"},"values":[["1","x"]]}],"dropped_entries":[]}"#
        );
        assert_eq!(
            text(&streams, 7, Encoding::Categorized),
            concat!(
                r#"{"encodingFlags":["categorize-labels"],"streams":[{"stream":{"app":"a"},"values":"#,
                r#"[["1","x",{"structuredMetadata":{"user":"u"}}]]}],"#,
                r#""dropped_entries":[{"timestamp":"9","labels":{"dropped":"7"}}]}"#
            )
        );
    }

    #[test]
    fn a_frame_counts_among_the_answers_in_flight_until_it_is_gone() {
        let room = Room::new("bytes", "help", 100, &prometheus::Registry::new());
        let make =
            || frame(JsonWriter::object(1 << 20, &room), &[stream("a", &[(1, "x")])], (0, 9), Encoding::Flat);
        let first = make().unwrap();
        assert!(matches!(make(), Err(ApiError::ResponsesTooLarge { max: 100 })));
        drop(first);
        assert!(make().is_ok());
    }

    #[test]
    fn entries_wait_for_older_ones_and_are_shown_in_order_of_time() {
        let start = Instant::now();
        let after = |ms| start + Duration::from_millis(ms);
        let delay = Duration::from_secs(1);
        let mut waiting = Waiting::default();
        waiting.add(after(0), vec![stream("a", &[(3, "three")])]);
        waiting.add(after(10), vec![stream("b", &[(5, "five")]), stream("a", &[(1, "one"), (2, "two")])]);
        assert_eq!(waiting.take(after(999), delay), []);
        let shown = merged(waiting.take(after(1_010), delay));
        assert_eq!(
            shown,
            [stream("a", &[(1, "one"), (2, "two"), (3, "three")]), stream("b", &[(5, "five")])]
        );
        assert_eq!((waiting.bytes, waiting.arrived.len()), (0, 0));
        let long = "x".repeat(WAITING_BYTES_MAX + 1);
        waiting.add(after(0), vec![stream("a", &[(1, &long)])]);
        assert_eq!(waiting.take(after(0), delay).len(), 1, "what takes too much memory does not wait");
    }

    #[test]
    fn an_entry_of_the_past_is_not_shown_twice() {
        let past = [stream("a", &[(1, "one")])];
        let mut past = Past { shown: past.iter().flat_map(keys).collect(), streams: Vec::new() };
        let mut streams = vec![stream("a", &[(1, "one"), (1, "other")]), stream("b", &[(1, "one")])];
        past.leave_new(&mut streams, Duration::ZERO);
        assert_eq!(streams, [stream("a", &[(1, "other")]), stream("b", &[(1, "one")])]);
        let mut streams = vec![stream("a", &[(1, "one")])];
        past.leave_new(&mut streams, OVERLAP_TIME * 2);
        assert_eq!(streams.len(), 1, "much later it is another one");
    }
}
