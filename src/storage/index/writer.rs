//! Builds an index: labels come in as text in order of series, and are kept as numbers until all are known.

use std::collections::HashMap;
use std::io::{self, Write};

use super::forward::LabelIds;
use super::sections::{HoldersWriter, SeriesLabelsWriter};
use crate::model::Labels;
use crate::storage::segment::{CHUNK_ROWS, SegmentWriter};

type Numbers = HashMap<Box<str>, u32, foldhash::fast::RandomState>;

/// A list takes four bytes for each of its ordinals: those of so many are 16 MiB. More are put together only where one
/// name alone has more.
const ORDINALS_MAX: usize = if cfg!(test) { 64 } else { 4 << 20 };

/// Collects series; four bytes a label.
#[derive(Default)]
pub struct IndexWriter {
    /// Numbers of names, in order of their first appearance.
    names: Numbers,
    /// By number of the name: the numbers of its values. All names share them, so that each stands for a whole label.
    values: Vec<Numbers>,
    label_count: usize,
    rows: Rows,
}

impl IndexWriter {
    /// Adds the next series in order of labels.
    pub fn add(&mut self, labels: &Labels) {
        let IndexWriter { names, values, label_count, rows } = self;
        rows.add(labels.iter().map(|(name, value)| {
            let name = number_in(names, name, values.len());
            if name as usize == values.len() {
                values.push(Numbers::default());
            }
            let label = number_in(&mut values[name as usize], value, *label_count);
            *label_count = (*label_count).max(label as usize + 1);
            label
        }));
    }

    pub fn series_count(&self) -> usize {
        self.rows.series_count()
    }

    /// Writes the sections.
    pub fn finish<W: Write>(&self, to: &mut SegmentWriter<W>) -> io::Result<()> {
        let names: Vec<Name<'_>> = sorted(&self.names)
            .into_iter()
            .map(|(text, number)| Name { text, values: sorted(&self.values[number as usize]) })
            .collect();
        self.rows.finish(&names, self.label_count, to)
    }
}

/// The labels of series by number, whatever these stand for.
#[derive(Default)]
pub(super) struct Rows {
    /// By number of the label: how many series have it.
    holder_counts: Vec<u32>,
    /// All but the last are full.
    chunks: Vec<Chunk>,
    series_count: usize,
}

/// The labels of up to [`CHUNK_ROWS`] series, by number.
#[derive(Default)]
struct Chunk {
    labels: Vec<u32>,
    /// Of each series: where its labels end.
    ends: Vec<u32>,
}

impl Rows {
    /// Adds the next series, whose labels are given in the order of their names.
    pub fn add(&mut self, labels: impl Iterator<Item = u32>) {
        let mut chunk = self.chunks.pop_if(|chunk| chunk.ends.len() < CHUNK_ROWS).unwrap_or_default();
        for label in labels {
            if label as usize >= self.holder_counts.len() {
                self.holder_counts.resize(label as usize + 1, 0);
            }
            self.holder_counts[label as usize] += 1;
            chunk.labels.push(label);
        }
        chunk.ends.push(chunk.labels.len() as u32);
        if chunk.ends.len() == CHUNK_ROWS {
            chunk.labels.shrink_to_fit();
        }
        self.chunks.push(chunk);
        self.series_count += 1;
    }

    pub fn series_count(&self) -> usize {
        self.series_count
    }

    /// Whether any series has this label.
    pub fn is_held(&self, label: u32) -> bool {
        self.holder_counts.get(label as usize).is_some_and(|&count| count > 0)
    }

