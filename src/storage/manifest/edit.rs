//! One edit of the manifest, and its record in the file (`storage-format.md` §3).
//!
//! A record is whole or it is none: its checksum covers all of it.

use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

use crate::codec::varint::write_u64;
use crate::codec::{Malformed, take, take_count};
use crate::storage::tombstone::Tombstone;

/// No store gets to a higher number of a generation: at one a second it takes fifteen thousand years.
pub const GENERATION_MAX: u64 = 500_000_000_000;

/// Nor to a higher sequence number.
pub const SEQ_MAX: u64 = u64::MAX / 2;

/// What the store must know of a segment before it opens it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentEntry {
    pub id: u64,
    pub signal: u8,
    /// 0 hot, 1 warm, 2 cold, and so on: in whose directory it lies.
    pub tier: u8,
    /// 0 as sealed, 1 merged once, 2 final for its partition.
    pub level: u8,
    pub tenant: u64,
    /// The partition, named by its end; for rows as sent a UTC day.
    pub partition: i64,
    pub min_time: i64,
    pub max_time: i64,
    pub min_seq: u64,
    pub max_seq: u64,
    pub bytes: u64,
    pub rows: u64,
    pub series: u64,
    /// 0: rows as sent.
    pub resolution_ms: u32,
    /// Of rows as sent: which rollups of them are listed, as a hash of their resolutions; 0 if none.
    pub rolled: u32,
}

/// One atomic change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edit {
    pub add: Vec<SegmentEntry>,
    pub remove: Vec<u64>,
    /// Generations of the log up to and including this one are sealed.
    pub wal_done: Option<u64>,
    /// The highest sequence number given out, so that none is given twice when the log is gone.
    pub max_seq: u64,
    /// Resolution and partition: samples of that resolution up to and including that partition were let go.
    pub floors: Vec<(u32, i64)>,
    pub tombstones: Vec<Arc<Tombstone>>,
    /// Tombstones that hide nothing any more, by sequence number.
    pub forgotten: Vec<u64>,
}

impl Edit {
    /// Whether something can come after what it numbers. What was written by us always leaves room.
    pub(super) fn has_numbers_left(&self) -> bool {
        let ids = self.add.iter().map(|entry| entry.id);
        let seqs = self.add.iter().map(|entry| entry.max_seq);
        let mut seqs =
            seqs.chain(self.tombstones.iter().map(|tombstone| tombstone.seq)).chain([self.max_seq]);
        self.wal_done.unwrap_or(0) <= GENERATION_MAX
            && ids.max().unwrap_or(0) < u64::MAX
            && seqs.all(|seq| seq <= SEQ_MAX)
    }
}

const ENTRY_BYTES: usize = 12 + 9 * 8 + 12;
const FLOOR_BYTES: usize = 12;

/// What an edit begins with; version 1 had no floors.
fn edit_header_bytes(version: u32) -> usize {
    if version == 1 { 24 } else { 32 }
}

/// Record: length u32, checksum u64 of what follows, payload.
pub(super) fn encode_record(edit: &Edit) -> Vec<u8> {
    let mut payload = Vec::new();
    payload.extend_from_slice(&edit.max_seq.to_le_bytes());
    payload.extend_from_slice(&edit.wal_done.unwrap_or(0).to_le_bytes());
    payload.extend_from_slice(&(edit.add.len() as u32).to_le_bytes());
    payload.extend_from_slice(&(edit.remove.len() as u32).to_le_bytes());
    payload.extend_from_slice(&(edit.floors.len() as u32).to_le_bytes());
    let tombstones = encode_tombstones(edit);
    payload.extend_from_slice(&(tombstones.len() as u32).to_le_bytes());
    for entry in &edit.add {
        encode_entry(entry, &mut payload);
    }
    for id in &edit.remove {
        payload.extend_from_slice(&id.to_le_bytes());
    }
    for (resolution_ms, partition) in &edit.floors {
        payload.extend_from_slice(&resolution_ms.to_le_bytes());
        payload.extend_from_slice(&partition.to_le_bytes());
    }
    payload.extend_from_slice(&tombstones);
    let mut record = Vec::with_capacity(payload.len() + 12);
    record.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    record.extend_from_slice(&xxh3_64(&payload).to_le_bytes());
    record.extend_from_slice(&payload);
    record
}

/// What an edit says of tombstones; nothing where that is nothing.
fn encode_tombstones(edit: &Edit) -> Vec<u8> {
    let mut bytes = Vec::new();
    if edit.tombstones.is_empty() && edit.forgotten.is_empty() {
        return bytes;
    }
    write_u64(&mut bytes, edit.tombstones.len() as u64);
    edit.tombstones.iter().for_each(|tombstone| tombstone.encode(&mut bytes));
    for seq in &edit.forgotten {
        bytes.extend_from_slice(&seq.to_le_bytes());
    }
    bytes
}

fn decode_tombstones(mut bytes: &[u8]) -> Result<(Vec<Arc<Tombstone>>, Vec<u64>), Malformed> {
    let (mut tombstones, mut forgotten) = (Vec::new(), Vec::new());
    if !bytes.is_empty() {
        let count_max = bytes.len();
        for _ in 0..take_count(&mut bytes, count_max)? {
            tombstones.push(Arc::new(Tombstone::decode(&mut bytes)?));
        }
    }
    while !bytes.is_empty() {
        let seq = take(&mut bytes, 8)?.try_into().expect("eight bytes");
        forgotten.push(u64::from_le_bytes(seq));
    }
    Ok((tombstones, forgotten))
}

