//! Heads into a new segment.

use std::collections::{BTreeSet, HashMap};
use std::io::{self, Write};
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::head::{Chunk, Group, LogHead, group_fingerprint};
use super::segment_writer::LogsSegmentWriter;
use crate::codec::text::Effort;
use crate::model::{Labels, NanoRange, Nanos, TimeRange};
use crate::storage::segment::SegmentMeta;

/// Writes a segment of what the heads of all shards hold in `range`; none if that is nothing.
pub(in crate::storage) fn write_generation<W: Write>(
    heads: &[Arc<LogHead>],
    range: TimeRange,
    seqs: (u64, u64),
    to: W,
) -> io::Result<Option<(W, SegmentMeta)>> {
    let soft_labels: BTreeSet<String> = heads.iter().flat_map(|head| head.soft_labels()).collect();
    let soft: Vec<String> = soft_labels.iter().cloned().collect();
    let range = NanoRange::from(range);
    let mut streams = streams_in(heads, range);
    if streams.is_empty() {
        return Ok(None);
    }
    streams.sort_unstable_by(|a, b| a.labels.cmp(&b.labels));
    let mut to = LogsSegmentWriter::new(to, soft_labels, Effort::Fast)?;
    let mut numbers: HashMap<u128, u32, RandomState> = HashMap::default();
    let mut groups: Vec<Sources> = Vec::new();
    let mut ordinals: Vec<HashMap<u32, u32, RandomState>> = vec![HashMap::default(); heads.len()];
    let mut last: Option<(Labels, u32)> = None;
    for stream in streams {
        let next = numbers.len() as u32;
        let group = *numbers.entry(group_fingerprint(&stream.labels, &soft)).or_insert(next);
        if group == next {
            groups.push(Sources::default());
        }
        groups[group as usize].insert((stream.head, stream.group));
        // After a replay of a damaged log two heads may have the same stream.
        let ordinal = match &last {
            Some((labels, ordinal)) if *labels == stream.labels => *ordinal,
            _ => to.stream(stream.labels.clone(), group),
        };
        last = Some((stream.labels, ordinal));
        ordinals[stream.head].insert(stream.id, ordinal);
    }
    for sources in groups {
        let sources: Vec<(usize, Arc<Group>)> =
            sources.into_iter().map(|(head, group)| (head, heads[head].group(group))).collect();
        write_group(&sources, &ordinals, range, &mut to)?;
        to.end_group()?;
    }
    to.finish(seqs).map(Some)
}

/// The groups that a group of the segment comes from: heads and numbers there.
type Sources = BTreeSet<(usize, u32)>;

/// A stream of a head that has entries.
struct FoundStream {
    labels: Labels,
    head: usize,
    id: u32,
    group: u32,
}

/// The streams that have entries in `range`.
fn streams_in(heads: &[Arc<LogHead>], range: NanoRange) -> Vec<FoundStream> {
    let mut found = Vec::new();
    for (number, head) in heads.iter().enumerate() {
        let mut written = BTreeSet::new();
        for group in head.groups() {
            group.streams_in(range, &mut written);
        }
        head.for_each_stream(|id, stream| {
            if written.contains(&id) {
                let (labels, group) = (stream.labels.clone(), stream.group);
                found.push(FoundStream { labels, head: number, id, group });
            }
        });
    }
    found
}

/// Where a row lies.
struct RowPlace {
    time: Nanos,
    chunk: u32,
    row: u32,
}

/// Adds the rows of one group in order of time, those of one instant in order of arrival.
fn write_group<W: Write>(
    sources: &[(usize, Arc<Group>)],
    ordinals: &[HashMap<u32, u32, RandomState>],
    range: NanoRange,
    to: &mut LogsSegmentWriter<W>,
) -> io::Result<()> {
    let mut chunks: Vec<(Arc<Chunk>, Vec<u32>)> = Vec::new();
    for (head, group) in sources {
        for chunk in group.all_chunks() {
            // Streams without entries in the range have no number, and no row that is looked at.
            let numbers = chunk.shares.iter().map(|share| ordinals[*head].get(&share.stream).copied());
            let numbers = numbers.map(|number| number.unwrap_or(u32::MAX)).collect();
            chunks.push((chunk, numbers));
        }
    }
    let mut places = Vec::new();
    for (number, (chunk, _)) in chunks.iter().enumerate() {
        let times = chunk.rows.timestamps.iter().enumerate();
        let inside = times.filter(|(_, time)| range.contains(**time));
        places.extend(inside.map(|(row, &time)| RowPlace { time, chunk: number as u32, row: row as u32 }));
    }
    if !places.is_sorted_by_key(|place| place.time) {
        places.sort_by_key(|place| place.time);
    }
    for place in places {
        let (chunk, numbers) = &chunks[place.chunk as usize];
        let stream = numbers[chunk.rows.streams[place.row as usize] as usize];
        to.row(&chunk.rows, place.row as usize, stream)?;
    }
    Ok(())
}
