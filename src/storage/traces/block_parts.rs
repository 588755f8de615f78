//! The bytes of a block's parts to values: what a part says of itself alone is checked here.

use std::sync::Arc;

use super::columns::{BytesBuffer, Shapes, ValueType, Values};
use super::segment_layout::COLUMN_BYTES_MAX;
use crate::codec::integers::{self, take_integers};
use crate::codec::rows::RowSet;
use crate::codec::text::TextColumn;
use crate::codec::varint::read_u64;
use crate::codec::{Malformed, compressed, floats, numbers, take, take_count};

/// Of each column of attributes, the values that these rows have.
pub fn wanted_values(shapes: &Shapes, counts: &[usize], rows: &RowSet) -> Vec<RowSet> {
    let mut wanted: Vec<RowSet> = counts.iter().map(|&count| RowSet::none(count)).collect();
    let mut used = vec![0; counts.len()];
    for (row, &shape) in shapes.of_row.iter().enumerate() {
        for &column in &shapes.list[shape as usize] {
            let column = column as usize;
            if rows.contains(row) {
                wanted[column].insert(used[column]);
            }
            used[column] += 1;
        }
    }
    wanted
}

pub fn decode_values(
    value_type: ValueType,
    mut bytes: &[u8],
    count: usize,
    wanted: Option<&RowSet>,
) -> Result<Values, Malformed> {
    let mut values = Values::new(value_type);
    match &mut values {
        Values::Text(values) => {
            let column = TextColumn::open(bytes, count, COLUMN_BYTES_MAX)?;
            match wanted {
                Some(rows) => column.decode_rows(rows, values)?,
                None => column.decode(values)?,
            }
            return Ok(Values::Text(std::mem::take(values)));
        }
        Values::Integers(values) => integers::decode(&mut bytes, count, values)?,
        Values::Floats(values) => floats::decode(std::mem::take(&mut bytes), count, values)?,
        Values::Bools(values) => numbers::decode(std::mem::take(&mut bytes), count, 2, values)?,
        Values::Other(values) => *values = take_bytes_column(&mut bytes, count)?,
    }
    if bytes.is_empty() { Ok(values) } else { Err(Malformed("bytes after a column")) }
}

pub fn take_bytes_column(bytes: &mut &[u8], count: usize) -> Result<BytesBuffer, Malformed> {
    let (mut ends, mut end) = (Vec::with_capacity(count), 0usize);
    for len in take_integers(bytes, count)? {
        end = usize::try_from(len).map_or(usize::MAX, |len| end.saturating_add(len));
        ends.push(end);
    }
    let content = compressed::decode(std::mem::take(bytes), COLUMN_BYTES_MAX)?;
    if end == content.len() {
        Ok(BytesBuffer { bytes: content, ends })
    } else {
        Err(Malformed("byte strings of another length"))
    }
}

pub fn take_packed(bytes: &mut &[u8]) -> Result<Vec<u8>, Malformed> {
    let len = take_count(bytes, bytes.len())?;
    compressed::decode(take(bytes, len)?, COLUMN_BYTES_MAX)
}

pub fn take_origins(bytes: &mut &[u8]) -> Result<Vec<Arc<[u8]>>, Malformed> {
    let content = take_packed(bytes)?;
    let content = &mut &content[..];
    let mut list = Vec::new();
    for _ in 0..take_count(content, content.len())? {
        let len = take_count(content, content.len())?;
        list.push(take(content, len)?.into());
    }
    Ok(list)
}

pub fn take_shapes(bytes: &mut &[u8], column_count: usize) -> Result<Vec<Box<[u32]>>, Malformed> {
    let content = take_packed(bytes)?;
    let content = &mut &content[..];
    let mut list = Vec::new();
    for _ in 0..take_count(content, content.len())? {
        let len = take_count(content, content.len())?;
        let column = |content: &mut &[u8]| {
            let column = read_u64(content)?;
            let column = u32::try_from(column).ok().filter(|&column| (column as usize) < column_count);
            column.ok_or(Malformed("a shape with a column that is not there"))
        };
        list.push((0..len).map(|_| column(content)).collect::<Result<_, _>>()?);
    }
    Ok(list)
}
