//! Builds an index: labels come in as text in order of series, and are kept as numbers until all are known.

use std::collections::HashMap;
use std::io::{self, Write};

use super::dictionary::DictionaryWriter;
use super::{DICTIONARY, NAMES, POSTINGS, SERIES, forward, postings};
use crate::codec::put_text;
use crate::codec::varint::write_u64;
use crate::model::Labels;
use crate::storage::segment::{CHUNK_ROWS, SegmentWriter, TableWriter};

type Numbers = HashMap<Box<str>, u32, foldhash::fast::RandomState>;

/// Numbers text in order of its first appearance.
#[derive(Default)]
struct Symbols(Numbers);

impl Symbols {
    fn number(&mut self, text: &str) -> u32 {
        if let Some(&number) = self.0.get(text) {
            return number;
        }
        let number = self.0.len() as u32;
        self.0.insert(text.into(), number);
        number
    }

    /// The texts in order, and the place of each number in that order.
    fn sorted(&self) -> (Vec<&str>, Vec<u32>) {
        let mut texts: Vec<(&str, u32)> = self.0.iter().map(|(text, &number)| (&**text, number)).collect();
        texts.sort_unstable();
        let mut places = vec![0; texts.len()];
        for (place, &(_, number)) in texts.iter().enumerate() {
            places[number as usize] = place as u32;
        }
        (texts.into_iter().map(|(text, _)| text).collect(), places)
    }
}

/// Collects series; eight bytes a label.
#[derive(Default)]
pub struct IndexWriter {
    names: Symbols,
    /// By number of the name.
    values: Vec<Symbols>,
    labels: Vec<forward::LabelIds>,
    /// Of each series: where its labels end.
    ends: Vec<usize>,
}

impl IndexWriter {
    /// Adds the next series in order of labels.
    pub fn add(&mut self, labels: &Labels) {
        for (name, value) in labels {
            let name = self.names.number(name);
            if name as usize == self.values.len() {
                self.values.push(Symbols::default());
            }
            self.labels.push((name, self.values[name as usize].number(value)));
        }
        self.ends.push(self.labels.len());
    }

    pub fn series_count(&self) -> usize {
        self.ends.len()
    }

    /// Writes the sections.
    pub fn finish<W: Write>(mut self, to: &mut SegmentWriter<W>) -> io::Result<()> {
        let (names, name_places) = self.names.sorted();
        let sorted_values: Vec<(Vec<&str>, Vec<u32>)> = self.values.iter().map(Symbols::sorted).collect();
        for (name, value) in &mut self.labels {
            *value = sorted_values[*name as usize].1[*value as usize];
            *name = name_places[*name as usize];
        }
        let mut values = vec![Vec::new(); names.len()];
        for ((texts, _), &place) in sorted_values.into_iter().zip(&name_places) {
            values[place as usize] = texts;
        }
        write_series(&self.labels, &self.ends, to)?;
        write_dictionaries(&names, &values, &self.labels, &self.ends, to)
    }
}

fn write_series<W: Write>(
    labels: &[forward::LabelIds],
    ends: &[usize],
    to: &mut SegmentWriter<W>,
) -> io::Result<()> {
    let mut table = TableWriter::default();
    let mut start = 0;
    for ends in ends.chunks(CHUNK_ROWS) {
        let mut series = Vec::with_capacity(ends.len());
        for &end in ends {
            series.push(&labels[start..end]);
            start = end;
        }
        table.chunk(series.len(), |out| forward::encode(&series, out));
    }
    table.finish(SERIES, to)
}

/// Writes postings, dictionaries and names.
fn write_dictionaries<W: Write>(
    names: &[&str],
    values: &[Vec<&str>],
    labels: &[forward::LabelIds],
    ends: &[usize],
    to: &mut SegmentWriter<W>,
) -> io::Result<()> {
    let holders = Lists::collect(values, labels, ends);
    let (mut dictionaries, mut lists, mut directory) = (Vec::new(), Vec::new(), Vec::new());
    write_u64(&mut directory, names.len() as u64);
    for (name, text) in names.iter().enumerate() {
        let start = dictionaries.len();
        let mut dictionary = DictionaryWriter::new(&mut dictionaries, lists.len() as u64);
        for (value, text) in values[name].iter().enumerate() {
            let ordinals = holders.of(name, value);
            let list_start = lists.len();
            if ordinals.len() > 1 {
                postings::encode(ordinals, &mut lists);
            }
            dictionary.value(text, ordinals.len(), ordinals[0], (lists.len() - list_start) as u64);
        }
        dictionary.finish();
        put_text(&mut directory, text);
        for number in [start, dictionaries.len() - start, values[name].len()] {
            write_u64(&mut directory, number as u64);
        }
    }
    to.paged(DICTIONARY, &dictionaries)?;
    to.paged(POSTINGS, &lists)?;
    to.paged(NAMES, &directory)
}

/// The ordinals of the series that have each label, in order.
struct Lists {
    /// Of each name: the number of its first value among the values of all names.
    first_value: Vec<usize>,
    /// Of each value: where its ordinals begin; one more at the end.
    starts: Vec<usize>,
    ordinals: Vec<u32>,
}

impl Lists {
    fn collect(values: &[Vec<&str>], labels: &[forward::LabelIds], ends: &[usize]) -> Lists {
        let mut first_value = Vec::with_capacity(values.len());
        let mut value_count = 0;
        for texts in values {
            first_value.push(value_count);
            value_count += texts.len();
        }
        let number = |(name, value): forward::LabelIds| first_value[name as usize] + value as usize;
        let mut starts = vec![0; value_count + 1];
        labels.iter().for_each(|&label| starts[number(label) + 1] += 1);
        for at in 0..value_count {
            starts[at + 1] += starts[at];
        }
        let mut next = starts.clone();
        let mut ordinals = vec![0; labels.len()];
        let mut start = 0;
        for (ordinal, &end) in ends.iter().enumerate() {
            for &label in &labels[start..end] {
                let slot = &mut next[number(label)];
                ordinals[*slot] = ordinal as u32;
                *slot += 1;
            }
            start = end;
        }
        Lists { first_value, starts, ordinals }
    }

    fn of(&self, name: usize, value: usize) -> &[u32] {
        let at = self.first_value[name] + value;
        &self.ordinals[self.starts[at]..self.starts[at + 1]]
    }
}
