//! Whether an expression matches, byte by byte: an automaton whose states are made as a text needs them, and which can be
//! told to stop between two bytes.

use parking_lot::Mutex;
use regex_automata::Input;
use regex_automata::hybrid::dfa::{Cache, DFA};

use crate::model::regex::DFA_BYTES_MAX;
use crate::model::stop::Lookout;

/// Each byte may need a new state, which takes up to 0.2 ms.
pub(super) const BYTES_PER_LOOK: usize = 64;
/// Below this, the states of a search would be made over and over.
const CACHE_BYTES_MIN: usize = 32 << 10;

#[derive(Debug)]
pub(super) struct Stepper {
    dfa: DFA,
    /// The states so far, while nobody steps through them; who comes meanwhile makes his own.
    cache: Mutex<Option<Cache>>,
}

impl Stepper {
    /// `None` for an expression that needs more than an automaton; none of RE2's does.
    pub fn new(pattern: &str, compiled_bytes: usize) -> Option<Stepper> {
        let cache_bytes = (2 * compiled_bytes).clamp(CACHE_BYTES_MIN, DFA_BYTES_MAX);
        let config = DFA::config().cache_capacity(cache_bytes).skip_cache_capacity_check(true);
        let dfa = DFA::builder().configure(config).build(pattern).ok()?;
        Some(Stepper { dfa, cache: Mutex::new(None) })
    }

    /// Whether a match starts at this byte or behind it; false once the lookout has given up.
    pub fn is_match(&self, text: &str, from: usize, lookout: &Lookout<'_>) -> bool {
        let cache = self.cache.lock().take();
        let mut cache = cache.unwrap_or_else(|| self.dfa.create_cache());
        let found = self.step_through(&mut cache, text.as_bytes(), from, lookout);
        *self.cache.lock() = Some(cache);
        found.unwrap_or(false)
    }

    /// `None` where the lookout gives up.
    fn step_through(
        &self,
        cache: &mut Cache,
        text: &[u8],
        from: usize,
        lookout: &Lookout<'_>,
    ) -> Option<bool> {
        let mut state = self.dfa.start_state_forward(cache, &Input::new(text).range(from..)).ok()?;
        for piece in text[from..].chunks(BYTES_PER_LOOK) {
            if lookout.gives_up_now() {
                return None;
            }
            for &byte in piece {
                state = self.dfa.next_state(cache, state, byte).ok()?;
                if state.is_match() || state.is_dead() {
                    return Some(state.is_match());
                }
            }
        }
        // A state is known to match one byte later.
        Some(self.dfa.next_eoi_state(cache, state).ok()?.is_match())
    }
}
