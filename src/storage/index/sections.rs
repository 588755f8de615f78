//! Writes the sections of an index from what comes in order: the labels of each series by number, and who has each label.

use std::io::{self, Write};

use super::dictionary::DictionaryWriter;
use super::forward::{self, LabelIds};
use super::{DICTIONARY, NAMES, POSTINGS, SERIES, postings};
use crate::codec::put_text;
use crate::codec::varint::write_u64;
use crate::storage::segment::{CHUNK_ROWS, SegmentWriter, TableWriter};

/// The labels of series, in the order of these.
#[derive(Default)]
pub struct SeriesLabelsWriter {
    table: TableWriter,
    /// Of the current chunk, and of each of its series where its labels end.
    labels: Vec<LabelIds>,
    ends: Vec<usize>,
}

impl SeriesLabelsWriter {
    /// Adds the next series; its labels by the numbers that [`HoldersWriter`] gave them, or will give them.
    pub fn add(&mut self, labels: impl Iterator<Item = LabelIds>) {
        self.labels.extend(labels);
        self.ends.push(self.labels.len());
        if self.ends.len() == CHUNK_ROWS {
            self.flush();
        }
    }

    pub fn finish<W: Write>(mut self, to: &mut SegmentWriter<W>) -> io::Result<()> {
        if !self.ends.is_empty() {
            self.flush();
        }
        self.table.finish(SERIES, to)
    }

    fn flush(&mut self) {
        let starts = [0].into_iter().chain(self.ends.iter().copied());
        let series: Vec<&[LabelIds]> =
            starts.zip(&self.ends).map(|(start, &end)| &self.labels[start..end]).collect();
        self.table.chunk(series.len(), |out| forward::encode(&series, out));
        self.labels.clear();
        self.ends.clear();
    }
}

/// Who has which label: dictionaries, postings and names.
#[derive(Default)]
pub struct HoldersWriter {
    dictionaries: Vec<u8>,
    postings: Vec<u8>,
    directory: Vec<u8>,
    name_count: u32,
}

/// The values of one name.
pub struct ValuesWriter<'w> {
    dictionary: DictionaryWriter<'w>,
    postings: &'w mut Vec<u8>,
    name: u32,
    value_count: u32,
}

impl HoldersWriter {
    /// Adds the next name in order; `put` adds its values. Without any there is no such name.
    pub fn name(&mut self, name: &str, put: impl FnOnce(&mut ValuesWriter<'_>)) {
        let start = self.dictionaries.len();
        let dictionary = DictionaryWriter::new(&mut self.dictionaries, self.postings.len() as u64);
        let postings = &mut self.postings;
        let mut values = ValuesWriter { dictionary, postings, name: self.name_count, value_count: 0 };
        put(&mut values);
        let value_count = values.value_count;
        values.dictionary.finish();
        if value_count == 0 {
            return;
        }
        put_text(&mut self.directory, name);
        for number in [start, self.dictionaries.len() - start, value_count as usize] {
            write_u64(&mut self.directory, number as u64);
        }
        self.name_count += 1;
    }

    pub fn finish<W: Write>(self, to: &mut SegmentWriter<W>) -> io::Result<()> {
        let mut names = Vec::with_capacity(self.directory.len() + 5);
        write_u64(&mut names, self.name_count.into());
        names.extend_from_slice(&self.directory);
        to.paged(DICTIONARY, &self.dictionaries)?;
        to.paged(POSTINGS, &self.postings)?;
        to.paged(NAMES, &names)
    }
}

impl ValuesWriter<'_> {
    /// Adds the next value in order, and the ordinals of the series that have it, one at least; answers with the label's numbers.
    pub fn value(&mut self, value: &str, ordinals: &[u32]) -> LabelIds {
        let list_start = self.postings.len();
        if ordinals.len() > 1 {
            postings::encode(ordinals, self.postings);
        }
        let list_len = (self.postings.len() - list_start) as u64;
        self.dictionary.value(value, ordinals.len(), ordinals[0], list_len);
        self.value_count += 1;
        (self.name, self.value_count - 1)
    }
}
