//! How many samples a query looked at, counted as Prometheus counts them: at each step as if it were a query of its
//! own (queryable), and each once (read). A histogram counts as many samples as take its memory.
//!
//! Subqueries, and what is the same at every step, are evaluated on a grid of their own. They are counted apart and
//! added to the query they stand in when all is evaluated.

use std::cell::{Cell, RefCell};
use std::ops::AddAssign;
use std::rc::Rc;

use crate::model::{Histogram, Timestamp};

use super::row::Grid;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Samples {
    pub queryable: u64,
    pub read: u64,
}

impl Samples {
    /// Looked at once.
    pub fn new(count: u64) -> Samples {
        Samples { queryable: count, read: count }
    }
}

impl AddAssign for Samples {
    fn add_assign(&mut self, other: Samples) {
        self.queryable = self.queryable.saturating_add(other.queryable);
        self.read = self.read.saturating_add(other.read);
    }
}

/// What a part with a grid of its own is to the query around it.
#[derive(Clone, Copy, Debug)]
pub enum Part {
    /// One step that stands for all.
    Invariant,
    /// Steps that windows of the query look at: these count what they see, so only what was read below is added.
    Windows { offset_ms: i64, range_ms: i64 },
    /// Steps that are the answer of an instant query.
    Answer,
}

/// The counts of one evaluation.
pub struct Tally {
    grid: Grid,
    tells_steps: bool,
    whole: Cell<Samples>,
    /// For each step; empty where nobody tells them apart.
    steps: RefCell<Vec<Samples>>,
    parts: RefCell<Vec<(Rc<Tally>, Part)>>,
}

impl Tally {
    pub fn new(grid: Grid, tells_steps: bool) -> Tally {
        let steps = if tells_steps { grid.len } else { 0 };
        Tally {
            grid,
            tells_steps,
            whole: Cell::default(),
            steps: RefCell::new(vec![Samples::default(); steps]),
            parts: RefCell::default(),
        }
    }

    /// The counts of a part of this evaluation.
    pub fn part(&self, part: Part, grid: Grid) -> Rc<Tally> {
        let tally = Rc::new(Tally::new(grid, self.tells_steps_of(part)));
        self.parts.borrow_mut().push((tally.clone(), part));
        tally
    }

    /// What the steps of a part take to be told apart.
    pub fn bytes_of_part(&self, part: Part, grid: &Grid) -> u64 {
        if self.tells_steps_of(part) { (grid.len * size_of::<Samples>()) as u64 } else { 0 }
    }

    /// Windows with gaps between them do not see every step of a subquery.
    fn tells_steps_of(&self, part: Part) -> bool {
        matches!(part, Part::Windows { .. }) && self.grid.len > 1
    }

    /// Whether it matters to which step something is added.
    pub fn tells_steps(&self) -> bool {
        self.tells_steps
    }

    pub fn add(&self, step: usize, samples: Samples) {
        self.of_series().add(step, samples);
    }

    /// For the steps of one series.
    pub fn of_series(&self) -> SeriesTally<'_> {
        SeriesTally { tally: self, whole: Samples::default() }
    }

    fn add_to_step(&self, step: usize, samples: Samples) {
        if self.tells_steps {
            // A subquery may have no step at all.
            self.steps.borrow_mut().get_mut(step).into_iter().for_each(|of_step| *of_step += samples);
        }
    }

    /// All samples and, if they are told apart, those of each step; to be asked when everything is evaluated.
    pub fn settled(&self) -> (Samples, Vec<Samples>) {
        for (part, kind) in self.parts.take() {
            let (whole, steps) = part.settled();
            match kind {
                Part::Invariant => {
                    self.add(0, Samples { queryable: 0, read: whole.read });
                    (0..self.grid.len).for_each(|step| self.add(step, Samples { read: 0, ..whole }));
                }
                Part::Answer => self.add(0, whole),
                Part::Windows { .. } if steps.is_empty() => {
                    self.add(0, Samples { queryable: 0, read: whole.read });
                }
                Part::Windows { offset_ms, range_ms } => {
                    for (step, samples) in steps.iter().enumerate().filter(|(_, s)| s.read > 0) {
                        let seen_at = part.grid.at(step).saturating_add(offset_ms);
                        if let Some(step) = self.first_window_with(seen_at, range_ms) {
                            self.add(step, Samples { queryable: 0, read: samples.read });
                        }
                    }
                }
            }
        }
        (self.whole.get(), self.steps.take())
    }

    /// The first step at or after a time, or else the last, if its window reaches back to it.
    fn first_window_with(&self, time: Timestamp, range_ms: i64) -> Option<usize> {
        let after_start = time.saturating_sub(self.grid.start).max(0);
        let step = after_start.saturating_add(self.grid.step_ms - 1) / self.grid.step_ms;
        let step = (step as usize).min(self.grid.len - 1);
        (time > self.grid.at(step).saturating_sub(range_ms)).then_some(step)
    }
}