    /// Writes the sections. `names` are in order and have all labels that are held, whose numbers are below `label_count`, and
    /// no others.
    pub fn finish<W: Write>(
        &self,
        names: &[Name<'_>],
        label_count: usize,
        to: &mut SegmentWriter<W>,
    ) -> io::Result<()> {
        let mut places = vec![(0, 0); label_count];
        for (name, place) in names.iter().zip(0..) {
            for (&(_, label), value) in name.values.iter().zip(0..) {
                places[label as usize] = (place, value);
            }
        }
        self.write_series(&places, to)?;
        self.holders(names, &places).finish(to)
    }

    fn write_series<W: Write>(&self, places: &[LabelIds], to: &mut SegmentWriter<W>) -> io::Result<()> {
        let mut series = SeriesLabelsWriter::default();
        for chunk in &self.chunks {
            let mut start = 0;
            for &end in &chunk.ends {
                series.add(chunk.labels[start..end as usize].iter().map(|&label| places[label as usize]));
                start = end as usize;
            }
        }
        series.finish(to)
    }

    fn holders(&self, names: &[Name<'_>], places: &[LabelIds]) -> HoldersWriter {
        let (mut holders, mut first_name) = (HoldersWriter::default(), 0);
        while first_name < names.len() {
            let lists = Lists::collect(self, names, first_name, places);
            for (at, name) in names[first_name..lists.names_end].iter().enumerate() {
                holders.name(name.text, |values| {
                    for (value, (text, _)) in name.values.iter().enumerate() {
                        values.value(text, lists.of(at, value));
                    }
                });
            }
            first_name = lists.names_end;
        }
        holders
    }
}

/// The number of a text; `next` if it is new.
fn number_in(numbers: &mut Numbers, text: &str, next: usize) -> u32 {
    if let Some(&number) = numbers.get(text) {
        return number;
    }
    numbers.insert(text.into(), next as u32);
    next as u32
}

/// The texts in order, each with its number.
fn sorted(numbers: &Numbers) -> Vec<(&str, u32)> {
    let mut texts: Vec<(&str, u32)> = numbers.iter().map(|(text, &number)| (&**text, number)).collect();
    texts.sort_unstable();
    texts
}

/// A name, and its values in order with the numbers of the labels.
pub(super) struct Name<'a> {
    pub text: &'a str,
    pub values: Vec<(&'a str, u32)>,
}

/// The ordinals of the series that have each label of some neighbouring names, in order.
struct Lists {
    names_end: usize,
    /// Of each name: the number of its first value among the values of all these names.
    first_value: Vec<usize>,
    /// Of each value: where its ordinals begin; one more at the end.
    starts: Vec<usize>,
    ordinals: Vec<u32>,
}

impl Lists {
    /// Those of as many names as may be put together, one at least.
    fn collect(rows: &Rows, names: &[Name<'_>], first: usize, places: &[LabelIds]) -> Lists {
        let (mut first_value, mut starts, mut names_end) = (Vec::new(), vec![0], first);
        for name in &names[first..] {
            let counts = name.values.iter().map(|&(_, label)| rows.holder_counts[label as usize] as usize);
            let before = starts[starts.len() - 1];
            if names_end > first && before + counts.clone().sum::<usize>() > ORDINALS_MAX {
                break;
            }
            first_value.push(starts.len() - 1);
            starts.extend(counts.scan(before, |end, count| {
                *end += count;
                Some(*end)
            }));
            names_end += 1;
        }
        let mut next = starts.clone();
        let mut ordinals = vec![0; starts[starts.len() - 1]];
        let mut ordinal = 0;
        for chunk in &rows.chunks {
            let mut start = 0;
            for &end in &chunk.ends {
                for &label in &chunk.labels[start..end as usize] {
                    let (name, value) = places[label as usize];
                    if (first..names_end).contains(&(name as usize)) {
                        let slot = &mut next[first_value[name as usize - first] + value as usize];
                        ordinals[*slot] = ordinal;
                        *slot += 1;
                    }
                }
                start = end as usize;
                ordinal += 1;
            }
        }
        Lists { names_end, first_value, starts, ordinals }
    }

    /// `name`: how many names behind the first of these.
    fn of(&self, name: usize, value: usize) -> &[u32] {
        let at = self.first_value[name] + value;
        &self.ordinals[self.starts[at]..self.starts[at + 1]]
    }
}
