//! The push request in protobuf, walked in place.

use std::borrow::Cow;

use super::streams::StreamResolver;
use crate::ingest::logs::{LogIntake, NewEntry, Pairs, Stream};
use crate::ingest::protobuf::{Message, WireError, mended};

pub fn read(
    body: &[u8],
    resolver: &StreamResolver<'_>,
    intake: &mut LogIntake<'_>,
) -> Result<usize, WireError> {
    let mut stream_count = 0;
    let mut request = Message::new(body);
    let mut metadata = Pairs::default();
    while let Some(field) = request.next_field()? {
        if field.number == 1 {
            stream_count += 1;
            read_stream(field.message()?, resolver, &mut metadata, intake)?;
        }
    }
    Ok(stream_count)
}

/// The labels come before the entries, or else the message is read once more to find them.
fn read_stream(
    message: Message<'_>,
    resolver: &StreamResolver<'_>,
    metadata: &mut Pairs,
    intake: &mut LogIntake<'_>,
) -> Result<(), WireError> {
    let stream = resolver.spelled(spelling(message)?);
    let mut entries = message;
    while let Some(field) = entries.next_field()? {
        if field.number != 2 {
            continue;
        }
        match &stream {
            Ok(stream) => read_entry(field.message()?, stream, metadata, intake)?,
            Err(rejection) => {
                field.message()?;
                intake.refusals.refuse(rejection.clone(), 1);
            }
        }
    }
    Ok(())
}

/// Of a field that comes twice the last counts.
fn spelling<'a>(mut message: Message<'a>) -> Result<&'a [u8], WireError> {
    const LABELS: u8 = 0x0A;
    const ENTRIES: u8 = 0x12;
    let mut spelling = &[][..];
    while let Some(labels) = message.take_if_tag(LABELS)? {
        spelling = labels.bytes();
    }
    // All that most messages hold from here on.
    message.take_while_tag(ENTRIES)?;
    while let Some(field) = message.next_field()? {
        if field.number == 1 {
            spelling = field.bytes()?;
        }
    }
    Ok(spelling)
}

fn read_entry(
    mut message: Message<'_>,
    stream: &Stream,
    metadata: &mut Pairs,
    intake: &mut LogIntake<'_>,
) -> Result<(), WireError> {
    let (mut timestamp, mut line) = (0, &[][..]);
    metadata.clear();
    while let Some(field) = message.next_field()? {
        match field.number {
            1 => timestamp = read_timestamp(field.message()?)?,
            2 => line = field.bytes()?,
            3 => {
                let (name, value) = read_pair(field.message()?)?;
                metadata.push(&name, &value);
            }
            _ => {}
        }
    }
    let line = mended(line);
    intake.entry(stream, NewEntry { timestamp, line: &line, metadata: metadata.iter(), level: None });
    Ok(())
}

/// In nanoseconds; what does not fit is out of every window, on the same side.
fn read_timestamp(mut message: Message<'_>) -> Result<i64, WireError> {
    let (mut seconds, mut nanos) = (0i64, 0i32);
    while let Some(field) = message.next_field()? {
        match field.number {
            1 => seconds = field.varint()? as i64,
            2 => nanos = field.varint()? as i32,
            _ => {}
        }
    }
    Ok(seconds.saturating_mul(1_000_000_000).saturating_add(nanos.into()))
}

fn read_pair<'a>(mut message: Message<'a>) -> Result<(Cow<'a, str>, Cow<'a, str>), WireError> {
    let (mut name, mut value) = (&[][..], &[][..]);
    while let Some(field) = message.next_field()? {
        match field.number {
            1 => name = field.bytes()?,
            2 => value = field.bytes()?,
            _ => {}
        }
    }
    Ok((mended(name), mended(value)))
}
