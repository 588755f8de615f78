//! What logs write into a frame of the log (`storage-format.md` §2.2), and read back.
//!
//! A payload is a run of blocks. Streams are declared at their first use in a generation; entries are numbers, then
//! all their texts, which are compressed where that pays.

use std::ops::Range;

use super::batch::{Entry, StreamRows};
use crate::codec::varint::{read_i64, read_u64, write_i64, write_u64};
use crate::codec::{Malformed, compressed, put_text, take, take_count, take_text, take_u8};
use crate::model::{Labels, Nanos};

mod tag {
    pub const SOFT_LABELS: u8 = 1;
    pub const STREAMS: u8 = 2;
    pub const ENTRIES: u8 = 3;
}

mod packing {
    pub const PLAIN: u8 = 0;
    /// As it was written before [`ZSTD`], which takes two thirds of its time.
    pub const LZ4: u8 = 1;
    pub const ZSTD: u8 = 2;
}

/// Shorter texts are not compressed: a line or two hardly repeat themselves.
const COMPRESSED_BYTES_MIN: usize = 512;

/// About as small as LZ4's: a log is read once at most.
const ZSTD_LEVEL: i32 = -5;

/// What the texts of a block may unpack to: more than any request may hold.
const TEXT_BYTES_MAX: usize = 1 << 30;

/// LZ4 makes at most so many bytes of one.
const LZ4_RATIO_MAX: usize = 255;

/// The rows of one frame, as read back. Ids are those of the shard and generation that wrote it.
#[derive(Debug, Default)]
pub(in crate::storage) struct LoggedEntries {
    /// Names of labels that do not part groups, of the streams declared from now on.
    pub soft_labels: Vec<String>,
    pub streams: Vec<(u32, Labels)>,
    /// Entries of the stream with this id, without its labels.
    pub rows: Vec<(u32, StreamRows)>,
}

