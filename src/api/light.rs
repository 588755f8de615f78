//! Which queries are light: those that were when they were last asked. Dashboards ask the same again and again.

use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use foldhash::fast::RandomState;

use super::form::Form;
use crate::model::Nanos;
use crate::query::LIGHT_MAX;

/// 32 KiB of them. Two questions that fall on one slot take it from each other, and are asked as if for the first time.
const SLOTS: usize = 4_096;
/// Where the time ends in a slot and the rest of the question's hash begins.
const MICROS_BITS: u32 = 24;
const MICROS_MAX: u64 = (1 << MICROS_BITS) - 1;
/// They tell when, not what.
const TIMES: [&str; 5] = ["time", "start", "end", "endTs", "_"];

/// How long queries took when they were last asked, of all that were asked lately.
pub struct LightQueries {
    slots: Box<[AtomicU64]>,
    hashing: RandomState,
}

/// What a request asks, whatever the time it asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question(u64);

impl Default for LightQueries {
    fn default() -> LightQueries {
        let slots = (0..SLOTS).map(|_| AtomicU64::new(0)).collect();
        LightQueries { slots, hashing: RandomState::default() }
    }
}

impl LightQueries {
    pub fn question(&self, path: &str, form: &Form, now: Nanos) -> Question {
        let mut hasher = self.hashing.build_hasher();
        path.hash(&mut hasher);
        for parameter in form.parameters().filter(|(name, _)| !TIMES.contains(name)) {
            parameter.hash(&mut hasher);
        }
        magnitude_of_range(form, now).hash(&mut hasher);
        Question(hasher.finish())
    }

    /// Whether the last answer to the question took little.
    pub fn has(&self, question: Question) -> bool {
        let (slot, mark) = self.place(question);
        let kept = slot.load(Ordering::Relaxed);
        let took = Duration::from_micros(kept & MICROS_MAX);
        kept & !MICROS_MAX == mark && !took.is_zero() && took <= LIGHT_MAX
    }

    /// To be told of each answer, and of what will be long in coming.
    pub fn took(&self, question: Question, time: Duration) {
        let micros = (time.as_micros() as u64).clamp(1, MICROS_MAX);
        let (slot, mark) = self.place(question);
        slot.store(mark | micros, Ordering::Relaxed);
    }

    fn place(&self, Question(hash): Question) -> (&AtomicU64, u64) {
        (&self.slots[hash as usize % SLOTS], hash & !MICROS_MAX)
    }
}

/// The same text over a day and over a year are different questions; a minute more or less does not matter.
fn magnitude_of_range(form: &Form, now: Nanos) -> Option<u32> {
    let (start, end) = (form.nanos_or("start", now).ok()?, form.nanos_or("end", now).ok()?);
    end.checked_sub(start)?.checked_ilog2()
}

#[cfg(test)]
mod tests {
    use axum::http::Uri;

    use super::*;

    const NOW: Nanos = 1_700_000_000_000_000_000;

    fn asked(light: &LightQueries, uri: &'static str) -> Question {
        let uri = Uri::from_static(uri);
        light.question(uri.path(), &Form::new(&uri, &Default::default()), NOW)
    }

    #[test]
    fn a_question_is_the_same_at_another_time_and_another_over_a_longer_one() {
        let light = LightQueries::default();
        let first = asked(&light, "/query_range?query=up&start=1000&end=4600&step=15");
        assert_eq!(first, asked(&light, "/query_range?query=up&start=1060.5&end=4661&step=15&_=17"));
        for other in [
            "/query_range?query=up&start=1000&end=87400&step=15",
            "/query_range?query=up&start=2026-11-23T00:00:00Z&end=2026-11-25T00:00:00Z&step=15",
            "/query_range?query=up&start=1000&end=4600&step=30",
            "/query_range?query=down&start=1000&end=4600&step=15",
            "/query?query=up&start=1000&end=4600&step=15",
        ] {
            assert_ne!(first, asked(&light, other), "{other}");
        }
        let [hour, later_hour, day] = ["1699996400", "1699996300000000000", "2023-11-13T22:13:20Z"]
            .map(|start| format!("/loki/api/v1/query_range?query=rate&start={start}"))
            .map(|uri| asked(&light, uri.leak()));
        assert!(hour == later_hour && hour != day, "what has no end ends now");
    }

    #[test]
    fn only_what_took_little_last_time_is_light() {
        let light = LightQueries::default();
        let (up, down) = (asked(&light, "/query?query=up"), asked(&light, "/query?query=down"));
        assert!(!light.has(up), "never asked");
        light.took(up, Duration::ZERO);
        assert!(light.has(up) && !light.has(down));
        light.took(up, LIGHT_MAX * 2);
        assert!(!light.has(up));
        light.took(up, Duration::from_secs(1 << 40));
        assert!(!light.has(up), "years count as seconds, not as what is left of them");
        light.took(up, LIGHT_MAX);
        assert!(light.has(up));
    }

    #[test]
    fn a_question_that_takes_the_slot_of_another_is_not_taken_for_it() {
        let light = LightQueries::default();
        let (first, second) = (Question(1 << 40 | 7), Question(2 << 40 | 7));
        light.took(first, LIGHT_MAX);
        assert!(light.has(first) && !light.has(second));
        light.took(second, LIGHT_MAX * 2);
        assert!(!light.has(first) && !light.has(second));
    }
}
