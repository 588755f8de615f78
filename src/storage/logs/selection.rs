//! What a query selects: streams, and the parts of heads and segments that may hold entries of them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use foldhash::fast::RandomState;
use roaring::RoaringBitmap;

use super::head::{LogHead, Share};
use crate::model::{Labels, Lookout, Matcher, NanoRange};
use crate::storage::errors::ReadError;
use crate::storage::live::LiveSegment;

/// The streams that a selection found, and the parts that may hold entries of them.
pub struct LogSelection {
    /// Each once, in no promised order.
    pub streams: Vec<Labels>,
    /// Of each source those by time; parts may overlap in time.
    pub parts: Vec<LogPart>,
    pub(super) range: NanoRange,
    /// By the sources that parts lie in.
    pub(super) numbers: HashMap<Source, StreamNumbers, RandomState>,
}

/// A block of a segment or a chunk of a head: what is read at once.
#[derive(Clone, Debug)]
pub struct LogPart {
    /// From its first to its last entry, whatever was asked for.
    pub range: NanoRange,
    /// Of the selected streams, in and out of the selected range.
    pub rows: u64,
    /// As `rows`: bytes of lines.
    pub bytes: u64,
    pub(super) source: Source,
    pub(super) place: Place,
}

/// A place in the snapshot's lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Source {
    Segment(u32),
    Head(u32),
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    Block(u64),
    /// What comes to an open chunk later is not in the snapshot.
    Chunk {
        group: u32,
        chunk: u32,
        row_count: u32,
    },
}

/// How much a selection holds, told from the headers of its parts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SelectionSize {
    pub streams: u64,
    /// Parts.
    pub chunks: u64,
    /// Of lines.
    pub bytes: u64,
    pub entries: u64,
}

/// What one selected stream has in a part, in and out of the selected range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamShare {
    /// Index in [`LogSelection::streams`].
    pub stream: u32,
    pub entries: u64,
    /// Of lines.
    pub bytes: u64,
}

/// The numbers of a source's streams in the selection.
#[derive(Default)]
pub(super) struct StreamNumbers {
    /// Sorted, with the number in the selection.
    by_source: Vec<(u32, u32)>,
}

impl StreamNumbers {
    /// Of the streams of one block: their numbers in the block.
    pub fn all(shares: &[Share]) -> StreamNumbers {
        let mut by_source: Vec<(u32, u32)> =
            shares.iter().enumerate().map(|(number, share)| (share.stream, number as u32)).collect();
        by_source.sort_unstable();
        StreamNumbers { by_source }
    }

    pub fn get(&self, stream: u32) -> Option<u32> {
        let at = self.by_source.binary_search_by_key(&stream, |(own, _)| *own).ok()?;
        Some(self.by_source[at].1)
    }
}

impl LogSelection {
    fn add(&mut self, source: Source, place: Place, range: NanoRange, shares: &[Share]) {
        let rows = shares.iter().map(|share| share.rows).sum();
        let bytes = shares.iter().map(|share| share.bytes).sum();
        self.parts.push(LogPart { range, rows, bytes, source, place });
    }
}

impl LogPart {
    /// The share of `count` that falls into `wanted`, spread evenly; at least 1 of what is not nothing.
    pub fn share_in(&self, wanted: NanoRange, count: u64) -> u64 {
        let length = |range: NanoRange| (i128::from(range.until) - i128::from(range.after)).max(0);
        let (inside, whole) = (length(self.range.intersect(&wanted)), length(self.range).max(1));
        let share = (inside * i128::from(count) + whole - 1) / whole;
        u64::try_from(share).map_or(count, |share| share.min(count))
    }
}

/// Whether the labels are such that all matchers let them through; false where the lookout gives up.
pub(super) fn matches(matchers: &[Matcher], labels: &Labels, lookout: &Lookout<'_>) -> bool {
    matchers.iter().all(|matcher| {
        let value = labels.get(&matcher.name);
        !lookout.gives_up_before(value.len()) && matcher.matches_within(value, lookout)
    })
}

