//! Who has which label, of the series of one registry, by symbols and ids.
//!
//! Series that are registered one after the other have most of their labels in common, so a label comes to the postings
//! once for a run of them: when the next one has another, or when somebody looks.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use super::holders::Holders;

/// The values of a name, and who has them.
pub(super) type Values = HashMap<u32, Holders, RandomState>;

#[derive(Default)]
pub(super) struct Postings {
    /// By name.
    values: HashMap<u32, Values, RandomState>,
    /// Of each place among a series' labels: the label there of the series that came last, and of those before it that
    /// have the same.
    runs: Vec<Run>,
    has_open_runs: bool,
}

/// A label of series with ids from `first` up to `end`.
struct Run {
    name: u32,
    value: u32,
    first: u32,
    end: u32,
}

/// Hardly any series has more labels; one that had must not be paid for by all after it.
const RUNS_KEPT_MAX: usize = 64;

impl Postings {
    /// Adds a series to those that have a label, which is the one `at` this place among its labels. `label` is told the label there
    /// of the series before: most likely it is the same.
    pub fn add(&mut self, at: usize, id: u32, label: impl FnOnce((u32, u32)) -> (u32, u32)) {
        if at == self.runs.len() {
            self.runs.push(Run { name: u32::MAX, value: u32::MAX, first: 0, end: 0 });
        }
        let run = &mut self.runs[at];
        let (name, value) = label((run.name, run.value));
        if (name, value, id) == (run.name, run.value, run.end) {
            run.end += 1;
        } else {
            run.close(&mut self.values);
            *run = Run { name, value, first: id, end: id + 1 };
        }
        self.has_open_runs = true;
    }

    /// Whether all that was added can be seen.
    pub fn are_settled(&self) -> bool {
        !self.has_open_runs
    }

    pub fn settle(&mut self) {
        if std::mem::take(&mut self.has_open_runs) {
            self.runs.iter_mut().for_each(|run| run.close(&mut self.values));
            self.runs.truncate(RUNS_KEPT_MAX);
            self.runs.shrink_to(RUNS_KEPT_MAX);
        }
    }

    /// Takes a series away from those that have a label.
    pub fn remove(&mut self, (name, value): (u32, u32), id: u32) {
        self.settle();
        let Some(values) = self.values.get_mut(&name) else { return };
        if let Some(holders) = values.get_mut(&value) {
            holders.remove(id);
            if holders.is_empty() {
                values.remove(&value);
            }
        }
        if values.is_empty() {
            self.values.remove(&name);
        }
    }

    /// All names, settled or not; some come more than once then.
    pub fn names(&self) -> impl Iterator<Item = u32> + '_ {
        let open = self.runs.iter().filter(|run| !run.is_closed());
        self.values.keys().copied().chain(open.map(|run| run.name))
    }

    /// The values of a name, as of the last time that the postings were settled.
    pub fn values(&self, name: u32) -> Option<&Values> {
        self.values.get(&name)
    }
}

impl Run {
    /// Then what it names may be gone.
    fn is_closed(&self) -> bool {
        self.first == self.end
    }

    fn close(&mut self, to: &mut HashMap<u32, Values, RandomState>) {
        let ids = std::mem::replace(&mut self.first, self.end)..self.end;
        if !ids.is_empty() {
            to.entry(self.name).or_default().entry(self.value).or_default().insert(ids);
        }
    }
}
