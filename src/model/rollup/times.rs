//! When the samples of buckets were. Many series have equal times, and reading one after the other copies them once.

use std::fmt;
use std::ops::{Deref, Range};
use std::sync::Arc;

#[cfg(doc)]
use super::NEVER;
use crate::model::Timestamp;

/// Of buckets in order of their ends, which strictly increase: count and times of their samples.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BucketTimes {
    pub ends: Vec<Timestamp>,
    pub counts: Vec<u64>,
    /// [`NEVER`] where there is no sample.
    pub firsts: Vec<Timestamp>,
    pub lasts: Vec<Timestamp>,
    /// [`NEVER`] where there is no stale marker after the last sample.
    pub stale_at: Vec<Timestamp>,
}

impl BucketTimes {
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }
}

/// Rows of times that others hold, too.
#[derive(Clone, Debug)]
pub struct TimesPart {
    pub times: Arc<BucketTimes>,
    pub rows: Range<usize>,
}

/// The same rows of the very same times; what is equal by chance is not looked for.
impl PartialEq for TimesPart {
    fn eq(&self, other: &TimesPart) -> bool {
        Arc::ptr_eq(&self.times, &other.times) && self.rows == other.rows
    }
}

/// A list that is filled again and again, often with the same parts first: these it has still from the time before.
#[derive(Clone, Default)]
pub struct Refilled<T> {
    /// Behind `len` those from before.
    values: Vec<T>,
    len: usize,
    /// What the first of `values` were copied from, one after the other.
    parts: Vec<TimesPart>,
    /// How many of them begin the list, and how many values they are.
    used: usize,
    shared_len: usize,
}

impl<T: Copy> Refilled<T> {
    pub fn clear(&mut self) {
        (self.len, self.used, self.shared_len) = (0, 0, 0);
    }

    /// Appends rows of a column.
    pub fn extend_shared(&mut self, part: &TimesPart, column: fn(&BucketTimes) -> &[T]) {
        let rows = part.rows.clone();
        if self.shared_len < self.len {
            return self.extend(column(&part.times)[rows].iter().copied());
        }
        if self.parts.get(self.used) != Some(part) {
            self.values.truncate(self.len);
            self.parts.truncate(self.used);
            self.values.extend_from_slice(&column(&part.times)[rows.clone()]);
            self.parts.push(part.clone());
        }
        self.used += 1;
        self.len += rows.len();
        self.shared_len = self.len;
    }

    /// The parts that the list begins with, and how many values they are. As long as they are the same, so are these.
    pub fn shared(&self) -> (&[TimesPart], usize) {
        (&self.parts[..self.used], self.shared_len)
    }

    pub fn reserve(&mut self, more: usize) {
        self.values.reserve((self.len + more).saturating_sub(self.values.len()));
    }

    #[inline]
    pub fn push(&mut self, value: T) {
        self.extend([value]);
    }

    pub fn extend_from_slice(&mut self, more: &[T]) {
        self.extend(more.iter().copied());
    }

    #[inline]
    pub fn extend(&mut self, more: impl IntoIterator<Item = T>) {
        self.values.truncate(self.len);
        self.parts.truncate(self.used);
        self.values.extend(more);
        self.len = self.values.len();
    }
}

impl<T> Deref for Refilled<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        &self.values[..self.len]
    }
}

impl<T> From<Vec<T>> for Refilled<T> {
    fn from(values: Vec<T>) -> Refilled<T> {
        Refilled { len: values.len(), values, parts: Vec::new(), used: 0, shared_len: 0 }
    }
}

impl<T: fmt::Debug> fmt::Debug for Refilled<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<T: PartialEq> PartialEq for Refilled<T> {
    fn eq(&self, other: &Refilled<T>) -> bool {
        **self == **other
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Clear,
        Part(usize, Range<usize>),
        Push(Timestamp),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            2 => Just(Step::Clear),
            6 => (0usize..3, 0usize..3, 0usize..3).prop_map(|(of, from, len)| Step::Part(of, from..from + len)),
            1 => (0i64..100).prop_map(Step::Push),
        ]
    }

    proptest! {
        #[test]
        fn a_list_holds_what_was_put_into_it_since_it_was_cleared(steps in prop::collection::vec(step(), 0..60)) {
            let times = |first: i64| BucketTimes { ends: (first..first + 5).collect(), ..BucketTimes::default() };
            let shared = [times(0).into(), times(100).into(), times(0).into()] as [Arc<BucketTimes>; 3];
            let (mut list, mut expected) = (Refilled::default(), Vec::new());
            let (mut origin, mut is_shared) = (Vec::new(), true);
            for step in steps {
                match step {
                    Step::Clear => {
                        list.clear();
                        (expected, origin, is_shared) = (Vec::new(), Vec::new(), true);
                    }
                    Step::Part(of, rows) => {
                        let part = TimesPart { times: shared[of].clone(), rows: rows.clone() };
                        list.extend_shared(&part, |times| &times.ends);
                        expected.extend_from_slice(&shared[of].ends[rows]);
                        if is_shared {
                            origin.push(part);
                        }
                    }
                    Step::Push(time) => {
                        list.push(time);
                        expected.push(time);
                        is_shared = false;
                    }
                }
                prop_assert_eq!(&*list, &expected[..]);
                let shared_len = origin.iter().map(|part| part.rows.len()).sum::<usize>();
                prop_assert_eq!(list.shared(), (&origin[..], shared_len));
            }
        }
    }

    #[test]
    fn parts_that_come_again_are_not_copied() {
        let times = Arc::new(BucketTimes { ends: vec![1, 2, 3], ..BucketTimes::default() });
        let part = TimesPart { times, rows: 0..3 };
        let mut list = Refilled::default();
        list.extend_shared(&part, |times| &times.ends);
        list.clear();
        list.extend_shared(&part, |_| unreachable!("they are there"));
        assert_eq!(*list, [1, 2, 3]);
    }

    #[test]
    fn parts_that_were_written_over_are_copied_again() {
        let times = Arc::new(BucketTimes { ends: vec![1, 2, 3], ..BucketTimes::default() });
        let part = TimesPart { times, rows: 0..3 };
        let mut list = Refilled::default();
        list.extend_shared(&part, |times| &times.ends);
        list.clear();
        list.extend_from_slice(&[7, 8]);
        list.clear();
        list.extend_shared(&part, |times| &times.ends);
        assert_eq!(*list, [1, 2, 3]);
    }
}
