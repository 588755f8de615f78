//! Remote write 2.0: `proto/remote_write_v2.proto`, read in place.
//!
//! Every text of a request stands once in its table of symbols. Each symbol is hashed once; the hashes of a
//! series' symbols in their order are its spelling, whatever numbers the request gave them.

use crate::model::labels::METRIC_NAME;
use crate::model::{MetricMetadata, MetricType, Timestamp};

use super::super::admission::{Reason, Rejection, admit_exemplar_labels, admit_label_count, admit_labels};
use super::super::intake::Intake;
use super::super::protobuf::{Message, WireError};
use super::super::series_cache::SpellingHash;
use super::super::{IngestError, Options};
use super::{Pair, Points, Starts, WireExemplar, bad_reference, family_of, metric_type, shown_text};

// A symbol may be as short as 2 bytes on the wire but costs 32 here: 1 M of them are 32 MB.
const SYMBOLS_MAX: usize = 1_000_000;

pub(super) const STARTS: Starts = Starts { of_sample: 3, of_histogram: 17 };

// Single-byte tags: (field number << 3) | 2 for length-delimited.
const SAMPLE: u8 = 0x12;

/// The texts of a request with their hashes.
#[derive(Default)]
pub(super) struct Symbols<'a> {
    texts: Vec<&'a [u8]>,
    hashes: Vec<u128>,
}

/// A series as it is sent; used again for the next.
pub(super) struct Series<'a> {
    pub(super) label_refs: Vec<u32>,
    pub(super) points: Points<'a>,
    metadata: Metadata,
}

#[derive(Clone, Copy, Default, PartialEq)]
struct Metadata {
    kind: u64,
    help_ref: u32,
    unit_ref: u32,
}

/// Reads a whole request into `intake`.
pub(in super::super) fn read(
    body: &[u8],
    hash: &SpellingHash,
    intake: &mut Intake<'_>,
) -> Result<(), IngestError> {
    let symbols = Symbols::read(body, hash)?;
    let mut spelling = Vec::new();
    let mut last_told = (None, Metadata::default());
    walk(body, |series| {
        let spelled = admit_label_count(series.label_refs.len() / 2, intake.options)
            .and_then(|()| symbols.spell(&series.label_refs, &mut spelling));
        let resolved = spelled.and_then(|()| {
            intake.resolve(hash.of(&spelling), |options| {
                admit_labels(&symbols.pairs(&series.label_refs)?, options)
            })
        });
        if resolved.is_ok() && !series.metadata.is_empty() {
            // Series of one name come side by side, and each tells the same.
            let telling = (symbols.metric_name_ref(series), series.metadata);
            if last_told != telling {
                last_told = telling;
                symbols.tell(series, hash, intake);
            }
        }
        series.points.write(resolved, intake, |message, options| exemplar(message, &symbols, options))
    })?;
    Ok(())
}

pub(super) fn walk<'a>(
    body: &'a [u8],
    mut each: impl FnMut(&Series<'a>) -> Result<(), WireError>,
) -> Result<(), WireError> {
    let mut request = Message::new(body);
    let mut series =
        Series { label_refs: Vec::new(), points: Points::new(STARTS), metadata: Metadata::default() };
    while let Some(field) = request.next_field()? {
        if field.number == 5 {
            series.read(field.message()?)?;
            each(&series)?;
        }
    }
    Ok(())
}

impl<'a> Series<'a> {
    #[inline]
    fn read(&mut self, mut message: Message<'a>) -> Result<(), WireError> {
        self.label_refs.clear();
        self.points.clear();
        self.metadata = Metadata::default();
        while let Some(field) = message.next_field()? {
            match field.number {
                1 => {
                    field.each_varint(|reference| self.label_refs.push(reference as u32))?;
                    while let Some(message) = message.take_if_tag(SAMPLE)? {
                        self.points.push_sample(message)?;
                    }
                }
                2 => self.points.push_sample(field.message()?)?,
                3 => self.points.histograms.push(field.message()?),
                4 => self.points.exemplars.push(field.message()?),
                5 => self.metadata.merge(field.message()?)?,
                6 => self.points.created = field.varint()? as i64,
                _ => {}
            }
        }
        Ok(())
    }
}

impl Metadata {
    fn merge(&mut self, mut message: Message<'_>) -> Result<(), WireError> {
        while let Some(field) = message.next_field()? {
            match field.number {
                1 => self.kind = field.varint()?,
                3 => self.help_ref = field.varint()? as u32,
                4 => self.unit_ref = field.varint()? as u32,
                _ => {}
            }
        }
        Ok(())
    }