fn encode_entry(entry: &SegmentEntry, to: &mut Vec<u8>) {
    let start = to.len();
    to.extend_from_slice(&entry.id.to_le_bytes());
    to.extend_from_slice(&[entry.signal, entry.tier, entry.level, 0]);
    for word in [entry.tenant, entry.partition as u64, entry.min_time as u64, entry.max_time as u64] {
        to.extend_from_slice(&word.to_le_bytes());
    }
    for word in [entry.min_seq, entry.max_seq, entry.bytes, entry.rows, entry.series] {
        to.extend_from_slice(&word.to_le_bytes());
    }
    for half in [entry.resolution_ms, entry.rolled] {
        to.extend_from_slice(&half.to_le_bytes());
    }
    to.resize(start + ENTRY_BYTES, 0);
}

/// The edit whose record begins there, if a whole one does, and where that ends.
pub(super) fn edit_at(bytes: &[u8], at: usize, version: u32) -> Option<(Edit, usize)> {
    let len = u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?) as usize;
    let sum = u64::from_le_bytes(bytes.get(at + 4..at + 12)?.try_into().ok()?);
    let payload = bytes.get(at + 12..)?.get(..len)?;
    let header = edit_header_bytes(version);
    if len < header || xxh3_64(payload) != sum {
        return None;
    }
    let word = |i: usize| u64::from_le_bytes(payload[i..i + 8].try_into().expect("eight bytes"));
    let half = |i: usize| u32::from_le_bytes(payload[i..i + 4].try_into().expect("four bytes")) as usize;
    let (added, removed) = (half(16), half(20));
    // Version 2 had zeros where the length of tombstones is now.
    let (floors, tombstone_bytes) = if version == 1 { (0, 0) } else { (half(24), half(28)) };
    let removed_from = header + added * ENTRY_BYTES;
    let floors_from = removed_from + removed * 8;
    let tombstones_from = floors_from + floors * FLOOR_BYTES;
    if len != tombstones_from + tombstone_bytes {
        return None;
    }
    let (tombstones, forgotten) = decode_tombstones(&payload[tombstones_from..]).ok()?;
    let edit = Edit {
        max_seq: word(0),
        wal_done: Some(word(8)).filter(|&generation| generation > 0),
        add: (0..added).map(|i| decode_entry(&payload[header + i * ENTRY_BYTES..])).collect(),
        remove: (0..removed).map(|i| word(removed_from + i * 8)).collect(),
        floors: (0..floors)
            .map(|i| floors_from + i * FLOOR_BYTES)
            .map(|at| (half(at) as u32, word(at + 4) as i64))
            .collect(),
        tombstones,
        forgotten,
    };
    Some((edit, at + 12 + len))
}

fn decode_entry(bytes: &[u8]) -> SegmentEntry {
    let word = |i: usize| u64::from_le_bytes(bytes[i..i + 8].try_into().expect("eight bytes"));
    let half = |i: usize| u32::from_le_bytes(bytes[i..i + 4].try_into().expect("four bytes"));
    SegmentEntry {
        id: word(0),
        signal: bytes[8],
        tier: bytes[9],
        level: bytes[10],
        tenant: word(12),
        partition: word(20) as i64,
        min_time: word(28) as i64,
        max_time: word(36) as i64,
        min_seq: word(44),
        max_seq: word(52),
        bytes: word(60),
        rows: word(68),
        series: word(76),
        resolution_ms: half(84),
        rolled: half(88),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::{Matcher, TimeRange};
    use crate::storage::manifest::FORMAT_VERSION;

    fn entry(id: u64) -> SegmentEntry {
        SegmentEntry {
            id,
            signal: 1,
            tier: 2,
            level: 3,
            tenant: 4,
            partition: -5,
            min_time: i64::MIN,
            max_time: i64::MAX,
            min_seq: 6,
            max_seq: 7,
            bytes: 8,
            rows: 9,
            series: 10,
            resolution_ms: 11,
            rolled: u32::MAX,
        }
    }

    fn edit() -> Edit {
        let selectors = vec![vec![Matcher::equal("job", "a")], Vec::new()];
        Edit {
            add: vec![entry(1), entry(u64::MAX)],
            remove: vec![3, 4, 5],
            wal_done: Some(6),
            max_seq: 7,
            floors: vec![(0, -8), (60_000, 9)],
            tombstones: vec![Arc::new(Tombstone {
                seq: 10,
                range: TimeRange::ALL,
                raw_floor: 11,
                selectors,
            })],
            forgotten: vec![12, 13],
        }
    }

    #[test]
    fn an_edit_comes_back_as_it_was_and_a_part_of_it_does_not() {
        for edit in [edit(), Edit::default(), Edit { forgotten: vec![1], ..Edit::default() }] {
            let mut bytes = b"before".to_vec();
            bytes.extend_from_slice(&encode_record(&edit));
            assert_eq!(edit_at(&bytes, 6, FORMAT_VERSION), Some((edit, bytes.len())));
            assert!((0..bytes.len()).all(|cut| edit_at(&bytes[..cut], 6, FORMAT_VERSION).is_none()));
        }
    }

    proptest! {
        #[test]
        fn a_payload_of_any_bytes_is_an_edit_or_none(
            changes in prop::collection::vec((0..400usize, any::<u8>()), 0..6),
            len in 0..400usize,
            version in 1..=FORMAT_VERSION,
        ) {
            let mut payload = encode_record(&edit()).split_off(12);
            payload.resize(len, 0);
            for (at, byte) in changes {
                if let Some(changed) = payload.get_mut(at) {
                    *changed = byte;
                }
            }
            let mut record = (payload.len() as u32).to_le_bytes().to_vec();
            record.extend_from_slice(&xxh3_64(&payload).to_le_bytes());
            record.extend_from_slice(&payload);
            if let Some((_, end)) = edit_at(&record, 0, version) {
                prop_assert_eq!(end, record.len());
            }
        }
    }
}
