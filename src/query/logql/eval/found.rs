//! Entries that a log query found, in the order of its answer: by time, those of one instant by the labels of their
//! streams, and those of one stream in order of arrival; newest first, all of that the other way round. None of it hangs
//! on where the entries lie, so an answer that is cut is the same before a flush and after it.
//!
//! An entry that its sender sent again, for want of an answer, is here once.

use std::cmp::Reverse;

use crate::model::{Labels, Nanos};
use crate::query::logs::{Direction, LogLine};

pub struct Found {
    pub place: Place,
    /// Of the entry as it was sent: `storage::logs::identity`.
    pub identity: u128,
    /// Labels and line as the stages left them.
    pub stream: Labels,
    pub line: LogLine,
}

/// An entry's place among all, oldest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub time: Nanos,
    /// The stream's place in order of labels.
    pub stream: u32,
    /// Parts, and rows of a part, are in order of arrival.
    pub part: usize,
    pub row: usize,
}

impl Found {
    /// Memory it takes, for accounting.
    pub fn bytes(&self) -> u64 {
        let pairs = self.line.metadata.iter().chain(&self.line.parsed);
        let texts: usize =
            pairs.map(|(name, value)| name.len() + value.len() + 2 * size_of::<String>()).sum();
        (self.line.line.len() + texts + size_of::<Found>()) as u64
    }

    fn is_again(&self, other: &Found) -> bool {
        let entry = |found: &Found| (found.place.time, found.place.stream, found.identity);
        entry(self) == entry(other)
    }
}

/// Puts entries in order, each once: the one that came first. Gives the bytes of those let go of.
pub fn settle(found: &mut Vec<Found>, direction: Direction) -> u64 {
    let mut bytes = 0;
    found.sort_unstable_by_key(|f| (f.place.time, f.place.stream, f.identity, f.place));
    found.dedup_by(|later, first| {
        let is_again = later.is_again(first);
        bytes += if is_again { later.bytes() } else { 0 };
        is_again
    });
    match direction {
        Direction::Forward => found.sort_unstable_by_key(|found| found.place),
        Direction::Backward => found.sort_unstable_by_key(|found| Reverse(found.place)),
    }
    bytes
}

/// The place of each stream in order of labels.
pub fn places_by_labels(streams: &[Labels]) -> Vec<u32> {
    let mut sorted: Vec<usize> = (0..streams.len()).collect();
    sorted.sort_unstable_by_key(|&stream| &streams[stream]);
    let mut places = vec![0; streams.len()];
    for (place, stream) in sorted.into_iter().enumerate() {
        places[stream] = place as u32;
    }
    places
}
