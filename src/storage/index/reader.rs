//! Reads an index in place. What is decoded once and kept is bounded: the names, the values of names that have
//! few, the chunks of series looked at last or more than once, and what the last lists of values let through.

use std::ops::ControlFlow;
use std::sync::{Arc, OnceLock};

use roaring::RoaringBitmap;

use super::dictionary::{Dictionary, Holders};
use super::forward::{self, ForwardChunk};
use super::labels_reader::LabelsReader;
use super::recent::RecentLists;
use super::{DICTIONARY, NAMES, POSTINGS, SERIES, postings};
use crate::codec::varint::read_u64;
use crate::codec::{Malformed, take_count, take_text};
use crate::model::labels::label_hash;
use crate::model::{Labels, Lookout};
use crate::storage::segment::{CHUNK_ROWS, KeptChunks, LastChunk, Segment, SegmentError, Table};

/// The values of a name are kept decoded up to this many; at 40 bytes each that is 640 KiB.
const VALUES_KEPT_MAX: u32 = 16 << 10;

/// The index of one segment.
pub struct Index {
    segment: Arc<Segment>,
    names: OnceLock<Names>,
    chunks: KeptChunks<ForwardChunk>,
    pub(super) recent: RecentLists,
}

/// The label names, sorted.
#[derive(Default)]
pub(super) struct Names {
    entries: Box<[NameEntry]>,
    value_counts: Box<[u32]>,
}

struct NameEntry {
    name: Box<str>,
    dictionary_offset: u64,
    dictionary_len: u64,
    kept: OnceLock<KeptValues>,
}

/// The values of one name, decoded.
#[derive(Default)]
pub(super) struct KeptValues {
    text: String,
    values: Vec<KeptValue>,
}

/// What is known of a value lies together: who looks at one after the other waits for memory.
struct KeptValue {
    hash: u128,
    start: usize,
    end: usize,
}

impl Names {
    pub fn name(&self, name: u32) -> &str {
        &self.entries[name as usize].name
    }

    pub fn count(&self) -> u32 {
        self.entries.len() as u32
    }
}

impl KeptValues {
    /// A value's text, and its label's hash.
    #[inline]
    pub fn get(&self, value: u32) -> (&str, u128) {
        let KeptValue { hash, start, end } = self.values[value as usize];
        (&self.text[start..end], hash)
    }
}

impl Index {
    pub fn new(segment: Arc<Segment>) -> Index {
        let (chunks, recent) = Default::default();
        Index { segment, names: OnceLock::new(), chunks, recent }
    }

    pub fn segment(&self) -> &Segment {
        &self.segment
    }

    pub fn series_count(&self) -> u32 {
        u32::try_from(self.segment.meta().series_count).unwrap_or(u32::MAX)
    }

    /// All label names, sorted.
    pub fn label_names(&self) -> Result<Vec<String>, SegmentError> {
        Ok(self.names()?.entries.iter().map(|e| e.name.to_string()).collect())
    }

    /// The names of the labels that any of these series has, sorted.
    pub fn label_names_of(
        &self,
        series: &RoaringBitmap,
        lookout: &Lookout<'_>,
    ) -> Result<Vec<String>, SegmentError> {
        let (names, mut chunk) = (self.names()?, LastChunk::default());
        let mut is_used = vec![false; names.entries.len()];
        for ordinal in series {
            if lookout.gives_up_before(0) {
                break;
            }
            let (chunk, row) = self.row(&mut chunk, ordinal)?;
            chunk.labels(row).iter().for_each(|label| is_used[label.0 as usize] = true);
        }
        let used = names.entries.iter().zip(is_used).filter(|(_, used)| *used);
        Ok(used.map(|(entry, _)| entry.name.to_string()).collect())
    }

    /// All values of a label, sorted.
    pub fn label_values(&self, name: &str, lookout: &Lookout<'_>) -> Result<Vec<String>, SegmentError> {
        let mut values = Vec::new();
        let Some(name) = self.name(name)? else { return Ok(values) };
        let mut add = |value: &str| {
            if lookout.gives_up_before(value.len()) {
                return ControlFlow::Break(());
            }
            values.push(value.to_owned());
            ControlFlow::Continue(())
        };
        // To ask for a list is no reason to keep it: dashboards ask for those of many names.
        match self.names()?.entries[name as usize].kept.get() {
            Some(kept) => {
                let _ = (0..kept.values.len() as u32).try_for_each(|value| add(kept.get(value).0));
            }
            None => self.dictionary(name)?.scan_from("", |_, value, _| add(value))?,
        }
        Ok(values)
    }

