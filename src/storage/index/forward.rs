//! The labels of each series, column by column: which names (a shape that many series share), then which value of
//! each name.

use std::collections::BTreeMap;

use crate::codec::varint::{read_u64, write_u64};
use crate::codec::{Malformed, integers, take_count};

/// A label as the numbers of its name and value.
pub type LabelIds = (u32, u32);

/// The labels of the series of one chunk.
#[derive(Debug, Default)]
pub struct ForwardChunk {
    labels: Vec<LabelIds>,
    /// Of each series: where its labels end.
    ends: Vec<u32>,
}

impl ForwardChunk {
    /// What it takes in memory.
    pub fn bytes(&self) -> usize {
        size_of::<ForwardChunk>() + size_of_val(&*self.labels) + size_of_val(&*self.ends)
    }

    /// The labels of the chunk's series `row`, in order of their names.
    pub fn labels(&self, row: usize) -> &[LabelIds] {
        let start = if row == 0 { 0 } else { self.ends[row - 1] };
        &self.labels[start as usize..self.ends[row] as usize]
    }

    /// The number of a series' value of `name`.
    pub fn value_of(&self, row: usize, name: u32) -> Option<u32> {
        let labels = self.labels(row);
        labels.binary_search_by_key(&name, |l| l.0).ok().map(|at| labels[at].1)
    }
}

/// Appends a chunk; each series' labels in order of their names.
pub fn encode(series: &[&[LabelIds]], out: &mut Vec<u8>) {
    let mut columns = Columns::default();
    series.iter().for_each(|labels| columns.add(labels));
    write_u64(out, columns.shapes.len() as u64);
    for (names, _) in &columns.shapes {
        write_u64(out, names.len() as u64);
        let mut last = 0;
        for &name in names {
            write_u64(out, u64::from(name - last));
            last = name;
        }
    }
    integers::encode(&columns.shape_of, out);
    for &column in columns.of_names.values() {
        integers::encode(&columns.values[column], out);
    }
}

/// A chunk under construction.
#[derive(Default)]
struct Columns {
    /// Names, and the column of each.
    shapes: Vec<(Vec<u32>, Vec<usize>)>,
    shape_ids: BTreeMap<Vec<u32>, usize>,
    /// Of each series.
    shape_of: Vec<i64>,
    of_names: BTreeMap<u32, usize>,
    values: Vec<Vec<i64>>,
}

impl Columns {
    fn add(&mut self, labels: &[LabelIds]) {
        let names = || labels.iter().map(|label| label.0);
        // Neighbours mostly have the same names: none is looked up then.
        let last = self.shape_of.last().map(|&id| id as usize);
        let shape = match last.filter(|&id| self.shapes[id].0.iter().copied().eq(names())) {
            Some(shape) => shape,
            None => self.shape(names().collect()),
        };
        self.shape_of.push(shape as i64);
        for (&(_, value), &column) in labels.iter().zip(&self.shapes[shape].1) {
            self.values[column].push(i64::from(value));
        }
    }

    fn shape(&mut self, names: Vec<u32>) -> usize {
        if let Some(&shape) = self.shape_ids.get(&names) {
            return shape;
        }
        let mut columns = Vec::with_capacity(names.len());
        for &name in &names {
            columns.push(*self.of_names.entry(name).or_insert(self.values.len()));
            self.values.resize_with(self.of_names.len(), Vec::new);
        }
        self.shape_ids.insert(names.clone(), self.shapes.len());
        self.shapes.push((names, columns));
        self.shapes.len() - 1
    }
}