/// A payload whose checksum holds but whose content makes no sense, or needs what a damaged frame declared.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unreadable logs payload: {0}")]
pub(in crate::storage) struct BadPayload(pub &'static str);

impl From<Malformed> for BadPayload {
    fn from(Malformed(what): Malformed) -> BadPayload {
        BadPayload(what)
    }
}

pub(super) fn write_soft_labels(names: &[String], to: &mut Vec<u8>) {
    to.push(tag::SOFT_LABELS);
    write_u64(to, names.len() as u64);
    names.iter().for_each(|name| put_text(to, name));
}

pub(super) fn write_stream(id: u32, labels: &Labels, to: &mut Vec<u8>) {
    to.push(tag::STREAMS);
    write_u64(to, 1);
    write_u64(to, id.into());
    write_u64(to, labels.len() as u64);
    for (name, value) in labels {
        put_text(to, name);
        put_text(to, value);
    }
}

/// Entries on their way into a payload.
#[derive(Default)]
pub(super) struct EntriesEncoder {
    runs: u64,
    numbers: Vec<u8>,
    text: Vec<u8>,
    /// The run that is open: its numbers, and how many entries it has.
    run: (Vec<u8>, u64),
    last_time: Nanos,
}

impl EntriesEncoder {
    /// Adds an entry to the run that is open.
    pub fn entry(&mut self, entry: &Entry<'_>) {
        let (numbers, count) = &mut self.run;
        *count += 1;
        write_i64(numbers, entry.timestamp.wrapping_sub(self.last_time));
        self.last_time = entry.timestamp;
        write_u64(numbers, entry.line.len() as u64);
        self.text.extend_from_slice(entry.line.as_bytes());
        write_u64(numbers, entry.metadata().count() as u64);
        for (name, value) in entry.metadata() {
            for text in [name, value] {
                write_u64(numbers, text.len() as u64);
                self.text.extend_from_slice(text.as_bytes());
            }
        }
    }

    /// Ends the run: its entries belong to this stream.
    pub fn end_run(&mut self, stream: u32) {
        let (numbers, count) = &mut self.run;
        if *count > 0 {
            self.runs += 1;
            write_u64(&mut self.numbers, stream.into());
            write_u64(&mut self.numbers, *count);
            self.numbers.append(numbers);
            *count = 0;
        }
    }

    /// Writes the runs so far, and is empty again.
    pub fn finish(&mut self, to: &mut Vec<u8>) {
        if self.runs == 0 {
            return;
        }
        to.push(tag::ENTRIES);
        write_u64(to, self.runs);
        to.append(&mut self.numbers);
        write_u64(to, self.text.len() as u64);
        write_packed(&self.text, to);
        self.text.clear();
        (self.runs, self.last_time) = (0, 0);
    }
}

fn write_packed(text: &[u8], to: &mut Vec<u8>) {
    if text.len() >= COMPRESSED_BYTES_MIN {
        let mut packed = Vec::new();
        compressed::encode_at(ZSTD_LEVEL, text, &mut packed);
        to.push(packing::ZSTD);
        write_u64(to, packed.len() as u64);
        to.append(&mut packed);
    } else {
        to.push(packing::PLAIN);
        to.extend_from_slice(text);
    }
}

/// Reads a whole payload.
pub(in crate::storage) fn read_payload(mut payload: &[u8]) -> Result<LoggedEntries, BadPayload> {
    let mut found = LoggedEntries::default();
    let from = &mut payload;
    while !from.is_empty() {
        match take_u8(from)? {
            tag::SOFT_LABELS => {
                for _ in 0..take_count(from, from.len())? {
                    found.soft_labels.push(take_text(from)?.to_owned());
                }
            }
            tag::STREAMS => {
                for _ in 0..take_count(from, from.len())? {
                    let id = take_id(from)?;
                    found.streams.push((id, take_labels(from)?));
                }
            }
            tag::ENTRIES => read_entries(from, &mut found.rows)?,
            _ => return Err(BadPayload("unknown block")),
        }
    }
    Ok(found)
}

/// An entry whose texts are known by their lengths so far.
struct RawEntry {
    timestamp: Nanos,
    line_len: usize,
    /// Of the lengths of names and values.
    metadata: Range<usize>,
}

fn read_entries(from: &mut &[u8], rows: &mut Vec<(u32, StreamRows)>) -> Result<(), BadPayload> {
    let mut runs = Vec::new();
    let (mut entries, mut lens) = (Vec::new(), Vec::new());
    let mut time = 0i64;
    for _ in 0..take_count(from, from.len())? {
        let stream = take_id(from)?;
        let count = take_count(from, from.len())?;
        runs.push((stream, count));
        for _ in 0..count {
            time = time.wrapping_add(read_i64(from).map_err(Malformed::from)?);
            let line_len = take_count(from, usize::MAX)?;
            let start = lens.len();
            for _ in 0..take_count(from, from.len())? {
                lens.push(take_count(from, usize::MAX)?);
                lens.push(take_count(from, usize::MAX)?);
            }
            entries.push(RawEntry { timestamp: time, line_len, metadata: start..lens.len() });
        }
    }
    let text = take_packed(from)?;
    let mut left = &text[..];
    let mut entries = entries.into_iter();
    for (stream, count) in runs {
        let mut run = StreamRows::new(Labels::empty());
        for entry in entries.by_ref().take(count) {
            let line = cut(&mut left, entry.line_len)?;
            let mut pairs = Vec::with_capacity(entry.metadata.len() / 2);
            for lens in lens[entry.metadata].chunks_exact(2) {
                pairs.push((cut(&mut left, lens[0])?, cut(&mut left, lens[1])?));
            }
            run.push(entry.timestamp, line, pairs);
        }
        rows.push((stream, run));
    }
    if left.is_empty() { Ok(()) } else { Err(BadPayload("texts are longer than their entries say")) }
}

fn cut<'a>(text: &mut &'a str, len: usize) -> Result<&'a str, BadPayload> {
    let (cut, left) =
        text.split_at_checked(len).ok_or(BadPayload("texts are shorter than their entries say"))?;
    *text = left;
    Ok(cut)
}

fn take_packed(from: &mut &[u8]) -> Result<String, BadPayload> {
    let len = take_count(from, usize::MAX)?;
    let bytes = match take_u8(from)? {
        packing::PLAIN => take(from, len)?.to_vec(),
        packing::LZ4 => {
            let packed_len = take_count(from, from.len())?;
            if len / LZ4_RATIO_MAX > packed_len {
                return Err(BadPayload("more text than its bytes can hold"));
            }
            let packed = take(from, packed_len)?;
            let text = lz4_flex::block::decompress(packed, len);
            text.ok().filter(|text| text.len() == len).ok_or(BadPayload("compressed text is broken"))?
        }
        packing::ZSTD => {
            let packed_len = take_count(from, from.len())?;
            let text = compressed::decode(take(from, packed_len)?, len.min(TEXT_BYTES_MAX))?;
            Some(text).filter(|text| text.len() == len).ok_or(BadPayload("compressed text is broken"))?
        }
        _ => return Err(BadPayload("unknown packing of texts")),
    };
    String::from_utf8(bytes).map_err(|_| BadPayload("text is not UTF-8"))
}

