//! Whether who asked still wants the answer, and lets several threads look for it. Long loops below the query layer ask,
//! and give up when he does not.

use std::cell::Cell;
use std::fmt;
use std::sync::Arc;

/// Up once nobody wants the answer any more, and from then on. What a loop has found by the time it gives up means
/// nothing; so whoever put up the sign looks at it when he is given an answer.
#[derive(Clone, Default)]
pub struct StopSign(Option<Arc<dyn Asker>>);

/// Who puts up a sign; a closure, too, that tells whether it is up.
pub trait Asker: Send + Sync + 'static {
    fn has_left(&self) -> bool;

    /// Asked where there is enough to do for several threads.
    fn may_use_threads(&self) -> bool {
        true
    }
}

impl<F: Fn() -> bool + Send + Sync + 'static> Asker for F {
    fn has_left(&self) -> bool {
        self()
    }
}

impl StopSign {
    pub fn new(asker: impl Asker) -> StopSign {
        StopSign(Some(Arc::new(asker)))
    }

    pub fn never() -> StopSign {
        StopSign(None)
    }

    pub fn is_up(&self) -> bool {
        self.0.as_ref().is_some_and(|asker| asker.has_left())
    }

    /// Asked where there is enough to do for several threads.
    pub fn may_use_threads(&self) -> bool {
        self.0.as_ref().is_none_or(|asker| asker.may_use_threads())
    }
}

impl fmt::Debug for StopSign {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("StopSign")
    }
}

/// Work between two looks at the sign. The worst regular expressions that we compile take 80 ms for so many bytes; to
/// search them for a word takes 400 ns, and a look, which reads a clock, 40.
const BYTES_PER_LOOK: usize = 1 << 12;
/// What it costs to go on to the next text, however short.
const BYTES_PER_STEP: usize = 16;

/// Looks at the sign once for so much work; of one loop, or of several that follow one another.
#[derive(Debug)]
pub struct Lookout<'s> {
    sign: &'s StopSign,
    bytes_left: Cell<usize>,
    has_seen_it: Cell<bool>,
}

impl<'s> Lookout<'s> {
    pub fn new(sign: &'s StopSign) -> Lookout<'s> {
        Lookout { sign, bytes_left: Cell::new(0), has_seen_it: Cell::new(false) }
    }

    /// One for another thread at the same work.
    pub fn another(&self) -> Lookout<'s> {
        Lookout::new(self.sign)
    }

    /// Asked where there is enough to do for several threads.
    pub fn may_use_threads(&self) -> bool {
        self.sign.may_use_threads()
    }

    /// Whether to give up, asked before each step of a loop, which looks at about so many bytes.
    pub fn gives_up_before(&self, bytes: usize) -> bool {
        let cost = bytes.saturating_add(BYTES_PER_STEP);
        match self.bytes_left.get().checked_sub(cost) {
            Some(left) => self.bytes_left.set(left),
            None => {
                self.bytes_left.set(BYTES_PER_LOOK);
                self.has_seen_it.set(self.has_seen_it.get() || self.sign.is_up());
            }
        }
        self.has_seen_it.get()
    }

    /// Whether to give up, asked by who works in steps of his own.
    pub fn gives_up_now(&self) -> bool {
        self.gives_up_before(usize::MAX)
    }

    /// Whether it has given up.
    pub fn has_given_up(&self) -> bool {
        self.has_seen_it.get()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    use super::*;

    fn up_at(look: usize) -> (StopSign, Arc<AtomicUsize>) {
        let looks = Arc::new(AtomicUsize::new(0));
        let counted = looks.clone();
        (StopSign::new(move || counted.fetch_add(1, Relaxed) + 1 >= look), looks)
    }

    #[test]
    fn long_texts_are_looked_up_from_more_often_than_short_ones() {
        for (bytes, looks_wanted) in [(0, 4), (48, 16), (BYTES_PER_LOOK, 1_000), (usize::MAX, 1_000)] {
            let (sign, looks) = up_at(usize::MAX);
            let lookout = Lookout::new(&sign);
            assert!((0..1_000).all(|_| !lookout.gives_up_before(bytes)));
            assert!(looks.load(Relaxed).abs_diff(looks_wanted) <= 1, "{bytes}: {looks:?}");
        }
    }

    #[test]
    fn what_was_seen_once_is_not_looked_for_again() {
        let (sign, looks) = up_at(2);
        let lookout = Lookout::new(&sign);
        let steps = (0..).take_while(|_| !lookout.gives_up_before(0)).count();
        assert!(steps > 250 && lookout.has_given_up());
        assert!((0..1_000).all(|_| lookout.gives_up_before(9_999)));
        assert_eq!(looks.load(Relaxed), 2);
        let never = StopSign::never();
        assert!((0..1_000).all(|_| !Lookout::new(&never).gives_up_before(0)));
    }
}