    fn is_empty(&self) -> bool {
        self.kind == 0 && self.help_ref == 0 && self.unit_ref == 0
    }
}

impl<'a> Symbols<'a> {
    /// The whole table, before any series: fields may come in any order.
    pub(super) fn read(body: &'a [u8], hash: &SpellingHash) -> Result<Symbols<'a>, IngestError> {
        let mut symbols = Symbols::default();
        let mut request = Message::new(body);
        while let Some(field) = request.next_field()? {
            if field.number != 4 {
                continue;
            }
            if symbols.texts.len() == SYMBOLS_MAX {
                return Err(IngestError::Malformed {
                    what: "remote write 2.0 request",
                    offset: field.offset,
                    reason: format!("more than {SYMBOLS_MAX} symbols"),
                });
            }
            let text = field.message()?.bytes();
            symbols.texts.push(text);
            symbols.hashes.push(hash.of(text));
        }
        Ok(symbols)
    }

    fn text(&self, reference: u32) -> Result<&'a [u8], Rejection> {
        let text = self.texts.get(reference as usize).copied();
        text.ok_or_else(|| bad_reference(reference, self.texts.len()))
    }

    /// Replaces `spelling` by the hashes of the symbols referred to.
    #[inline]
    fn spell(&self, references: &[u32], spelling: &mut Vec<u8>) -> Result<(), Rejection> {
        spelling.clear();
        if !references.len().is_multiple_of(2) {
            let message = format!("{} label references, which are no pairs", references.len());
            return Err(Rejection::new(Reason::SymbolReference, message));
        }
        for &reference in references {
            match self.hashes.get(reference as usize) {
                Some(hash) => spelling.extend_from_slice(&hash.to_le_bytes()),
                None => return Err(bad_reference(reference, self.texts.len())),
            }
        }
        Ok(())
    }

    pub(super) fn pairs(&self, references: &[u32]) -> Result<Vec<Pair<'a>>, Rejection> {
        references.chunks_exact(2).map(|pair| Ok((self.text(pair[0])?, self.text(pair[1])?))).collect()
    }

    fn metric_name_ref(&self, series: &Series<'a>) -> Option<u32> {
        let mut pairs = series.label_refs.chunks_exact(2);
        pairs
            .find(|pair| self.text(pair[0]).is_ok_and(|name| name == METRIC_NAME.as_bytes()))
            .map(|pair| pair[1])
    }

    /// Passes the metadata on that a series carries. What cannot be read of it is left out: it is not worth its
    /// samples.
    fn tell(&self, series: &Series<'a>, hash: &SpellingHash, intake: &mut Intake<'_>) {
        let name = self.metric_name_ref(series).and_then(|reference| self.text(reference).ok());
        let Some(name) = name.and_then(|name| std::str::from_utf8(name).ok()) else { return };
        let Metadata { kind, help_ref, unit_ref } = series.metadata;
        let metric_type: MetricType = metric_type(kind);
        let family = family_of(name, metric_type);
        let mut identity = [0; 56];
        identity[..16].copy_from_slice(&hash.of(family.as_bytes()).to_le_bytes());
        let hash_of = |reference: u32| self.hashes.get(reference as usize).copied().unwrap_or(0);
        identity[16..32].copy_from_slice(&hash_of(help_ref).to_le_bytes());
        identity[32..48].copy_from_slice(&hash_of(unit_ref).to_le_bytes());
        identity[48..].copy_from_slice(&kind.to_le_bytes());
        let text_max = intake.options.label_value_bytes_max;
        intake.metadata(hash.of(&identity), || {
            let metadata = MetricMetadata {
                metric_type,
                help: shown_text(self.text(help_ref).unwrap_or_default(), text_max),
                unit: shown_text(self.text(unit_ref).unwrap_or_default(), text_max),
            };
            Some((family.to_owned(), metadata))
        });
    }
}

fn exemplar(
    mut message: Message<'_>,
    symbols: &Symbols<'_>,
    options: &Options,
) -> Result<WireExemplar, WireError> {
    let mut references = Vec::new();
    let (mut value, mut timestamp): (f64, Timestamp) = (0.0, 0);
    while let Some(field) = message.next_field()? {
        match field.number {
            1 => field.each_varint(|reference| references.push(reference as u32))?,
            2 => value = field.double()?,
            3 => timestamp = field.varint()? as i64,
            _ => {}
        }
    }
    let labels = admit_label_count(references.len() / 2, options)
        .and_then(|()| symbols.pairs(&references))
        .and_then(|pairs| admit_exemplar_labels(&pairs, options));
    Ok(WireExemplar { labels, value, timestamp })
}
