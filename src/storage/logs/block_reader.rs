//! Reads one block: each part is checked and unpacked when it is needed, and no row that is not wanted is put together.
//! The lines, most of a block, are not checked again while the table still knows that they were right.

use std::cmp::Reverse;
use std::ops::Range;
use std::sync::atomic::AtomicBool;

use super::block::{self, ColumnEntry, MetadataColumn};
use super::names::{is_name_for, rank};
use super::rows::LogRowsBuffer;
use super::segment_layout::{BlockHeader, PartLens, Place};
use super::snapshot::LogAsk;
use super::trace_ids;
use crate::codec::Malformed;
use crate::codec::rows::RowSet;
use crate::codec::text::{GramFilter, TextBuffer, TextColumn};
use crate::model::{LineFilter, Lookout, Nanos};
use crate::storage::segment::{Section, SegmentError};

/// Where the parts of a block lie; all of them within the section.
pub(super) struct Parts<'a> {
    pub section: Section<'a>,
    pub offset: u64,
    pub lens: PartLens,
    pub grams: Option<Place>,
    pub are_lines_checked: &'a AtomicBool,
}

impl<'a> Parts<'a> {
    pub fn directory(&self) -> Result<Vec<ColumnEntry>, SegmentError> {
        if self.lens.directory == 0 {
            return Ok(Vec::new());
        }
        let offset = self.columns_offset() + self.lens.columns;
        let bytes = self.section.block(offset, self.lens.directory)?;
        block::decode_directory(bytes, self.lens.columns).map_err(|what| self.section.damaged(offset, what))
    }

    pub fn column(&self, entry: &ColumnEntry) -> Result<&'a [u8], SegmentError> {
        self.section.block(self.columns_offset() + entry.offset, entry.len)
    }

    /// Whether the block may have this trace id among its metadata.
    pub fn may_hold_trace_id(&self, id: &str) -> Result<bool, SegmentError> {
        if self.lens.trace_ids == 0 {
            return Ok(self.lens.directory > 0);
        }
        let offset = self.lines_offset() + self.lens.lines;
        let bytes = self.section.block(offset, self.lens.trace_ids)?;
        trace_ids::may_hold(bytes, id).map_err(|what| self.section.damaged(offset, what))
    }

    /// Whether the block may have lines that pass all filters.
    fn may_hold_passing(&self, filters: &[LineFilter]) -> Result<bool, SegmentError> {
        if filters.is_empty() {
            return Ok(true);
        }
        let grams = self.gram_filter()?;
        Ok(grams.is_none_or(|grams| filters.iter().all(|filter| grams.may_pass(filter))))
    }

    /// Whether the block may have all of these lines.
    pub fn may_hold_all<'l>(&self, mut lines: impl Iterator<Item = &'l str>) -> Result<bool, SegmentError> {
        let grams = self.gram_filter()?;
        Ok(grams.is_none_or(|grams| lines.all(|line| grams.may_hold(line))))
    }

    /// The filter of its grams as it is stored, if it has one.
    pub fn grams(&self) -> Result<Option<&'a [u8]>, SegmentError> {
        self.grams.map(|place| self.section.block(place.offset, place.len)).transpose()
    }

    fn gram_filter(&self) -> Result<Option<GramFilter<'a>>, SegmentError> {
        let filter = self.grams()?.map(GramFilter::open).transpose();
        filter.map_err(|what| self.section.damaged(self.grams.map_or(0, |place| place.offset), what))
    }

    fn times(&self) -> Result<&'a [u8], SegmentError> {
        self.section.block(self.offset, self.lens.times)
    }

    fn streams(&self) -> Result<&'a [u8], SegmentError> {
        self.section.block(self.offset + self.lens.times, self.lens.streams)
    }

    fn lines(&self) -> Result<&'a [u8], SegmentError> {
        self.section.block_checked_once(self.lines_offset(), self.lens.lines, self.are_lines_checked)
    }

    fn lines_offset(&self) -> u64 {
        self.offset + self.lens.times + self.lens.streams
    }

    fn columns_offset(&self) -> u64 {
        self.lines_offset() + self.lens.lines + self.lens.trace_ids
    }

    fn damaged(&self, what: Malformed) -> SegmentError {
        self.section.damaged(self.offset, what)
    }
}

