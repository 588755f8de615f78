//! What of one request was refused: counted by reason, and the first few told to the sender.

use super::Outcome;
use super::admission::{Reason, Rejection};

// A sender reads the first few; the counters have them all.
const TOLD_MAX: usize = 5;

pub(super) struct Refusals {
    /// The first few, each said once.
    told: Vec<Rejection>,
    /// By `Reason as usize`.
    counts: [u64; Reason::ALL.len()],
    rejected: u64,
}

impl Default for Refusals {
    fn default() -> Refusals {
        Refusals { told: Vec::new(), counts: [0; Reason::ALL.len()], rejected: 0 }
    }
}

impl Refusals {
    /// Counts `count` rows as refused.
    pub fn refuse(&mut self, rejection: Rejection, count: u64) {
        self.rejected += count;
        self.note(rejection, count);
    }

    /// As [`Refusals::refuse`] for what is only told by the way: it does not count as rejected.
    pub fn note(&mut self, rejection: Rejection, count: u64) {
        self.counts[rejection.reason as usize] += count;
        let is_new = !rejection.message.is_empty() && !self.told.contains(&rejection);
        if is_new && self.are_to_be_told() {
            self.told.push(rejection);
        }
    }

    /// Whether the words of another refusal would be read.
    pub fn are_to_be_told(&self) -> bool {
        self.told.len() < TOLD_MAX
    }

    pub fn told(&self) -> &[Rejection] {
        &self.told
    }

    pub fn count(&self, reason: Reason) -> u64 {
        self.counts[reason as usize]
    }

    /// The reasons there were.
    pub fn counts(&self) -> impl Iterator<Item = (Reason, u64)> {
        Reason::ALL.into_iter().map(|reason| (reason, self.count(reason))).filter(|&(_, count)| count > 0)
    }

    pub fn tell(&self, outcome: &mut Outcome) {
        outcome.rejected = self.rejected;
        outcome.retryable =
            self.counts().next().is_some() && self.counts().all(|(reason, _)| reason.passes_by_waiting());
        outcome.reasons = self.told.iter().map(|rejection| rejection.message.clone()).collect();
    }
}
