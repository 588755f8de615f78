//! The push request in JSON: today's form, and the older one of `/api/prom/push` with `labels` and `entries`.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;

use super::streams::StreamResolver;
use crate::ingest::IngestError;
use crate::ingest::admission::{Echo, Reason, Rejection};
use crate::ingest::json::parse;
use crate::ingest::logs::{LogIntake, NewEntry, Stream};

#[derive(Deserialize)]
struct Push<'a> {
    #[serde(borrow, default)]
    streams: Vec<PushedStream<'a>>,
}

#[derive(Deserialize)]
struct PushedStream<'a> {
    #[serde(default)]
    stream: BTreeMap<String, String>,
    #[serde(borrow, default)]
    values: Vec<PushedEntry<'a>>,
    #[serde(borrow, default)]
    labels: Cow<'a, str>,
    #[serde(borrow, default)]
    entries: Vec<OldEntry<'a>>,
}

/// Nanoseconds since the Unix epoch, the line, structured metadata.
#[derive(Deserialize)]
struct PushedEntry<'a>(
    #[serde(borrow)] Cow<'a, str>,
    #[serde(borrow)] Cow<'a, str>,
    #[serde(default)] Option<BTreeMap<String, String>>,
);

#[derive(Deserialize)]
struct OldEntry<'a> {
    #[serde(borrow)]
    ts: Cow<'a, str>,
    #[serde(borrow)]
    line: Cow<'a, str>,
}

pub fn read(
    body: &[u8],
    resolver: &StreamResolver<'_>,
    intake: &mut LogIntake<'_>,
) -> Result<usize, IngestError> {
    let push: Push<'_> = parse(body)?;
    for pushed in &push.streams {
        let stream = match pushed.labels.is_empty() {
            true => resolver.labelled(pushed.stream.iter().map(|(name, value)| (name.into(), value.into()))),
            false => resolver.spelled(pushed.labels.as_bytes()),
        };
        match stream {
            Ok(stream) => read_entries(pushed, &stream, intake),
            Err(rejection) => {
                intake.refusals.refuse(rejection, (pushed.values.len() + pushed.entries.len()) as u64);
            }
        }
    }
    Ok(push.streams.len())
}

fn read_entries(pushed: &PushedStream<'_>, stream: &Stream, intake: &mut LogIntake<'_>) {
    for PushedEntry(time, line, metadata) in &pushed.values {
        let timestamp = match time.parse::<i64>() {
            Ok(timestamp) => timestamp,
            Err(_) => {
                intake.refusals.refuse(no_time(time, "nanoseconds since 1970 as decimal digits"), 1);
                continue;
            }
        };
        let metadata = metadata.iter().flatten().map(|(name, value)| (name.as_str(), value.as_str()));
        let metadata = metadata.filter(|(name, value)| !name.is_empty() && !value.is_empty());
        intake.entry(stream, NewEntry { timestamp, line, metadata, level: None });
    }
    for OldEntry { ts, line } in &pushed.entries {
        match ts.parse::<jiff::Timestamp>() {
            Ok(time) => {
                // What has no place in 64 bits is out of every window, on the same side.
                let timestamp = time.as_nanosecond().clamp(i64::MIN.into(), i64::MAX.into()) as i64;
                let metadata = std::iter::empty();
                intake.entry(stream, NewEntry { timestamp, line, metadata, level: None });
            }
            Err(_) => intake.refusals.refuse(no_time(ts, "a time as in RFC 3339"), 1),
        }
    }
}

fn no_time(found: &str, expected: &str) -> Rejection {
    let message = format!("timestamp \"{}\" is not {expected}", Echo(found.as_bytes()));
    Rejection::new(Reason::Malformed, message)
}
