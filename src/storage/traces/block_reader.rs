//! The parts of a block back to columns. Each part is checked when it is read, and nothing in it is believed: what
//! it says of rows must be what the table says.

use std::ops::Range;
use std::sync::Arc;

use super::block_parts::{decode_values, take_bytes_column, take_origins, take_shapes, wanted_values};
use super::block_writer::parent;
use super::columns::{AttributeColumn, BytesBuffer, Origins, Shapes, SpanColumns, Values};
use super::segment_layout::{
    AttributePart, BlockEntry, COLUMN_BYTES_MAX, PART_NAMES, Part, Place, VALUES_MAX,
};
use crate::codec::integers::take_integers;
use crate::codec::rows::RowSet;
use crate::codec::text::{TextBuffer, TextColumn};
use crate::codec::{Malformed, numbers, take, take_count};
use crate::model::{SpanId, TraceId};
use crate::storage::segment::{Section, SegmentError};

/// One block of a segment.
#[derive(Clone, Copy)]
pub(super) struct BlockReader<'a> {
    pub data: Section<'a>,
    pub entry: &'a BlockEntry,
    pub keys: &'a [Box<str>],
}

/// The traces of a block, in order of their ids.
pub(super) struct Traces {
    pub ids: Vec<TraceId>,
    /// Where the rows of each trace end; they begin where those of the one before it end.
    pub ends: Vec<usize>,
}

impl Traces {
    pub fn rows(&self, trace: usize) -> Range<usize> {
        trace.checked_sub(1).map_or(0, |before| self.ends[before])..self.ends[trace]
    }
}

