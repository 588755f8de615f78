//! Loki's push API. Labels are parsed once for each spelling; a bad stream or entry is refused alone.

mod json;
mod protobuf;
mod selector;
mod streams;
#[cfg(test)]
mod tests;

pub(super) use streams::{StreamCache, StreamResolver};

use super::logs::LogIntake;
use super::{BodyFormat, IngestError};

/// Reads a whole request into `intake`.
pub(super) fn read(
    body: &[u8],
    format: BodyFormat,
    resolver: &StreamResolver<'_>,
    intake: &mut LogIntake<'_>,
) -> Result<(), IngestError> {
    let stream_count = match format {
        BodyFormat::Protobuf => protobuf::read(body, resolver, intake)?,
        BodyFormat::Json => json::read(body, resolver, intake)?,
    };
    if stream_count == 0 { Err(IngestError::NoStreams) } else { Ok(()) }
}