    /// The values of a label that any of these series has, sorted.
    pub fn label_values_of(
        &self,
        name: &str,
        series: &RoaringBitmap,
        lookout: &Lookout<'_>,
    ) -> Result<Vec<String>, SegmentError> {
        let Some(name) = self.name(name)? else { return Ok(Vec::new()) };
        let (mut ids, mut chunk) = (RoaringBitmap::new(), LastChunk::default());
        for ordinal in series {
            if lookout.gives_up_before(0) {
                break;
            }
            let (chunk, row) = self.row(&mut chunk, ordinal)?;
            ids.extend(chunk.value_of(row, name));
        }
        let wanted = ids.iter().take_while(|_| !lookout.gives_up_before(0));
        wanted.map(|id| self.with_value(name, id, |text, _| text.to_owned())).collect()
    }

    /// How many series have each value of a label: (value, count), sorted by value.
    pub fn value_counts(&self, name: &str) -> Result<Vec<(String, u64)>, SegmentError> {
        let mut counts = Vec::new();
        if let Some(name) = self.name(name)? {
            self.dictionary(name)?.scan_from("", |_, value, holders| {
                let count = match holders {
                    Holders::One(_) => 1,
                    Holders::List { count, .. } => u64::from(count),
                };
                counts.push((value.to_owned(), count));
                ControlFlow::Continue(())
            })?;
        }
        Ok(counts)
    }

    /// For looking at series one after the other.
    pub fn labels_reader(&self) -> LabelsReader<'_> {
        LabelsReader::new(self)
    }

    /// The labels of a series.
    pub fn labels(&self, ordinal: u32) -> Result<Labels, SegmentError> {
        self.labels_reader().labels(ordinal)
    }

    /// The number of a name.
    pub(super) fn name(&self, name: &str) -> Result<Option<u32>, SegmentError> {
        let entries = &self.names()?.entries;
        Ok(entries.binary_search_by(|e| (*e.name).cmp(name)).ok().map(|at| at as u32))
    }

    pub(super) fn value_count(&self, name: u32) -> Result<u32, SegmentError> {
        Ok(self.names()?.value_counts[name as usize])
    }

    pub(super) fn dictionary(&self, name: u32) -> Result<Dictionary<'_>, SegmentError> {
        let names = self.names()?;
        let entry = &names.entries[name as usize];
        Ok(Dictionary {
            section: self.segment.section(DICTIONARY)?,
            offset: entry.dictionary_offset,
            len: entry.dictionary_len,
            value_count: names.value_counts[name as usize],
            series_count: self.series_count(),
        })
    }

    /// The series that have a value.
    pub(super) fn ordinals(&self, holders: Holders) -> Result<RoaringBitmap, SegmentError> {
        match holders {
            Holders::One(ordinal) => Ok(RoaringBitmap::from_iter([ordinal])),
            Holders::List { offset, len, count } => {
                let section = self.segment.section(POSTINGS)?;
                let bytes = section.bytes(offset..offset.saturating_add(len))?;
                postings::decode(bytes, count as usize, self.series_count())
                    .map_err(|what| section.damaged(offset, what))
            }
        }
    }

    /// The chunk that holds a series, and the series' place in it.
    pub(super) fn row<'c>(
        &self,
        last: &'c mut LastChunk<ForwardChunk>,
        ordinal: u32,
    ) -> Result<(&'c ForwardChunk, usize), SegmentError> {
        let number = u64::from(ordinal) / CHUNK_ROWS as u64;
        let chunk = last.get(number, || self.chunk(number))?;
        if ordinal >= self.series_count() {
            return Err(self.damaged_series(Malformed("there is no such series")));
        }
        Ok((chunk, ordinal as usize % CHUNK_ROWS))
    }

    fn chunk(&self, number: u64) -> Result<Arc<ForwardChunk>, SegmentError> {
        self.chunks.get(number, ForwardChunk::bytes, || {
            let value_counts = &self.names()?.value_counts;
            let table = Table::open(self.segment.section(SERIES)?)?;
            if table.row_count() != self.segment.meta().series_count {
                return Err(self.damaged_series(Malformed("the count of series is not the footer's")));
            }
            table.chunk(number, |bytes, rows| forward::decode(bytes, rows, value_counts))
        })
    }

    /// Calls `then` with a value's text and its label's hash.
    pub(super) fn with_value<T>(
        &self,
        name: u32,
        value: u32,
        then: impl FnOnce(&str, &dyn Fn() -> u128) -> T,
    ) -> Result<T, SegmentError> {
        if let Some(kept) = self.kept(name)? {
            let (text, hash) = kept.get(value);
            return Ok(then(text, &|| hash));
        }
        let text = self.dictionary(name)?.value(value)?;
        let name = &self.names()?.entries[name as usize].name;
        Ok(then(&text, &|| label_hash(name, &text)))
    }

    /// All values of a name, unless they are too many to be kept.
    pub(super) fn kept(&self, name: u32) -> Result<Option<&KeptValues>, SegmentError> {
        let entry = &self.names()?.entries[name as usize];
        if let Some(kept) = entry.kept.get() {
            return Ok(Some(kept));
        }
        if self.value_count(name)? > VALUES_KEPT_MAX {
            return Ok(None);
        }
        let mut kept = KeptValues::default();
        self.dictionary(name)?.scan_from("", |_, value, _| {
            let (start, hash) = (kept.text.len(), label_hash(&entry.name, value));
            kept.text.push_str(value);
            kept.values.push(KeptValue { hash, start, end: kept.text.len() });
            ControlFlow::Continue(())
        })?;
        if kept.values.len() != self.value_count(name)? as usize {
            return Err(self.damaged_series(Malformed("a dictionary is shorter than it says")));
        }
        Ok(Some(entry.kept.get_or_init(|| kept)))
    }

    pub(super) fn names(&self) -> Result<&Names, SegmentError> {
        if let Some(names) = self.names.get() {
            return Ok(names);
        }
        let section = self.segment.section(NAMES)?;
        let names = decode_names(section.all()?).map_err(|what| section.damaged(0, what))?;
        Ok(self.names.get_or_init(|| names))
    }

    pub(super) fn damaged_series(&self, what: Malformed) -> SegmentError {
        match self.segment.section(SERIES) {
            Ok(section) => section.damaged(0, what),
            Err(missing) => missing,
        }
    }
}

