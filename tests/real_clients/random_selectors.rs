//! Random selectors over metrics that are there, and the dice.

use std::collections::{BTreeMap, BTreeSet};

use super::random_expressions::{Generator, Piece};

const OFFSETS: [&str; 6] = ["15s", "1m", "5m", "20m", "-1m", "-10m"];

/// SplitMix64.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.below(from.len())]
    }
}

/// A metric's labels with the values they have.
#[derive(Clone, Debug, Default)]
pub struct Metric {
    pub name: String,
    pub labels: BTreeMap<String, BTreeSet<String>>,
}

impl Generator<'_> {
    pub fn metric(&mut self) -> Metric {
        // Metrics with more labels say more: the better of three.
        let candidates = [0; 3].map(|_| self.dice.below(self.metrics.len()));
        let best = candidates.into_iter().max_by_key(|i| self.metrics[*i].labels.len().min(4));
        self.metrics[best.expect("three candidates")].clone()
    }

    /// A selector without `@` and `offset`, and the labels of what it selects.
    pub fn bare_selector(&mut self, metric: &Metric) -> String {
        let mut matchers = Vec::new();
        let by_regex = self.dice.chance(4) && metric.name.len() > 14;
        if by_regex {
            matchers.push(format!("__name__=~\"{}.*\"", &metric.name[..14]));
        }
        while self.dice.chance(35) {
            matchers.push(self.matcher(metric));
        }
        match (by_regex, matchers.is_empty()) {
            (true, _) => format!("{{{}}}", matchers.join(",")),
            (false, true) => metric.name.clone(),
            (false, false) => format!("{}{{{}}}", metric.name, matchers.join(", ")),
        }
    }

    pub fn matcher(&mut self, metric: &Metric) -> String {
        let names: Vec<&String> = metric.labels.keys().collect();
        let name = names[self.dice.below(names.len())];
        let values: Vec<&String> = metric.labels[name].iter().collect();
        let value = values[self.dice.below(values.len())];
        let other = values[self.dice.below(values.len())];
        let quoted = |text: &str| format!("{text:?}");
        match self.dice.below(9) {
            0..3 => format!("{name}={}", quoted(value)),
            3 => format!("{name}!={}", quoted(value)),
            4 => format!("{name}=~{}", quoted(&format!("{}|{}", regex::escape(value), regex::escape(other)))),
            5 => {
                let prefix: String = value.chars().take(2).collect();
                format!("{name}=~{}", quoted(&format!("{}.*", regex::escape(&prefix))))
            }
            6 => format!("{name}!~{}", quoted(&format!("{}.+", regex::escape(&value[..value.len().min(1)])))),
            7 => format!("{name}=~\".+\""),
            _ => "nothing=\"\"".to_owned(),
        }
    }

    pub fn time_modifiers(&mut self) -> String {
        let mut text = String::new();
        if self.dice.chance(8) {
            text.push_str(&format!(" offset {}", self.dice.pick(&OFFSETS)));
        }
        if self.dice.chance(6) {
            let moment = self.dice.below(self.moments.len());
            text.push_str(&format!(" @ {}", self.moments[moment]));
        }
        text
    }

    pub fn selector(&mut self) -> Piece {
        let metric = self.metric();
        let text = self.bare_selector(&metric) + &self.time_modifiers();
        Piece { text, is_exact: true, labels: metric.labels.into_keys().collect(), is_closed: true }
    }
}