impl<'a> BlockReader<'a> {
    /// The bytes of a part; `None` where all rows have its default.
    fn part(&self, part: Part) -> Result<Option<&'a [u8]>, SegmentError> {
        let Some(place) = self.entry.parts[part as usize] else { return Ok(None) };
        self.bytes(place).map(Some)
    }

    fn bytes(&self, place: Place) -> Result<&'a [u8], SegmentError> {
        self.data.block(place.offset, place.len)
    }

    /// Reads a part with `decode`; what it refuses is damage, and so is what it leaves.
    fn decode<T: Default>(
        &self,
        part: Part,
        decode: impl FnOnce(&mut &'a [u8]) -> Result<T, Malformed>,
    ) -> Result<T, SegmentError> {
        let Some(mut bytes) = self.part(part)? else { return Ok(T::default()) };
        let decoded = decode(&mut bytes).and_then(|decoded| {
            if bytes.is_empty() { Ok(decoded) } else { Err(Malformed("bytes after a column")) }
        });
        decoded.map_err(|what| self.damaged(part, what))
    }

    /// The error of something wrong in a part, or of its absence.
    pub fn damaged(&self, part: Part, what: Malformed) -> SegmentError {
        let place = self.entry.parts[part as usize].or(self.entry.parts[Part::Traces as usize]);
        self.damaged_at(place.unwrap_or(Place { offset: 0, len: 0 }), what)
    }

    pub fn damaged_at(&self, place: Place, what: Malformed) -> SegmentError {
        self.data.damaged(place.offset, what)
    }

    fn row_count(&self) -> usize {
        self.entry.row_count
    }

    pub fn traces(&self) -> Result<Traces, SegmentError> {
        let (row_count, trace_count) = (self.row_count(), self.entry.trace_count);
        let traces = self.decode(Part::Traces, |bytes| {
            let counts = take_integers(bytes, trace_count)?;
            let ids = take(bytes, trace_count * 16)?.chunks_exact(16);
            let ids: Vec<_> = ids.map(|id| TraceId(id.try_into().expect("sixteen bytes"))).collect();
            let (mut ends, mut end) = (Vec::with_capacity(trace_count), 0usize);
            for count in counts {
                end = usize::try_from(count)
                    .ok()
                    .filter(|&c| c > 0)
                    .map_or(usize::MAX, |c| end.saturating_add(c));
                ends.push(end);
            }
            let is_right = end == row_count && ids.is_sorted_by(|a, b| a < b);
            if is_right { Ok(Some(Traces { ids, ends })) } else { Err(BAD_TRACES) }
        })?;
        traces.ok_or_else(|| self.damaged(Part::Traces, Malformed("a block without trace ids")))
    }

    /// The first start of each trace.
    pub fn first_starts(&self) -> Result<Vec<i64>, SegmentError> {
        let Some(mut bytes) = self.part(Part::Starts)? else {
            return Err(self.damaged(Part::Starts, NO_STARTS));
        };
        take_integers(&mut bytes, self.entry.trace_count).map_err(|what| self.damaged(Part::Starts, what))
    }

    pub fn starts(&self, traces: &Traces) -> Result<Vec<u64>, SegmentError> {
        let starts = self.decode(Part::Starts, |bytes| {
            let firsts = take_integers(bytes, traces.ids.len())?;
            let mut steps = take_integers(bytes, self.row_count() - firsts.len())?.into_iter();
            let mut starts = Vec::with_capacity(self.row_count());
            for (trace, first) in firsts.into_iter().enumerate() {
                let mut start = first as u64;
                starts.push(start);
                for step in steps.by_ref().take(traces.rows(trace).len() - 1) {
                    start = start.wrapping_add(step as u64);
                    starts.push(start);
                }
            }
            Ok(starts)
        })?;
        if starts.is_empty() { Err(self.damaged(Part::Starts, NO_STARTS)) } else { Ok(starts) }
    }

    /// Ends minus starts.
    pub fn durations(&self) -> Result<Vec<i64>, SegmentError> {
        self.integers(Part::Durations)
    }

    /// A column of integers; zeros where it is left out.
    pub fn integers(&self, part: Part) -> Result<Vec<i64>, SegmentError> {
        let values = self.decode(part, |bytes| take_integers(bytes, self.row_count()))?;
        Ok(if values.is_empty() { vec![0; self.row_count()] } else { values })
    }

    /// A column of texts; `None` where all are empty.
    pub fn texts(&self, part: Part) -> Result<Option<TextColumn<'a>>, SegmentError> {
        self.decode(part, |bytes| {
            TextColumn::open(std::mem::take(bytes), self.row_count(), COLUMN_BYTES_MAX).map(Some)
        })
    }

    /// The origins, without which one is each row's.
    pub fn origin_list(&self) -> Result<Vec<Arc<[u8]>>, SegmentError> {
        self.decode(Part::Origins, |bytes| {
            let list = take_origins(bytes)?;
            *bytes = &[];
            Ok(list)
        })
    }

    pub fn origins(&self) -> Result<Origins, SegmentError> {
        let origins = self.decode(Part::Origins, |bytes| {
            let list = take_origins(bytes)?;
            let mut of_row = Vec::new();
            numbers::decode(std::mem::take(bytes), self.row_count(), list.len(), &mut of_row)?;
            Ok(Origins { list, of_row })
        })?;
        if origins.of_row.is_empty() {
            return Err(self.damaged(Part::Origins, Malformed("a block without origins")));
        }
        Ok(origins)
    }

    pub fn shapes(&self) -> Result<Shapes, SegmentError> {
        let shapes = self.decode(Part::Shapes, |bytes| {
            let list = take_shapes(bytes, self.entry.attributes.len())?;
            let mut of_row = Vec::new();
            numbers::decode(std::mem::take(bytes), self.row_count(), list.len(), &mut of_row)?;
            Ok(Shapes { list, of_row })
        })?;
        if shapes.of_row.is_empty() {
            return Ok(Shapes { list: vec![Box::default()], of_row: vec![0; self.row_count()] });
        }
        Ok(shapes)
    }

    /// How many values each column of attributes has.
    pub fn value_counts(&self, shapes: &Shapes) -> Result<Vec<usize>, SegmentError> {
        let mut rows_of = vec![0usize; shapes.list.len()];
        shapes.of_row.iter().for_each(|&shape| rows_of[shape as usize] += 1);
        let mut counts = vec![0usize; self.entry.attributes.len()];
        let mut total = 0usize;
        for (shape, rows) in shapes.list.iter().zip(rows_of) {
            total = total.saturating_add(shape.len().saturating_mul(rows));
            if total > VALUES_MAX {
                return Err(self.damaged(Part::Shapes, Malformed("more attributes than a block may have")));
            }
            shape.iter().for_each(|&column| counts[column as usize] += rows);
        }
        Ok(counts)
    }

    pub fn key(&self, attribute: &AttributePart) -> &'a str {
        &self.keys[attribute.key as usize]
    }

    /// A column of text attributes, whose rows are its values.
    pub fn attribute_texts(
        &self,
        attribute: &AttributePart,
        count: usize,
    ) -> Result<TextColumn<'a>, SegmentError> {
        let opened = TextColumn::open(self.bytes(attribute.place)?, count, COLUMN_BYTES_MAX);
        opened.map_err(|what| self.damaged_at(attribute.place, what))
    }

    /// The values of a column of attributes; of texts those in `wanted`, the others empty; none at all if none is wanted.
    pub fn values(
        &self,
        attribute: &AttributePart,
        count: usize,
        wanted: Option<&RowSet>,
    ) -> Result<Values, SegmentError> {
        if wanted.is_some_and(RowSet::is_empty) {
            return Ok(Values::new(attribute.value_type));
        }
        let bytes = self.bytes(attribute.place)?;
        decode_values(attribute.value_type, bytes, count, wanted)
            .map_err(|what| self.damaged_at(attribute.place, what))
    }

    /// The parents, by the ids of the spans.
    fn parents(&self, traces: &Traces, ids: &[SpanId]) -> Result<Vec<Option<[u8; 8]>>, SegmentError> {
        let parents = self.decode(Part::Parents, |bytes| {
            let bound = take_count(bytes, self.row_count() + parent::FIRST_PLACE as usize)?;
            let len = take_count(bytes, bytes.len())?;
            let mut codes = Vec::new();
            numbers::decode(take(bytes, len)?, self.row_count(), bound, &mut codes)?;
            let mut parents = Vec::with_capacity(codes.len());
            for trace in 0..traces.ids.len() {
                let rows = traces.rows(trace);
                let ids = &ids[rows.clone()];
                for &code in &codes[rows] {
                    parents.push(match code {
                        parent::NONE => None,
                        parent::ELSEWHERE => Some(take(bytes, 8)?.try_into().expect("eight bytes")),
                        place => {
                            let parent = ids.get((place - parent::FIRST_PLACE) as usize);
                            Some(parent.ok_or(Malformed("a parent outside its trace"))?.0)
                        }
                    });
                }
            }
            Ok(parents)
        })?;
        Ok(if parents.is_empty() { vec![None; self.row_count()] } else { parents })
    }

    fn span_ids(&self) -> Result<Vec<SpanId>, SegmentError> {
        let ids = self.decode(Part::SpanIds, |bytes| {
            let ids = take(bytes, self.row_count() * 8)?.chunks_exact(8);
            Ok(ids.map(|id| SpanId(id.try_into().expect("eight bytes"))).collect::<Vec<_>>())
        })?;
        if ids.is_empty() {
            Err(self.damaged(Part::SpanIds, Malformed("a block without span ids")))
        } else {
            Ok(ids)
        }
    }

    fn dropped(&self) -> Result<[Vec<i64>; 3], SegmentError> {
        let count = self.row_count();
        let dropped = self.decode(Part::Dropped, |bytes| {
            Ok([take_integers(bytes, count)?, take_integers(bytes, count)?, take_integers(bytes, count)?])
        })?;
        Ok(if dropped[0].is_empty() { [(); 3].map(|()| vec![0; count]) } else { dropped })
    }

    fn text_rows(&self, part: Part, rows: &RowSet) -> Result<TextBuffer, SegmentError> {
        let mut texts = TextBuffer::default();
        match self.texts(part)? {
            Some(column) => column.decode_rows(rows, &mut texts).map_err(|what| self.damaged(part, what))?,
            None => texts.ends.resize(self.row_count(), 0),
        }
        Ok(texts)
    }

    fn byte_rows(&self, part: Part) -> Result<BytesBuffer, SegmentError> {
        let column = self.decode(part, |bytes| take_bytes_column(bytes, self.row_count()))?;
        let none = || BytesBuffer { bytes: Vec::new(), ends: vec![0; self.row_count()] };
        Ok(if column.ends.is_empty() { none() } else { column })
    }

    /// All columns; texts only of the rows that are wanted, the others are empty.
    pub fn columns(&self, traces: &Traces, rows: &RowSet) -> Result<SpanColumns, SegmentError> {
        let span_ids = self.span_ids()?;
        let starts = self.starts(traces)?;
        let ends = starts.iter().zip(self.durations()?).map(|(start, ns)| start.wrapping_add(ns as u64));
        let shapes = self.shapes()?;
        let trace_ids = traces.ids.iter().enumerate();
        Ok(SpanColumns {
            trace_ids: trace_ids.flat_map(|(at, &id)| traces.rows(at).map(move |_| id)).collect(),
            parents: self.parents(traces, &span_ids)?,
            span_ids,
            ends: ends.collect(),
            starts,
            kinds: self.integers(Part::Kinds)?,
            statuses: self.integers(Part::Statuses)?,
            flags: self.integers(Part::Flags)?,
            dropped: self.dropped()?,
            names: self.text_rows(Part::Names, rows)?,
            status_messages: self.text_rows(Part::StatusMessages, rows)?,
            trace_states: self.text_rows(Part::TraceStates, rows)?,
            events: self.byte_rows(Part::Events)?,
            links: self.byte_rows(Part::Links)?,
            origins: self.origins()?,
            attributes: self.attributes(&shapes, rows)?,
            shapes,
        })
    }

    fn attributes(&self, shapes: &Shapes, rows: &RowSet) -> Result<Vec<AttributeColumn>, SegmentError> {
        let counts = self.value_counts(shapes)?;
        let is_all = rows.count() == self.row_count();
        let mut wanted = if is_all { Vec::new() } else { wanted_values(shapes, &counts, rows) }.into_iter();
        let mut columns = Vec::with_capacity(counts.len());
        for (part, count) in self.entry.attributes.iter().zip(counts) {
            let values = self.values(part, count, wanted.next().as_ref())?;
            columns.push(AttributeColumn { key: self.key(part).into(), values });
        }
        Ok(columns)
    }

    /// The sizes of the parts, with the names that people call them by.
    pub fn part_sizes(&self) -> Vec<(String, u64)> {
        let fixed = self.entry.parts.iter().zip(PART_NAMES);
        let fixed = fixed.filter_map(|(place, name)| Some((name.to_owned(), (*place)?.len)));
        let name =
            |part: &AttributePart| format!("{:?} {:?}", part.value_type, self.key(part)).to_lowercase();
        fixed.chain(self.entry.attributes.iter().map(|part| (name(part), part.place.len))).collect()
    }
}

const BAD_TRACES: Malformed = Malformed("the traces of a block are out of order, or not all of its rows");
const NO_STARTS: Malformed = Malformed("a block without times");
