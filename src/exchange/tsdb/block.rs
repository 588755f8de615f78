//! A whole block into batches: day by day, in each day series by series.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::chunk_files::ChunkFiles;
use super::index::{ChunkPlace, Entry, Index};
use super::tombstones::Tombstones;
use super::{Block, BlockError};
use crate::codec::chunks::{ChunkReader, ChunkValue};
use crate::exchange::Batch;
use crate::model::histogram::ResetHint;
use crate::model::time::DAY;
use crate::model::{Labels, Timestamp};

/// A hundred years; Prometheus's own blocks have a tenth of its retention.
const DAYS_MAX: i64 = 36_525;

pub struct BlockReader {
    name: String,
    index_path: PathBuf,
    index: Index,
    chunks: ChunkFiles,
    tombstones: Tombstones,
    /// That have samples, by number; the first to come last.
    days: Vec<i64>,
    day_count: usize,
    place: Place,
}

/// How far it was read in the day.
#[derive(Default)]
struct Place {
    /// Behind the series read last.
    at: u64,
    /// That was begun, and what of it is done: chunks, then samples of the next.
    series: Option<(Entry, usize, usize)>,
}

/// The UTC day of an instant, left-open and right-closed as partitions are.
fn day_of(timestamp: Timestamp) -> i64 {
    timestamp.saturating_sub(1).div_euclid(DAY)
}

impl BlockReader {
    pub fn open(block: &Block) -> Result<BlockReader, BlockError> {
        let index_path = block.path.join("index");
        let mut index = Index::open(&index_path)?;
        let days = days(&mut index, &index_path)?;
        Ok(BlockReader {
            name: block.name.clone(),
            chunks: ChunkFiles::open(&block.path.join("chunks"))?,
            tombstones: Tombstones::read(&block.path.join("tombstones"))?,
            place: Place { at: index.begin(), series: None },
            day_count: days.len(),
            days: days.into_iter().rev().collect(),
            index_path,
            index,
        })
    }

    /// Reads until the batch is full, or to the end of the block: then there is no more, `false`.
    pub fn fill(&mut self, batch: &mut Batch) -> Result<bool, BlockError> {
        while let Some(&day) = self.days.last() {
            batch.origin = format!("block {}", self.name);
            if !self.fill_day(day, batch)? {
                return Ok(true);
            }
            self.days.pop();
            self.place = Place { at: self.index.begin(), series: None };
        }
        Ok(false)
    }

    /// Between 0 and 1.
    pub fn share_read(&self) -> f64 {
        let done = (self.day_count - self.days.len()) as f64;
        let of_day = if self.days.is_empty() { 0.0 } else { self.index.share(self.place.at) };
        (done + of_day) / self.day_count.max(1) as f64
    }

    /// Whether the day is done; it is not if the batch is full.
    fn fill_day(&mut self, day: i64, batch: &mut Batch) -> Result<bool, BlockError> {
        loop {
            if self.place.series.is_none() {
                let Some(entry) = self.index.next(&mut self.place.at)? else { return Ok(true) };
                self.place.series = Some((entry, 0, 0));
            }
            let Some((entry, chunks_done, samples_done)) = &mut self.place.series else { continue };
            while let Some(place) = entry.chunks.get(*chunks_done) {
                if day_of(place.first) <= day && day <= day_of(place.last) {
                    let series = SeriesOfDay {
                        labels: &entry.labels,
                        deleted: self.tombstones.of(entry.reference),
                        day,
                    };
                    let is_done =
                        read_chunk(&mut self.chunks, &self.index_path, *place, &series, samples_done, batch)?;
                    if !is_done {
                        return Ok(false);
                    }
                }
                (*chunks_done, *samples_done) = (*chunks_done + 1, 0);
            }
            self.place.series = None;
        }
    }
}

struct SeriesOfDay<'a> {
    labels: &'a Labels,
    deleted: &'a [(Timestamp, Timestamp)],
    day: i64,
}

/// Whether all of it is in the batch, which else is full.
fn read_chunk(
    chunks: &mut ChunkFiles,
    index_path: &std::path::Path,
    place: ChunkPlace,
    series: &SeriesOfDay<'_>,
    samples_done: &mut usize,
    batch: &mut Batch,
) -> Result<bool, BlockError> {
    let (encoding, data) = chunks.read(index_path, place.reference)?;
    let malformed = |error: crate::codec::Malformed| BlockError::Meta {
        path: index_path.to_owned(),
        reason: format!("the chunk at {:#x} of {}: {error}", place.reference, series.labels),
    };
    let mut reader = ChunkReader::new(encoding, data).map_err(malformed)?;
    let mut number = 0;
    while let Some((timestamp, value)) = reader.next_sample().map_err(malformed)? {
        number += 1;
        let is_deleted = || series.deleted.iter().any(|(first, last)| (*first..=*last).contains(&timestamp));
        if number <= *samples_done || day_of(timestamp) != series.day || is_deleted() {
            continue;
        }
        if batch.is_full() {
            return Ok(false);
        }
        *samples_done = number;
        match value {
            ChunkValue::Float(value) => batch.float(series.labels, timestamp, value, 0),
            ChunkValue::Histogram(mut histogram) => {
                // As Prometheus: who reads this series does not know what came before the chunk.
                if histogram.hint == ResetHint::Reset {
                    histogram.hint = ResetHint::Unknown;
                }
                batch.histogram(series.labels, timestamp, &histogram);
            }
        }
    }
    Ok(true)
}

/// The days that have samples.
fn days(index: &mut Index, path: &std::path::Path) -> Result<BTreeSet<i64>, BlockError> {
    let mut days = BTreeSet::new();
    let mut at = index.begin();
    while let Some(entry) = index.next(&mut at)? {
        for chunk in &entry.chunks {
            let (first, last) = (day_of(chunk.first), day_of(chunk.last));
            let is_sane = last.saturating_sub(first) <= DAYS_MAX && days.len() as i64 <= DAYS_MAX;
            if !is_sane {
                let reason = format!("a chunk of {} from {} to {}", entry.labels, chunk.first, chunk.last);
                return Err(BlockError::Meta { path: path.to_owned(), reason });
            }
            days.extend(first..=last);
        }
    }
    Ok(days)
}
