//! Remote write 1.0: `proto/remote_write_v1.proto`, read in place.
//!
//! The bytes of a series' label fields, as they stand, are its spelling.

use crate::model::{MetricMetadata, Timestamp};

use super::super::Options;
use super::super::admission::{Rejection, admit_exemplar_labels, admit_label_count, admit_labels};
use super::super::intake::Intake;
use super::super::protobuf::{Message, WireError};
use super::super::series_cache::SpellingHash;
use super::{Pair, Points, Starts, WireExemplar, metric_type, shown_text};

pub(super) const NO_STARTS: Starts = Starts { of_sample: 0, of_histogram: 0 };

// Single-byte tags: (field number << 3) | 2 for length-delimited.
const LABEL: u8 = 0x0A;
const SAMPLE: u8 = 0x12;

/// A part of the request, in its order.
pub(super) enum Item<'r, 'a> {
    /// The bytes of all label fields, and the points.
    Series(&'r [u8], &'r Points<'a>),
    Metadata(Message<'a>),
}

/// Reads a whole request into `intake`.
pub(in super::super) fn read(
    body: &[u8],
    hash: &SpellingHash,
    intake: &mut Intake<'_>,
) -> Result<(), WireError> {
    walk(body, |item| match item {
        Item::Series(labels, points) => {
            let series = intake.resolve(hash.of(labels), |options| {
                admit_labels(&labels_of(Message::new(labels), options)??, options)
            });
            points.write(series, intake, exemplar)
        }
        Item::Metadata(message) => metadata(message, hash, intake),
    })
}

pub(super) fn walk<'a>(
    body: &'a [u8],
    mut each: impl FnMut(Item<'_, 'a>) -> Result<(), WireError>,
) -> Result<(), WireError> {
    let mut request = Message::new(body);
    let mut points = Points::new(NO_STARTS);
    let mut scattered = Vec::new();
    while let Some(field) = request.next_field()? {
        match field.number {
            1 => {
                points.clear();
                let labels = series(field.message()?, &mut points, &mut scattered)?;
                each(Item::Series(labels, &points))?;
            }
            3 => each(Item::Metadata(field.message()?))?,
            _ => {}
        }
    }
    Ok(())
}

/// Collects the points of a series and returns its label bytes: where they stand if the labels come first, which
/// every known sender does, else gathered in `scattered`.
#[inline]
fn series<'r, 'a: 'r>(
    mut message: Message<'a>,
    points: &mut Points<'a>,
    scattered: &'r mut Vec<u8>,
) -> Result<&'r [u8], WireError> {
    let labels = message.take_while_tag(LABEL)?;
    while let Some(message) = message.take_if_tag(SAMPLE)? {
        points.push_sample(message)?;
    }
    scattered.clear();
    while let Some(field) = message.next_field()? {
        match field.number {
            1 => {
                if scattered.is_empty() {
                    scattered.extend_from_slice(labels);
                }
                let label = field.message()?;
                scattered.push(LABEL);
                push_varint(scattered, label.bytes().len());
                scattered.extend_from_slice(label.bytes());
            }
            2 => points.push_sample(field.message()?)?,
            3 => points.exemplars.push(field.message()?),
            4 => points.histograms.push(field.message()?),
            _ => {}
        }
    }
    Ok(if scattered.is_empty() { labels } else { scattered })
}

fn push_varint(to: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        to.push(value as u8 | 0x80);
        value >>= 7;
    }
    to.push(value as u8);
}

/// The labels of a message whose field 1 they are.
pub(super) fn labels_of<'a>(
    message: Message<'a>,
    options: &Options,
) -> Result<Result<Vec<Pair<'a>>, Rejection>, WireError> {
    let mut pairs = Vec::new();
    let mut count = 0;
    let mut rest = message;
    while let Some(field) = rest.next_field()? {
        if field.number == 1 {
            count += 1;
            if count <= options.labels_max {
                pairs.push(label(field.message()?)?);
            }
        }
    }
    Ok(admit_label_count(count, options).map(|()| pairs))
}

fn label(mut message: Message<'_>) -> Result<Pair<'_>, WireError> {
    let (mut name, mut value) = (&[][..], &[][..]);
    while let Some(field) = message.next_field()? {
        match field.number {
            1 => name = field.message()?.bytes(),
            2 => value = field.message()?.bytes(),
            _ => {}
        }
    }
    Ok((name, value))
}

fn exemplar(mut message: Message<'_>, options: &Options) -> Result<WireExemplar, WireError> {
    let pairs = labels_of(message, options)?;
    let (mut value, mut timestamp): (f64, Timestamp) = (0.0, 0);
    while let Some(field) = message.next_field()? {
        match field.number {
            2 => value = field.double()?,
            3 => timestamp = field.varint()? as i64,
            _ => {}
        }
    }
    let labels = pairs.and_then(|pairs| admit_exemplar_labels(&pairs, options));
    Ok(WireExemplar { labels, value, timestamp })
}

fn metadata(mut message: Message<'_>, hash: &SpellingHash, intake: &mut Intake<'_>) -> Result<(), WireError> {
    let identity = hash.of(message.bytes());
    let (mut kind, mut family, mut help, mut unit) = (0, &[][..], &[][..], &[][..]);
    while let Some(field) = message.next_field()? {
        match field.number {
            1 => kind = field.varint()?,
            2 => family = field.message()?.bytes(),
            4 => help = field.message()?.bytes(),
            5 => unit = field.message()?.bytes(),
            _ => {}
        }
    }
    let (name_max, text_max) = (intake.options.label_name_bytes_max, intake.options.label_value_bytes_max);
    intake.metadata(identity, || {
        let family = std::str::from_utf8(family).ok().filter(|f| !f.is_empty() && f.len() <= name_max)?;
        let metadata = MetricMetadata {
            metric_type: metric_type(kind),
            help: shown_text(help, text_max),
            unit: shown_text(unit, text_max),
        };
        Some((family.to_owned(), metadata))
    });
    Ok(())
}
