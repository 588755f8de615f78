//! The columns of a block as bytes: one part each, so that a search reads only what it asks for.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use super::columns::{BytesBuffer, SpanColumns, Values};
use super::segment_layout::Part;
use crate::codec::text::{self, Effort, TextBuffer};
use crate::codec::varint::write_u64;
use crate::codec::{compressed, floats, integers, numbers};
use crate::model::TraceId;

/// Levels of zstd for what is not text.
pub(super) fn zstd_level(effort: Effort) -> i32 {
    match effort {
        Effort::Fast => 1,
        Effort::Best => 3,
    }
}

/// Codes of a parent; larger ones are a place in the trace.
pub(super) mod parent {
    pub const NONE: u32 = 0;
    pub const ELSEWHERE: u32 = 1;
    pub const FIRST_PLACE: u32 = 2;
}

/// The runs of rows that have one trace id.
pub(super) fn trace_runs(columns: &SpanColumns) -> impl Iterator<Item = (TraceId, std::ops::Range<usize>)> {
    let mut at = 0;
    columns.trace_ids.chunk_by(|a, b| a == b).map(move |run| {
        let start = at;
        at += run.len();
        (run[0], start..at)
    })
}

/// Hands the parts that rows need to `put`, in order of their numbers; attributes are apart.
pub(super) fn encode_parts<E>(
    columns: &SpanColumns,
    effort: Effort,
    mut put: impl FnMut(Part, &[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let level = zstd_level(effort);
    let mut out = Vec::new();
    let mut part = |part: Part, encode: &dyn Fn(&mut Vec<u8>)| {
        out.clear();
        encode(&mut out);
        if out.is_empty() { Ok(()) } else { put(part, &out) }
    };
    part(Part::Traces, &|out| encode_traces(columns, out))?;
    part(Part::SpanIds, &|out| columns.span_ids.iter().for_each(|id| out.extend_from_slice(&id.0)))?;
    part(Part::Parents, &|out| encode_parents(columns, level, out))?;
    part(Part::Starts, &|out| encode_starts(columns, out))?;
    let durations = || columns.starts.iter().zip(&columns.ends).map(|(s, e)| e.wrapping_sub(*s) as i64);
    part(Part::Durations, &|out| integers::encode(&durations().collect::<Vec<_>>(), out))?;
    part(Part::Kinds, &|out| encode_integers(&columns.kinds, out))?;
    part(Part::Statuses, &|out| encode_integers(&columns.statuses, out))?;
    part(Part::Names, &|out| encode_texts(&columns.names, effort, out))?;
    part(Part::StatusMessages, &|out| encode_texts(&columns.status_messages, effort, out))?;
    part(Part::TraceStates, &|out| encode_texts(&columns.trace_states, effort, out))?;
    part(Part::Flags, &|out| encode_integers(&columns.flags, out))?;
    part(Part::Dropped, &|out| encode_dropped(columns, out))?;
    part(Part::Origins, &|out| encode_origins(columns, level, out))?;
    part(Part::Shapes, &|out| encode_shapes(columns, level, out))?;
    part(Part::Events, &|out| encode_bytes(&columns.events, level, out))?;
    part(Part::Links, &|out| encode_bytes(&columns.links, level, out))
}

/// Appends the values of a column of attributes.
pub(super) fn encode_values(values: &Values, effort: Effort, out: &mut Vec<u8>) {
    match values {
        Values::Text(values) => text::encode(values, effort, out),
        Values::Integers(values) => integers::encode(values, out),
        Values::Floats(values) => floats::encode(values, out),
        Values::Bools(values) => numbers::encode(values, 2, zstd_level(effort), out),
        Values::Other(values) => put_bytes_column(values, zstd_level(effort), out),
    }
}

fn encode_traces(columns: &SpanColumns, out: &mut Vec<u8>) {
    let counts: Vec<i64> = trace_runs(columns).map(|(_, rows)| rows.len() as i64).collect();
    integers::encode(&counts, out);
    trace_runs(columns).for_each(|(id, _)| out.extend_from_slice(&id.0));
}

/// First the starts of traces, then how much later than the row before it each other row of a trace starts.
fn encode_starts(columns: &SpanColumns, out: &mut Vec<u8>) {
    let starts = &columns.starts;
    let firsts: Vec<i64> = trace_runs(columns).map(|(_, rows)| starts[rows.start] as i64).collect();
    integers::encode(&firsts, out);
    let mut steps = Vec::with_capacity(columns.len() - firsts.len());
    for (_, rows) in trace_runs(columns) {
        steps.extend(starts[rows].windows(2).map(|pair| pair[1].wrapping_sub(pair[0]) as i64));
    }
    integers::encode(&steps, out);
}

fn encode_parents(columns: &SpanColumns, level: i32, out: &mut Vec<u8>) {
    if columns.parents.iter().all(Option::is_none) {
        return;
    }
    let (mut codes, mut elsewhere) = (Vec::with_capacity(columns.len()), Vec::new());
    for (_, rows) in trace_runs(columns) {
        let places = Places::new(&columns.span_ids[rows.clone()]);
        for parent in &columns.parents[rows] {
            codes.push(match parent {
                None => parent::NONE,
                Some(id) => places.of(id).map_or(parent::ELSEWHERE, |place| parent::FIRST_PLACE + place),
            });
            if codes.last() == Some(&parent::ELSEWHERE) {
                elsewhere.extend_from_slice(&parent.expect("it has an id, found or not"));
            }
        }
    }
    let bound = codes.iter().max().map_or(1, |&max| max as usize + 1);
    write_u64(out, bound as u64);
    put_numbers(&codes, bound, level, out);
    out.extend_from_slice(&elsewhere);
}

/// Where the spans of a trace are, by their ids.
enum Places<'a> {
    /// Looking at all of a few ids is faster than hashing them.
    Few(&'a [crate::model::SpanId]),
    Many(HashMap<[u8; 8], u32, RandomState>),
}

impl<'a> Places<'a> {
    fn new(ids: &'a [crate::model::SpanId]) -> Places<'a> {
        const FEW: usize = 64;
        if ids.len() <= FEW {
            return Places::Few(ids);
        }
        Places::Many(ids.iter().enumerate().map(|(place, id)| (id.0, place as u32)).collect())
    }

    fn of(&self, id: &[u8; 8]) -> Option<u32> {
        match self {
            Places::Few(ids) => ids.iter().position(|other| other.0 == *id).map(|place| place as u32),
            Places::Many(places) => places.get(id).copied(),
        }
    }
}

fn encode_integers(values: &[i64], out: &mut Vec<u8>) {
    if values.iter().any(|&value| value != 0) {
        integers::encode(values, out);
    }
}

fn encode_texts(texts: &TextBuffer, effort: Effort, out: &mut Vec<u8>) {
    if !texts.bytes.is_empty() {
        text::encode(texts, effort, out);
    }
}

fn encode_dropped(columns: &SpanColumns, out: &mut Vec<u8>) {
    if columns.dropped.iter().flatten().any(|&count| count != 0) {
        columns.dropped.iter().for_each(|counts| integers::encode(counts, out));
    }
}

fn encode_origins(columns: &SpanColumns, level: i32, out: &mut Vec<u8>) {
    let mut list = Vec::new();
    write_u64(&mut list, columns.origins.list.len() as u64);
    for origin in &columns.origins.list {
        put_bytes(&mut list, origin);
    }
    put_packed(&list, level, out);
    numbers::encode(&columns.origins.of_row, columns.origins.list.len(), level, out);
}

fn encode_shapes(columns: &SpanColumns, level: i32, out: &mut Vec<u8>) {
    if columns.attributes.is_empty() {
        return;
    }
    let mut list = Vec::new();
    write_u64(&mut list, columns.shapes.list.len() as u64);
    for shape in &columns.shapes.list {
        write_u64(&mut list, shape.len() as u64);
        shape.iter().for_each(|&column| write_u64(&mut list, column.into()));
    }
    put_packed(&list, level, out);
    numbers::encode(&columns.shapes.of_row, columns.shapes.list.len(), level, out);
}

fn encode_bytes(column: &BytesBuffer, level: i32, out: &mut Vec<u8>) {
    if !column.bytes.is_empty() {
        put_bytes_column(column, level, out);
    }
}

fn put_bytes_column(column: &BytesBuffer, level: i32, out: &mut Vec<u8>) {
    let mut start = 0;
    let lens = column.ends.iter().map(|&end| (end - std::mem::replace(&mut start, end)) as i64);
    integers::encode(&lens.collect::<Vec<_>>(), out);
    compressed::encode_at(level, &column.bytes, out);
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    write_u64(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn put_packed(content: &[u8], level: i32, out: &mut Vec<u8>) {
    let mut packed = Vec::new();
    compressed::encode_at(level, content, &mut packed);
    put_bytes(out, &packed);
}

fn put_numbers(values: &[u32], bound: usize, level: i32, out: &mut Vec<u8>) {
    let mut packed = Vec::new();
    numbers::encode(values, bound, level, &mut packed);
    put_bytes(out, &packed);
}