/// A selection, as the sources are gone through.
pub(super) struct Found {
    pub selection: LogSelection,
    /// Streams by fingerprint.
    known: HashMap<u128, u32, RandomState>,
}

impl Found {
    pub fn new(range: NanoRange) -> Found {
        let (streams, parts, numbers) = Default::default();
        Found { selection: LogSelection { streams, parts, range, numbers }, known: HashMap::default() }
    }

    /// The number of a stream in the selection.
    fn number(
        &mut self,
        fingerprint: u128,
        labels: impl FnOnce() -> Result<Labels, ReadError>,
    ) -> Result<u32, ReadError> {
        if let Some(&number) = self.known.get(&fingerprint) {
            return Ok(number);
        }
        let number = self.selection.streams.len() as u32;
        self.selection.streams.push(labels()?);
        self.known.insert(fingerprint, number);
        Ok(number)
    }

    pub fn select_in_head(
        &mut self,
        source: Source,
        head: &LogHead,
        matchers: &[Matcher],
        lookout: &Lookout<'_>,
    ) {
        // In order, so that what lies in the same instant comes in the same order each time.
        let mut groups: BTreeMap<u32, BTreeSet<u32>> = BTreeMap::new();
        let mut candidates = Vec::new();
        head.for_each_stream(|id, stream| {
            if matches(matchers, &stream.labels, lookout) {
                candidates.push((id, stream.fingerprint, stream.labels.clone()));
                groups.entry(stream.group).or_default().insert(id);
            }
        });
        let mut has_entries = BTreeSet::new();
        for (number, wanted) in groups {
            if lookout.gives_up_before(wanted.len()) {
                break;
            }
            let group = head.group(number);
            for chunk in group.summaries(self.selection.range, |stream| wanted.contains(&stream)) {
                has_entries.extend(chunk.shares.iter().map(|share| share.stream));
                let place = Place::Chunk { group: number, chunk: chunk.number, row_count: chunk.row_count };
                self.selection.add(source, place, chunk.range, &chunk.shares);
            }
        }
        let mut numbers = StreamNumbers::default();
        for (id, fingerprint, labels) in candidates {
            if has_entries.contains(&id) {
                let number = self.number(fingerprint, || Ok(labels)).expect("no file is read");
                numbers.by_source.push((id, number));
            }
        }
        self.selection.numbers.insert(source, numbers);
    }
}

/// Where the segment is damaged, what was found before is there.
pub(super) fn select_in_segment(
    live: &LiveSegment,
    source: Source,
    matchers: &[Matcher],
    lookout: &Lookout<'_>,
    found: &mut Found,
) -> Result<(), ReadError> {
    let segment = live.logs()?;
    let selected = segment.select(matchers, lookout)?;
    let mut has_entries = RoaringBitmap::new();
    let mut blocks = Vec::new();
    let range = found.selection.range;
    let all = segment.for_each_block(&selected, range, lookout, |number, block| {
        let shares = block.shares().iter().filter(|share| selected.contains(share.stream));
        let shares: Vec<Share> = shares.copied().collect();
        has_entries.extend(shares.iter().map(|share| share.stream));
        blocks.push((number, block.header().range(), shares));
    });
    let (mut numbers, mut labels) = (StreamNumbers::default(), segment.index().labels_reader());
    for ordinal in has_entries {
        if lookout.gives_up_before(0) {
            break;
        }
        let fingerprint = labels.fingerprint(ordinal)?;
        let number = found.number(fingerprint, || Ok(labels.labels(ordinal)?))?;
        numbers.by_source.push((ordinal, number));
    }
    found.selection.numbers.insert(source, numbers);
    for (number, range, shares) in blocks {
        found.selection.add(source, Place::Block(number), range, &shares);
    }
    Ok(all?)
}