/// One reading of a block.
pub(super) struct BlockReading<'a> {
    pub header: &'a BlockHeader,
    /// The number in the selection of each of the block's streams, if it has one.
    pub numbers: Vec<Option<u32>>,
    pub parts: Parts<'a>,
    pub ask: &'a LogAsk<'a>,
    pub lookout: &'a Lookout<'a>,
}

impl BlockReading<'_> {
    /// Appends what is wanted.
    pub fn read(&self, out: &mut LogRowsBuffer) -> Result<(), SegmentError> {
        if !self.parts.may_hold_passing(self.ask.line_filters)? || !self.may_hold_trace_ids()? {
            return Ok(());
        }
        let mut rows = RowSet::all(self.header.row_count);
        let mut times = None;
        if !self.header.lies_in(self.ask.range) {
            times = Some(self.within_range(&mut rows)?);
        }
        let mut streams = None;
        if self.numbers.iter().any(Option::is_none) {
            streams = Some(self.of_selected_streams(&mut rows)?);
        }
        let directory = if self.wants_directory() { self.parts.directory()? } else { Vec::new() };
        for (name, value) in self.ask.metadata_equals {
            self.with_metadata(&directory, name, value, &mut rows)?;
        }
        let lines = self.matching_lines(&mut rows)?;
        if rows.is_empty() {
            return Ok(());
        }
        let times = times.map_or_else(|| self.times(), Ok)?;
        let streams = streams.map_or_else(|| self.streams(), Ok)?;
        for row in rows.iter() {
            let stream = streams.as_ref().map_or(0, |streams| streams[row]);
            out.timestamps.push(times[row]);
            out.streams
                .push(self.numbers[stream as usize].expect("rows of other streams are not in the set"));
        }
        if let Some(lines) = lines {
            self.put_lines(&lines, &rows, out)?;
        }
        if self.ask.wants_metadata { self.put_metadata(&directory, &rows, out) } else { Ok(()) }
    }

    fn may_hold_trace_ids(&self) -> Result<bool, SegmentError> {
        let ids = self.ask.metadata_equals.iter().filter(|(name, _)| trace_ids::is_trace_id(name));
        for (_, id) in ids {
            if !self.parts.may_hold_trace_id(id)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn wants_directory(&self) -> bool {
        self.ask.wants_metadata || !self.ask.metadata_equals.is_empty()
    }

    fn times(&self) -> Result<Vec<Nanos>, SegmentError> {
        let bytes = self.parts.times()?;
        block::decode_times(bytes, self.header).map_err(|what| self.parts.damaged(what))
    }

    /// `None` where the block has one stream.
    fn streams(&self) -> Result<Option<Vec<u32>>, SegmentError> {
        if self.numbers.len() == 1 {
            return Ok(None);
        }
        let bytes = self.parts.streams()?;
        let streams = block::decode_streams(bytes, self.header.row_count, self.numbers.len());
        streams.map(Some).map_err(|what| self.parts.damaged(what))
    }

    fn within_range(&self, rows: &mut RowSet) -> Result<Vec<Nanos>, SegmentError> {
        let times = self.times()?;
        rows.retain(|row| self.ask.range.contains(times[row]));
        Ok(times)
    }

    fn of_selected_streams(&self, rows: &mut RowSet) -> Result<Option<Vec<u32>>, SegmentError> {
        let streams = self.streams()?;
        match &streams {
            Some(streams) => rows.retain(|row| self.numbers[streams[row] as usize].is_some()),
            None => rows.clear(),
        }
        Ok(streams)
    }

    fn with_metadata(
        &self,
        directory: &[ColumnEntry],
        name: &str,
        value: &str,
        rows: &mut RowSet,
    ) -> Result<(), SegmentError> {
        let mut found = RowSet::none(self.header.row_count);
        let mut columns: Vec<_> = directory.iter().filter(|entry| is_name_for(&entry.name, name)).collect();
        // The last word has the column that is meant where a row has several.
        columns.sort_unstable_by_key(|entry| Reverse(rank(&entry.name, name)));
        for entry in columns {
            let column = self.column(entry)?;
            column.remove_present(&mut found);
            column.add_equal(value, &mut found).map_err(|what| self.parts.damaged(what))?;
        }
        rows.intersect(&found);
        Ok(())
    }

    fn column(&self, entry: &ColumnEntry) -> Result<MetadataColumn<'_>, SegmentError> {
        let column =
            MetadataColumn::open(self.parts.column(entry)?, self.header.row_count, entry.value_bytes);
        column.map_err(|what| self.parts.damaged(what))
    }

    /// The column of lines, if it is needed, with only those rows left that pass the filters.
    fn matching_lines(&self, rows: &mut RowSet) -> Result<Option<TextColumn<'_>>, SegmentError> {
        let needs_lines =
            self.ask.wants_lines || self.ask.wants_line_bytes || !self.ask.line_filters.is_empty();
        if !needs_lines || rows.is_empty() {
            return Ok(None);
        }
        let bytes = self.parts.lines()?;
        let lines = TextColumn::open(bytes, self.header.row_count, self.header.line_bytes as usize);
        let lines = lines.map_err(|what| self.parts.damaged(what))?;
        for filter in self.ask.line_filters {
            lines.filter(filter, self.lookout, rows).map_err(|what| self.parts.damaged(what))?;
        }
        Ok(Some(lines))
    }

    fn put_lines(
        &self,
        lines: &TextColumn<'_>,
        rows: &RowSet,
        out: &mut LogRowsBuffer,
    ) -> Result<(), SegmentError> {
        if !self.ask.wants_lines && !self.ask.wants_line_bytes {
            return Ok(());
        }
        // Where all rows are wanted, their texts are put together where they are to be: in memory that blocks before
        // have used.
        let is_whole = self.ask.wants_lines && out.lines.is_empty() && rows.count() == self.header.row_count;
        let mut others = TextBuffer::default();
        let texts = if is_whole { &mut out.lines } else { &mut others };
        lines.decode_rows(rows, texts).map_err(|what| self.parts.damaged(what))?;
        if self.ask.wants_line_bytes {
            out.line_lens.extend(rows.iter().map(|row| texts.get(row).len() as u32));
        }
        if self.ask.wants_lines && !is_whole {
            rows.iter().for_each(|row| out.lines.push(others.get(row)));
        }
        Ok(())
    }

    fn put_metadata(
        &self,
        directory: &[ColumnEntry],
        rows: &RowSet,
        out: &mut LogRowsBuffer,
    ) -> Result<(), SegmentError> {
        // Of each row: number of the column, and where its value lies.
        let mut pairs: Vec<(u32, u32, Range<usize>)> = Vec::new();
        let mut values = String::new();
        let names = self.ask.metadata_names;
        let is_asked =
            |name: &str| names.is_none_or(|names| names.iter().any(|asked| is_name_for(name, asked)));
        for (number, entry) in directory.iter().enumerate().filter(|(_, entry)| is_asked(&entry.name)) {
            let put = self.column(entry)?.for_each(rows, |row, value| {
                let start = values.len();
                values.push_str(value);
                pairs.push((row as u32, number as u32, start..values.len()));
            });
            put.map_err(|what| self.parts.damaged(what))?;
        }
        pairs.sort_unstable_by_key(|(row, number, _)| (*row, *number));
        let mut pairs = pairs.iter().peekable();
        for row in rows.iter() {
            let mut of_row = Vec::new();
            while let Some((_, number, value)) = pairs.next_if(|pair| pair.0 as usize == row) {
                of_row.push((directory[*number as usize].name.as_str(), &values[value.clone()]));
            }
            out.metadata.push(of_row);
        }
        Ok(())
    }
}