/// The counts of one series. There is one for each of millions of steps, so what all of them come to is kept at hand and
/// joins the rest when this is dropped.
pub struct SeriesTally<'t> {
    tally: &'t Tally,
    whole: Samples,
}

impl SeriesTally<'_> {
    pub fn add(&mut self, step: usize, samples: Samples) {
        self.whole += samples;
        self.tally.add_to_step(step, samples);
    }
}

impl Drop for SeriesTally<'_> {
    fn drop(&mut self) {
        let mut whole = self.tally.whole.get();
        whole += self.whole;
        self.tally.whole.set(whole);
    }
}

/// As many samples of 16 bytes as the histogram and its time would take in Prometheus's memory.
pub fn samples_of(histogram: &Histogram) -> u64 {
    // The fields without the lists they refer to.
    const FIXED_BYTES: usize = 168;
    const TIME_BYTES: usize = 8;
    let in_lists = histogram.positive_spans.len()
        + histogram.negative_spans.len()
        + histogram.positive_buckets.len()
        + histogram.negative_buckets.len()
        + histogram.custom_bounds.len();
    ((FIXED_BYTES + TIME_BYTES + 8 * in_lists) / 16) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid(start: i64, step_ms: i64, len: usize) -> Grid {
        Grid { start, step_ms, len }
    }

    #[test]
    fn what_is_the_same_at_every_step_is_read_once_and_counts_at_each() {
        let tally = Tally::new(grid(0, 10, 3), true);
        tally.part(Part::Invariant, Grid::instant(0)).add(0, Samples::new(5));
        let (whole, steps) = tally.settled();
        assert_eq!(whole, Samples { queryable: 15, read: 5 });
        assert_eq!(steps.iter().map(|s| (s.queryable, s.read)).collect::<Vec<_>>(), [(5, 5), (5, 0), (5, 0)]);
    }

    #[test]
    fn steps_of_a_subquery_between_two_windows_are_not_read() {
        let tally = Tally::new(grid(100, 50, 3), true);
        let part = Part::Windows { offset_ms: 0, range_ms: 20 };
        let inner = tally.part(part, grid(90, 10, 12));
        (0..12).for_each(|step| inner.add(step, Samples::new(1)));
        let (whole, steps) = tally.settled();
        // Windows (80, 100], (130, 150] and (180, 200] of the times 90, 100, …, 200.
        assert_eq!(whole, Samples { queryable: 0, read: 6 });
        assert_eq!(steps.iter().map(|s| s.read).collect::<Vec<_>>(), [2, 2, 2]);
    }

    #[test]
    fn an_offset_moves_the_steps_of_a_subquery_to_those_who_look_at_them() {
        let tally = Tally::new(grid(100, 10, 3), true);
        let inner = tally.part(Part::Windows { offset_ms: 50, range_ms: 10 }, grid(50, 10, 3));
        inner.add(2, Samples::new(7));
        assert_eq!(tally.settled().1[2].read, 7);
    }

    #[test]
    fn an_instant_query_tells_no_steps_of_its_parts() {
        let tally = Tally::new(Grid::instant(100), false);
        let inner = tally.part(Part::Windows { offset_ms: 0, range_ms: 20 }, grid(90, 10, 2));
        inner.add(0, Samples::new(1));
        tally.part(Part::Answer, grid(90, 10, 2)).add(1, Samples::new(2));
        assert_eq!(tally.settled(), (Samples { queryable: 2, read: 3 }, Vec::new()));
    }
}