/// Takes a chunk of `series_count` series off the front. `value_counts` has the count of values of each name.
pub fn decode(
    bytes: &mut &[u8],
    series_count: usize,
    value_counts: &[u32],
) -> Result<ForwardChunk, Malformed> {
    let shapes = decode_shapes(bytes, value_counts.len())?;
    let mut shape_of = Vec::with_capacity(series_count);
    integers::decode(bytes, series_count, &mut shape_of)?;
    let mut series_of_shape = vec![0usize; shapes.len()];
    for &id in &shape_of {
        *usize::try_from(id).ok().and_then(|id| series_of_shape.get_mut(id)).ok_or(UNKNOWN_SHAPE)? += 1;
    }
    let mut column_lens: BTreeMap<u32, usize> = BTreeMap::new();
    for (shape, count) in shapes.iter().zip(&series_of_shape) {
        for &name in shape {
            *column_lens.entry(name).or_default() += count;
        }
    }
    // Columns one after the other, and where the next value of each is.
    let (mut values, mut next) = (Vec::new(), Vec::with_capacity(column_lens.len()));
    for (&name, &len) in &column_lens {
        let start = values.len();
        integers::decode(bytes, len, &mut values)?;
        if values[start..].iter().any(|&v| !(0..i64::from(value_counts[name as usize])).contains(&v)) {
            return Err(Malformed("a value's number is too large"));
        }
        next.push(start);
    }
    // A chunk has thousands of labels: no name is looked up for each.
    let column_of: BTreeMap<u32, usize> = column_lens.into_keys().zip(0..).collect();
    let with_columns = |shape: &Vec<u32>| shape.iter().map(|&name| (name, column_of[&name])).collect();
    let shapes: Vec<Vec<(u32, usize)>> = shapes.iter().map(with_columns).collect();
    let (mut labels, mut ends) = (Vec::with_capacity(values.len()), Vec::with_capacity(series_count));
    for &id in &shape_of {
        for &(name, column) in &shapes[id as usize] {
            labels.push((name, values[next[column]] as u32));
            next[column] += 1;
        }
        ends.push(labels.len() as u32);
    }
    Ok(ForwardChunk { labels, ends })
}

const UNKNOWN_SHAPE: Malformed = Malformed("a series has an unknown shape");

fn decode_shapes(bytes: &mut &[u8], name_count: usize) -> Result<Vec<Vec<u32>>, Malformed> {
    let shape_count = take_count(bytes, bytes.len())?;
    let mut shapes = Vec::new();
    for _ in 0..shape_count {
        let label_count = take_count(bytes, bytes.len())?;
        let mut shape = Vec::new();
        let mut next = 0u64;
        for at in 0..label_count {
            let step = read_u64(bytes)?;
            if at > 0 && step == 0 {
                return Err(Malformed("names of a shape do not increase"));
            }
            next = next.checked_add(step).filter(|&n| n < name_count as u64).ok_or(UNKNOWN_NAME)?;
            shape.push(next as u32);
        }
        shapes.push(shape);
    }
    Ok(shapes)
}

const UNKNOWN_NAME: Malformed = Malformed("a name's number is too large");

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn series_of_different_shapes_come_back() {
        let series: Vec<Vec<LabelIds>> =
            vec![vec![], vec![(0, 1), (3, 2)], vec![(0, 2)], vec![(0, 2), (3, 0)], vec![(1, 0), (2, 9)]];
        let mut bytes = Vec::new();
        encode(&series.iter().map(Vec::as_slice).collect::<Vec<_>>(), &mut bytes);
        let chunk = decode(&mut &bytes[..], series.len(), &[3, 1, 10, 3]).unwrap();
        for (row, labels) in series.iter().enumerate() {
            assert_eq!(chunk.labels(row), labels);
        }
        assert_eq!((chunk.value_of(3, 3), chunk.value_of(2, 3)), (Some(0), None));
        assert!(decode(&mut &bytes[..], series.len(), &[3, 1, 9, 3]).is_err(), "value 9 of 9");
        assert!(decode(&mut &bytes[..], series.len(), &[3, 1, 10]).is_err(), "name 3 of 3");
    }

    #[test]
    fn cut_bytes_are_malformed() {
        let labels: Vec<LabelIds> = vec![(0, 1), (1, 1)];
        let mut bytes = Vec::new();
        encode(&[&labels, &labels], &mut bytes);
        for len in 0..bytes.len() {
            assert!(decode(&mut &bytes[..len], 2, &[2, 2]).is_err());
        }
    }

    proptest! {
        #[test]
        fn any_series_come_back(series in prop::collection::vec(prop::collection::btree_map(0u32..6, 0u32..300, 0..6), 0..512)) {
            let series: Vec<Vec<LabelIds>> = series.into_iter().map(|labels| labels.into_iter().collect()).collect();
            let mut bytes = Vec::new();
            encode(&series.iter().map(Vec::as_slice).collect::<Vec<_>>(), &mut bytes);
            let chunk = decode(&mut &bytes[..], series.len(), &[300; 6]).unwrap();
            for (row, labels) in series.iter().enumerate() {
                prop_assert_eq!(chunk.labels(row), labels);
            }
        }

        #[test]
        fn foreign_bytes_never_panic(shapes in 0u8..4, bytes: Vec<u8>, count in 0usize..512) {
            let _ = decode(&mut &[&[shapes], &bytes[..]].concat()[..], count, &[3, 200]);
        }
    }
}
