//! Labels of active series as the numbers that an index under construction has for them: found by the symbols of the
//! registries, so that a label's text is looked at once and not for each series that has it.

use std::hint::black_box;

use super::label_order::Place;
use super::registry::{PackedLabels, Reading, SharedRegistry};

/// No symbol is as high.
const NO_NAME: u32 = u32::MAX;

pub(super) struct LabelNumbers<'r> {
    registries: &'r [SharedRegistry],
    /// By shard and symbol of a value: the name that it was met with last, and the number of that label. Few values stand
    /// under several names.
    met: Vec<Vec<(u32, u32)>>,
    /// The labels of the series that were looked up, by symbols, and of each its shard and where its labels end.
    symbols: Vec<(u32, u32)>,
    series: Vec<(u32, usize)>,
    labels: Vec<u32>,
}

impl LabelNumbers<'_> {
    /// The series that are asked for must stay registered: else symbols stand for other texts later.
    pub fn new(registries: &[SharedRegistry]) -> LabelNumbers<'_> {
        let (symbols, series, labels) = Default::default();
        LabelNumbers { registries, met: vec![Vec::new(); registries.len()], symbols, series, labels }
    }

    /// Looks up the labels of some series, for [`LabelNumbers::of`].
    pub fn look_up(&mut self, places: &[Place]) {
        let registries: Vec<Reading<'_>> =
            self.registries.iter().map(|registry| registry.reading()).collect();
        let packed = |place: &Place| registries[place.shard as usize].packed_labels(place.id);
        let packed: Vec<&PackedLabels> =
            places.iter().map(|place| packed(place).expect("it stays registered")).collect();
        // They lie all over the memory. Nothing waits for the one before here, as it would below.
        black_box(packed.iter().fold(0, |sum, labels| sum ^ labels.fetch()));
        self.symbols.clear();
        self.series.clear();
        for (place, labels) in places.iter().zip(packed) {
            self.symbols.extend(labels.iter());
            self.series.push((place.shard, self.symbols.len()));
        }
    }

    /// The numbers of the labels of one of those that were looked up last, in order; `number` says those of labels that
    /// are new.
    pub fn of(&mut self, at: usize, mut number: impl FnMut(&str, &str) -> u32) -> &[u32] {
        let start = if at == 0 { 0 } else { self.series[at - 1].1 };
        let (shard, end) = self.series[at];
        let (registry, met) = (&self.registries[shard as usize], &mut self.met[shard as usize]);
        self.labels.clear();
        for &(name, value) in &self.symbols[start..end] {
            if met.len() <= value as usize {
                met.resize(registry.reading().symbols_end() as usize, (NO_NAME, 0));
            }
            let last = &mut met[value as usize];
            if last.0 != name {
                let registry = registry.reading();
                *last = (name, number(registry.text(name), registry.text(value)));
            }
            self.labels.push(last.1);
        }
        &self.labels
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Labels;

    #[test]
    fn a_label_is_spelled_once_in_each_shard_unless_another_name_has_its_value() {
        let registries: Vec<SharedRegistry> = (0..2).map(|_| SharedRegistry::default()).collect();
        let register = |shard: usize, pairs: &[(&str, &str)]| {
            let labels = Labels::from_pairs(pairs.iter().copied()).unwrap();
            let (id, _) = registries[shard].find_or_insert(&labels, labels.fingerprint(), 100).unwrap();
            Place { shard: shard as u32, id }
        };
        let series = [
            register(0, &[("a", "x"), ("b", "y")]),
            register(0, &[("a", "x"), ("b", "z")]),
            register(0, &[("a", "y"), ("b", "x")]),
            register(0, &[("a", "x"), ("b", "y")]),
            register(1, &[("a", "x"), ("b", "x")]),
        ];
        let (mut numbers, mut spelled) = (LabelNumbers::new(&registries), Vec::new());
        let mut known: Vec<String> = Vec::new();
        let mut number = |name: &str, value: &str| {
            let label = format!("{name}{value}");
            spelled.push(label.clone());
            known.iter().position(|k| *k == label).unwrap_or_else(|| {
                known.push(label);
                known.len() - 1
            }) as u32
        };
        let mut found = Vec::new();
        for places in series.chunks(3) {
            numbers.look_up(places);
            found.extend((0..places.len()).map(|at| numbers.of(at, &mut number).to_vec()));
        }
        // ax, by; bz; ay, bx
        assert_eq!(found, [vec![0, 1], vec![0, 2], vec![3, 4], vec![0, 1], vec![0, 4]]);
        assert_eq!(spelled, ["ax", "by", "bz", "ay", "bx", "ax", "by", "ax", "bx"]);
    }
}