fn take_id(from: &mut &[u8]) -> Result<u32, BadPayload> {
    let id = read_u64(from).map_err(Malformed::from)?;
    u32::try_from(id).map_err(|_| BadPayload("id out of range"))
}

fn take_labels(from: &mut &[u8]) -> Result<Labels, BadPayload> {
    let count = take_count(from, from.len())?;
    let mut pairs = Vec::new();
    for _ in 0..count {
        pairs.push((take_text(from)?, take_text(from)?));
    }
    Labels::from_pairs(pairs).map_err(|_| BadPayload("duplicate label"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Entries = Vec<(Nanos, String, Vec<(String, String)>)>;

    fn rows_of(entries: &Entries) -> StreamRows {
        let mut rows = StreamRows::new(Labels::empty());
        for (time, line, metadata) in entries {
            rows.push(*time, line, metadata.iter().map(|(n, v)| (n.as_str(), v.as_str())));
        }
        rows
    }

    fn entries_of(rows: &StreamRows) -> Entries {
        let pairs = |e: &Entry<'_>| e.metadata().map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
        rows.entries().map(|e| (e.timestamp, e.line.to_owned(), pairs(&e))).collect()
    }

    fn payload_of(runs: &[(u32, Entries)]) -> Vec<u8> {
        let mut payload = Vec::new();
        write_soft_labels(&["pod".to_owned()], &mut payload);
        let mut encoder = EntriesEncoder::default();
        for (id, entries) in runs {
            write_stream(*id, &Labels::from_sorted([("id", id.to_string().as_str())]), &mut payload);
            rows_of(entries).entries().for_each(|entry| encoder.entry(&entry));
            encoder.end_run(*id);
        }
        encoder.finish(&mut payload);
        payload
    }

    fn any_runs() -> impl Strategy<Value = Vec<(u32, Entries)>> {
        let line = prop_oneof![".{0,20}", "(the same again ){0,60}"];
        let metadata = prop::collection::vec(("[a-z.]{1,8}", ".{0,8}"), 0..3);
        let entries = prop::collection::vec((any::<i64>(), line, metadata), 1..8);
        prop::collection::vec((any::<u32>(), entries), 0..4)
    }

    proptest! {
        #[test]
        fn entries_come_back(runs in any_runs()) {
            let read = read_payload(&payload_of(&runs)).unwrap();
            prop_assert_eq!(read.soft_labels, ["pod"]);
            prop_assert_eq!(read.streams.iter().map(|s| s.0).collect::<Vec<_>>(), runs.iter().map(|r| r.0).collect::<Vec<_>>());
            prop_assert_eq!(read.rows.iter().map(|(id, rows)| (*id, entries_of(rows))).collect::<Vec<_>>(), runs);
        }

        #[test]
        fn foreign_bytes_never_panic(bytes: Vec<u8>) {
            let _ = read_payload(&bytes);
        }

        #[test]
        fn changed_and_cut_bytes_never_panic(runs in any_runs(), at: prop::sample::Index, flip: u8, cut: prop::sample::Index) {
            let mut payload = payload_of(&runs);
            let at = at.index(payload.len());
            payload[at] ^= flip;
            let _ = read_payload(&payload);
            let _ = read_payload(&payload[..cut.index(payload.len())]);
        }
    }

    #[test]
    fn lines_that_repeat_are_compressed() {
        let line = "GET /index.html HTTP/1.1 200".to_owned();
        let entries: Entries = (0..1000).map(|i| (i, line.clone(), vec![])).collect();
        let len = payload_of(&[(1, entries)]).len();
        assert!(len < 6_000, "{len} bytes");
    }

    #[test]
    fn more_text_than_the_bytes_can_hold_is_refused_before_it_is_unpacked() {
        let mut payload = vec![tag::ENTRIES, 1, 0, 1, 0];
        write_u64(&mut payload, 1 << 40);
        payload.push(0);
        write_u64(&mut payload, 1 << 40);
        payload.extend([packing::LZ4, 4, 1, 2, 3, 4]);
        assert_eq!(read_payload(&payload).unwrap_err(), BadPayload("more text than its bytes can hold"));
    }
}
