//! The labels of several indexes by one numbering that keeps their order, so that series of these are compared and written
//! without a look at a text.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::ops::{ControlFlow, Range};

use super::forward::ForwardChunk;
use super::reader::Index;
use crate::codec::Malformed;
use crate::storage::segment::{LastChunk, SegmentError};

/// All their labels in order, by name and value: the number of each is its rank.
#[derive(Default)]
pub struct LabelRanks {
    /// In order.
    names: Vec<RankedName>,
    values: Texts,
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

/// Many of them, without an allocation for each.
#[derive(Default)]
struct Texts {
    text: String,
    ends: Vec<usize>,
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
            let lists: Vec<Texts> =
                holders.iter().map(|&(at, number)| values(indexes[at], number)).collect::<Result<_, _>>()?;
            let of_lists = ranks.add_name(name, &lists);
            for ((at, number), of_list) in holders.into_iter().zip(of_lists) {
                labels[at].ranks[number as usize] = of_list;
            }
        }
        Ok((ranks, labels))
    }

    /// Adds a name with the values of some lists in order; answers with the ranks of each list's.
    fn add_name(&mut self, text: String, lists: &[Texts]) -> Vec<Vec<u32>> {
        let mut ranks: Vec<Vec<u32>> = lists.iter().map(|list| Vec::with_capacity(list.len())).collect();
        let next =
            |list: usize, at: usize| (at < lists[list].len()).then(|| Reverse((lists[list].get(at), list)));
        let mut least: BinaryHeap<_> = (0..lists.len()).filter_map(|list| next(list, 0)).collect();
        let first = self.values.len() as u32;
        let mut last = None;
        while let Some(Reverse((value, list))) = least.pop() {
            if last != Some(value) {
                self.values.push(value);
                last = Some(value);
            }
            ranks[list].push(self.values.len() as u32 - 1);
            least.extend(next(list, ranks[list].len()));
        }
        self.names.push(RankedName { text, labels: first..self.values.len() as u32 });
        ranks
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

/// The values of a name, each behind the one before.
fn values(index: &Index, name: u32) -> Result<Texts, SegmentError> {
    let (mut values, mut is_in_order) = (Texts::default(), true);
    let dictionary = index.dictionary(name)?;
    dictionary.scan_from("", |_, value, _| {
        is_in_order &= values.len().checked_sub(1).map_or("", |last| values.get(last)) < value;
        values.push(value);
        ControlFlow::Continue(())
    })?;
    if !is_in_order || values.len() != index.value_count(name)? as usize {
        return Err(dictionary
            .section
            .damaged(dictionary.offset, Malformed("values of a label are not in order")));
    }
    Ok(values)
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

impl Texts {
    fn push(&mut self, text: &str) {
        self.text.push_str(text);
        self.ends.push(self.text.len());
    }

    fn len(&self) -> usize {
        self.ends.len()
    }

    fn get(&self, at: usize) -> &str {
        let start = if at == 0 { 0 } else { self.ends[at - 1] };
        &self.text[start..self.ends[at]]
    }
}
