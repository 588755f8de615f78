//! The labels of several indexes by one numbering that keeps their order, so that series of these are compared and written
//! without a look at a text.

use std::collections::BTreeMap;
use std::ops::Range;

use super::dictionary::ValuesCursor;
use super::forward::ForwardChunk;
use super::reader::Index;
use crate::codec::text::TextBuffer;
use crate::storage::segment::{LastChunk, SegmentError};

/// All their labels in order, by name and value: the number of each is its rank.
#[derive(Default)]
pub struct LabelRanks {
    /// In order.
    names: Vec<RankedName>,
    values: TextBuffer,
}

struct RankedName {
    text: String,
    /// The ranks of its labels.
    labels: Range<u32>,
}

/// The labels of the series of one of the indexes, by rank: as these compare, so do the series.
pub struct RankedLabels<'a> {
    index: &'a Index,
    /// By numbers of a name and a value there.
    ranks: Vec<Vec<u32>>,
    chunk: LastChunk<ForwardChunk>,
}

/// The values of a name in one index, and the ranks of those that are behind.
struct Values<'a> {
    cursor: ValuesCursor<'a>,
    ranks: Vec<u32>,
}

impl LabelRanks {
    /// Of these indexes, and what tells the labels of their series.
    pub fn of<'a>(indexes: &[&'a Index]) -> Result<(LabelRanks, Vec<RankedLabels<'a>>), SegmentError> {
        let mut ranks = LabelRanks::default();
        let of_index = |index: &&'a Index| -> Result<RankedLabels<'a>, SegmentError> {
            let ranks = vec![Vec::new(); index.label_names()?.len()];
            Ok(RankedLabels { index, ranks, chunk: LastChunk::default() })
        };
        let mut labels: Vec<_> = indexes.iter().map(of_index).collect::<Result<_, _>>()?;
        for (name, holders) in names_of(indexes)? {
            let values_of = |&(at, number): &(usize, u32)| -> Result<Values<'a>, SegmentError> {
                Ok(Values { cursor: indexes[at].dictionary(number)?.cursor()?, ranks: Vec::new() })
            };
            let values = holders.iter().map(values_of).collect::<Result<_, _>>()?;
            for ((at, number), of_values) in holders.into_iter().zip(ranks.add_name(name, values)?) {
                labels[at].ranks[number as usize] = of_values;
            }
        }
        Ok((ranks, labels))
    }

    /// Adds a name and all these values of it; answers with the ranks of each list's.
    fn add_name(&mut self, text: String, mut lists: Vec<Values<'_>>) -> Result<Vec<Vec<u32>>, SegmentError> {
        let first = self.values.len() as u32;
        while let Some(least) = lists.iter().filter_map(|values| values.cursor.current()).min() {
            let rank = self.values.len();
            self.values.push(least);
            let value = self.values.get(rank);
            for values in lists.iter_mut().filter(|values| values.cursor.current() == Some(value)) {
                values.ranks.push(rank as u32);
                values.cursor.advance()?;
            }
        }
        self.names.push(RankedName { text, labels: first..self.values.len() as u32 });
        Ok(lists.into_iter().map(|values| values.ranks).collect())
    }

    pub fn label_count(&self) -> usize {
        self.values.len()
    }

    /// Names, and the ranks of their labels.
    pub fn names(&self) -> impl Iterator<Item = (&str, Range<u32>)> {
        self.names.iter().map(|name| (&*name.text, name.labels.clone()))
    }

    /// The value of a label.
    pub fn value(&self, rank: u32) -> &str {
        self.values.get(rank as usize)
    }

    /// The value that one of these labels has of a name; empty if none has.
    pub fn value_of(&self, name: &str, labels: &[u32]) -> &str {
        let Ok(at) = self.names.binary_search_by(|known| (*known.text).cmp(name)) else { return "" };
        let is_of_name = |rank: &&u32| self.names[at].labels.contains(*rank);
        labels.iter().find(is_of_name).map_or("", |&rank| self.value(rank))
    }
}

/// The names of all indexes in order, each with the indexes that have it, by place, and its number there.
fn names_of(indexes: &[&Index]) -> Result<BTreeMap<String, Vec<(usize, u32)>>, SegmentError> {
    let mut names: BTreeMap<String, Vec<(usize, u32)>> = BTreeMap::new();
    for (at, index) in indexes.iter().enumerate() {
        for (number, name) in (0..).zip(index.label_names()?) {
            names.entry(name).or_default().push((at, number));
        }
    }
    Ok(names)
}

impl RankedLabels<'_> {
    /// Puts the labels of a series into `labels`, in the order of their names.
    pub fn read(&mut self, ordinal: u32, labels: &mut Vec<u32>) -> Result<(), SegmentError> {
        let (chunk, row) = self.index.row(&mut self.chunk, ordinal)?;
        labels.clear();
        labels
            .extend(chunk.labels(row).iter().map(|&(name, value)| self.ranks[name as usize][value as usize]));
        Ok(())
    }
}
