//! Questions asked of Prometheus and Icecore alike, and what came of them.

use std::collections::BTreeMap;

use icecore::query::promql::{ParseOptions, parse};

use super::answers::{self, When};
use super::known_differences::explain;
use super::side_by_side::SideBySide;

/// What came of the questions.
#[derive(Debug, Default)]
pub struct Tally {
    pub asked: usize,
    /// With at least one series.
    pub answered: usize,
    /// By Prometheus.
    pub refused: usize,
    pub explained: BTreeMap<&'static str, usize>,
    pub unexplained: Vec<String>,
}

impl Tally {
    pub fn count(&mut self, both: &SideBySide, expr: &str, when: When) {
        let (expected, found) = both.ask(expr, when);
        self.asked += 1;
        self.answered += usize::from(expected.as_ref().is_ok_and(|answer| !answer.is_empty()));
        self.refused += usize::from(expected.is_err());
        if answers::disagreement(&expected, &found).is_none() {
            return;
        }
        let tree = parse(expr, &ParseOptions::default()).map_err(|error| error.to_string());
        match tree.and_then(|tree| explain(both, &tree, when, (expected, found))) {
            Ok(known) => known.iter().for_each(|known| *self.explained.entry(known.name).or_default() += 1),
            Err(unexplained) => {
                self.unexplained.push(format!("{expr}\n    {when:?}\n    {unexplained}"));
            }
        }
    }
}
