//! Labels of active series as the numbers that an index under construction has for them: found by the symbols of the
//! registries, so that a label's text is looked at once and not for each series that has it.

use super::label_order::Place;
use super::registry::SharedRegistry;

/// No symbol is as high.
const NO_NAME: u32 = u32::MAX;

pub(super) struct LabelNumbers<'r> {
    registries: &'r [SharedRegistry],
    /// By shard and symbol of a value: the name that it was met with last, and the number of that label. Few values stand
    /// under several names.
    met: Vec<Vec<(u32, u32)>>,
    labels: Vec<u32>,
}

impl LabelNumbers<'_> {
    /// The series that are asked for must stay registered: else symbols stand for other texts later.
    pub fn new(registries: &[SharedRegistry]) -> LabelNumbers<'_> {
        LabelNumbers { registries, met: vec![Vec::new(); registries.len()], labels: Vec::new() }
    }

    /// The numbers of a series' labels, in order; `number` says those of labels that are new.
    pub fn of(&mut self, place: Place, mut number: impl FnMut(&str, &str) -> u32) -> &[u32] {
        let registry = self.registries[place.shard as usize].reading();
        let met = &mut self.met[place.shard as usize];
        self.labels.clear();
        for (name, value) in registry.labels(place.id).expect("it stays registered") {
            if met.len() <= value as usize {
                met.resize(registry.symbols_end() as usize, (NO_NAME, 0));
            }
            let last = &mut met[value as usize];
            if last.0 != name {
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
        let mut of = |place| {
            let number = |name: &str, value: &str| {
                let label = format!("{name}{value}");
                spelled.push(label.clone());
                known.iter().position(|k| *k == label).unwrap_or_else(|| {
                    known.push(label);
                    known.len() - 1
                }) as u32
            };
            numbers.of(place, number).to_vec()
        };
        let found: Vec<Vec<u32>> = series.into_iter().map(&mut of).collect();
        // ax, by; bz; ay, bx
        assert_eq!(found, [vec![0, 1], vec![0, 2], vec![3, 4], vec![0, 1], vec![0, 4]]);
        assert_eq!(spelled, ["ax", "by", "bz", "ay", "bx", "ax", "by", "ax", "bx"]);
    }
}
