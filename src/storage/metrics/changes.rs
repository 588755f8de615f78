//! What changed when: for whoever keeps answers and must know how much of them still holds.
//!
//! Each note is of a change that readers can see already, and says the earliest time of which they may see something
//! else now. Who takes a [`Mark`] before a snapshot and asks later learns the earliest time of all that changed since:
//! what an answer says of the time before still holds. Where notes are many they are joined, always to the earlier time.

use parking_lot::Mutex;

use crate::model::Timestamp;
use crate::model::time::SECOND;
use crate::storage::partition::{partition_of, partition_range};

/// How many changes had been noted at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark(u64);

/// All changes of a store since it was opened.
#[derive(Default)]
pub struct Changes(Mutex<History>);

/// Invariant: numbers and times both increase from one to the next.
#[derive(Default)]
struct History {
    noted: u64,
    earliest: Vec<Earliest>,
    /// The newest day that may be read from rollups.
    rolled_until: Option<Timestamp>,
}

/// Nothing that was noted after the entry before this one, up to now, reaches back beyond this time.
#[derive(Clone, Copy)]
struct Earliest {
    /// Of the last note that this stands for.
    number: u64,
    time: Timestamp,
}

/// At a second each these are as far as dashboards reach back at least, in 16 KiB.
const EARLIEST_MAX: usize = 1_024;
/// Answers have a point a second at most, hardly ever more.
const JOINED_MS: i64 = SECOND;

impl Changes {
    /// There are samples of `time` and later that were not there. To be called when readers can see them, and before
    /// whoever wrote them hears "yes".
    pub fn note_samples(&self, time: Timestamp) {
        let mut history = self.0.lock();
        // A day that was rolled up is read as sent again, from its beginning.
        let is_rolled = history.rolled_until.is_some_and(|until| time <= until);
        let time = if is_rolled { partition_range(partition_of(time)).after.saturating_add(1) } else { time };
        history.note(time);
    }

    /// Nothing that was seen before may hold. Days up to `rolled_until` may be read from rollups.
    pub fn note_all(&self, rolled_until: Option<Timestamp>) {
        let mut history = self.0.lock();
        history.rolled_until = history.rolled_until.max(rolled_until);
        history.note(Timestamp::MIN);
    }

    /// To be taken before a snapshot.
    pub fn now(&self) -> Mark {
        Mark(self.0.lock().noted)
    }

    /// This moment, and the earliest time of which anything changed since a mark; [`Timestamp::MAX`] if nothing did.
    pub fn since(&self, mark: Mark) -> (Mark, Timestamp) {
        let history = self.0.lock();
        let first = history.earliest.partition_point(|entry| entry.number <= mark.0);
        let time = history.earliest.get(first).map_or(Timestamp::MAX, |entry| entry.time);
        (Mark(history.noted), time)
    }
}

impl History {
    fn note(&mut self, time: Timestamp) {
        self.noted += 1;
        let (number, earliest) = (self.noted, &mut self.earliest);
        while earliest.pop_if(|last| last.time >= time).is_some() {}
        match earliest.last_mut() {
            Some(last) if time.saturating_sub(last.time) < JOINED_MS => last.number = number,
            _ => earliest.push(Earliest { number, time }),
        }
        if earliest.len() > EARLIEST_MAX {
            join_pairs(earliest);
        }
    }
}

/// Two become one that stands for both.
fn join_pairs(earliest: &mut Vec<Earliest>) {
    let join = |pair: &[Earliest]| Earliest { number: pair[pair.len() - 1].number, time: pair[0].time };
    *earliest = earliest.chunks(2).map(join).collect();
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::time::DAY;

    proptest! {
        #[test]
        fn no_change_is_missed_and_none_is_made_up(
            times in prop::collection::vec(prop_oneof![0..100_000i64, 90_000..100_000i64], 1..200),
        ) {
            let (changes, mut marks) = (Changes::default(), vec![Mark::default()]);
            for &time in &times {
                changes.note_samples(time);
                marks.push(changes.now());
            }
            for (at, mark) in marks.into_iter().enumerate() {
                let (now, told) = changes.since(mark);
                prop_assert_eq!(now, changes.now());
                match times[at..].iter().min() {
                    Some(&earliest) => {
                        prop_assert!(told <= earliest);
                        // A second each, and once joined to what came before that is a second more.
                        prop_assert!(told > earliest - JOINED_MS, "{} is told as {}", earliest, told);
                    }
                    None => prop_assert_eq!(told, Timestamp::MAX),
                }
            }
        }
    }

    #[test]
    fn many_notes_take_bounded_room_and_are_told_too_early_rather_than_too_late() {
        let changes = Changes::default();
        let marks: Vec<Mark> = (0..100_000i64)
            .map(|second| {
                let mark = changes.now();
                changes.note_samples(second * SECOND);
                mark
            })
            .collect();
        assert!(changes.0.lock().earliest.len() <= EARLIEST_MAX);
        for (second, &mark) in marks.iter().enumerate() {
            assert!(changes.since(mark).1 <= second as i64 * SECOND);
        }
        // The newest are told exactly enough to be of use.
        assert!(changes.since(marks[99_990]).1 > 99_900 * SECOND);
    }

    #[test]
    fn when_everything_changed_nothing_of_before_holds_and_all_of_after_does() {
        let changes = Changes::default();
        changes.note_samples(5_000);
        let before = changes.now();
        changes.note_all(None);
        let after = changes.now();
        changes.note_samples(9_000);
        assert_eq!(changes.since(before).1, Timestamp::MIN);
        assert_eq!(changes.since(after).1, 9_000);
        assert_eq!(changes.since(changes.now()).1, Timestamp::MAX);
    }

    #[test]
    fn a_sample_for_a_day_in_rollups_changes_the_day() {
        let changes = Changes::default();
        changes.note_all(Some(2 * DAY));
        let mark = changes.now();
        changes.note_samples(2 * DAY + 5);
        assert_eq!(changes.since(mark).1, 2 * DAY + 5);
        changes.note_samples(2 * DAY);
        assert_eq!(changes.since(mark).1, DAY + 1);
    }
}