fn decode_names(mut bytes: &[u8]) -> Result<Names, Malformed> {
    let bytes = &mut bytes;
    let count = take_count(bytes, bytes.len())?;
    let (mut entries, mut value_counts): (Vec<NameEntry>, Vec<u32>) = Default::default();
    let mut last_end = 0;
    for _ in 0..count {
        let name: Box<str> = take_text(bytes)?.into();
        if entries.last().is_some_and(|last| last.name >= name) {
            return Err(Malformed("label names are not in order"));
        }
        let (dictionary_offset, dictionary_len) = (read_u64(bytes)?, read_u64(bytes)?);
        // Else one dictionary could be that of as many names as there are bytes, and would be unpacked for each of them.
        if dictionary_offset < last_end {
            return Err(Malformed("dictionaries overlap"));
        }
        let end = dictionary_offset.checked_add(dictionary_len);
        last_end = end.ok_or(Malformed("a dictionary is out of bounds"))?;
        value_counts.push(take_count(bytes, u32::MAX as usize)? as u32);
        entries.push(NameEntry { name, dictionary_offset, dictionary_len, kept: OnceLock::new() });
    }
    Ok(Names { entries: entries.into(), value_counts: value_counts.into() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::put_text;
    use crate::codec::varint::write_u64;

    /// Of names with one value each, whose dictionaries are at these places and so long.
    fn names(dictionaries: &[(u64, u64)]) -> Result<usize, &'static str> {
        let mut bytes = Vec::new();
        write_u64(&mut bytes, dictionaries.len() as u64);
        for (at, &(offset, len)) in dictionaries.iter().enumerate() {
            put_text(&mut bytes, &format!("name {at}"));
            [offset, len, 1].into_iter().for_each(|number| write_u64(&mut bytes, number));
        }
        decode_names(&bytes).map(|names| names.entries.len()).map_err(|Malformed(what)| what)
    }

    #[test]
    fn each_name_has_a_dictionary_of_its_own() {
        assert_eq!(names(&[(0, 7), (7, 9), (16, 1)]), Ok(3));
        assert_eq!(names(&[(0, 7), (0, 7)]), Err("dictionaries overlap"));
        assert_eq!(names(&[(0, 7), (6, 9)]), Err("dictionaries overlap"), "in part");
        assert_eq!(names(&[(7, 9), (0, 7)]), Err("dictionaries overlap"), "or are in another order");
        assert_eq!(names(&[(1, u64::MAX)]), Err("a dictionary is out of bounds"));
    }
}
