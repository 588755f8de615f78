//! The first match of an expression with its groups, byte by byte, by a walk that can be told to stop between two bytes.
//!
//! This is Pike's machine (<https://swtch.com/~rsc/regexp/regexp2.html>): all ways through the expression are followed at
//! once, the preferred before the others, and each remembers where its groups began and ended. It is many times slower
//! than the engines of the `regex` crate, which find the same.

use std::ops::Range;

use regex_automata::nfa::thompson::{NFA, State};
use regex_automata::util::primitives::StateID;

use crate::model::stop::Lookout;

/// The largest expressions take up to 1 ms for a byte.
const BYTES_PER_LOOK: usize = 16;
/// The slot of a group that has not begun, or not ended.
const UNSET: usize = usize::MAX;

#[derive(Debug)]
pub(super) struct GroupWalk {
    nfa: NFA,
    slot_count: usize,
}

/// What a walk needs, kept from one to the next.
#[derive(Clone, Debug, Default)]
pub(super) struct WalkScratch {
    here: Threads,
    ahead: Threads,
    closure: Closure,
}

/// The ways through the expression that are still open at one byte.
#[derive(Clone, Debug, Default)]
struct Threads {
    /// States that take a byte or match, the preferred first.
    states: Vec<StateID>,
    /// By state: the last byte at which somebody came by.
    seen_at: Vec<usize>,
    /// By state, as many as the expression has: where its groups began and ended on the way there.
    slots: Vec<usize>,
}

/// How far one thread gets without taking a byte.
#[derive(Clone, Debug, Default)]
struct Closure {
    todo: Vec<Todo>,
    slots: Vec<usize>,
}

#[derive(Clone, Debug)]
enum Todo {
    Visit(StateID),
    /// What the slot held before the alternative that was visited.
    Restore {
        slot: usize,
        value: usize,
    },
}

impl GroupWalk {
    /// `None` for an expression that needs tables we do not have; none of RE2's does.
    pub fn new(pattern: &str) -> Option<GroupWalk> {
        let nfa = NFA::new(pattern).ok()?;
        let slot_count = nfa.group_info().slot_len();
        (!nfa.look_set_any().contains_word_unicode()).then_some(GroupWalk { nfa, slot_count })
    }

    /// The groups of the first match that starts at this byte or behind it, the whole match the first of them; false if
    /// there is none, or the lookout has given up.
    pub fn find(
        &self,
        text: &str,
        from: usize,
        lookout: &Lookout<'_>,
        scratch: &mut WalkScratch,
        groups: &mut [Option<Range<usize>>],
    ) -> bool {
        let WalkScratch { here, ahead, closure } = scratch;
        here.reset(&self.nfa, self.slot_count);
        ahead.reset(&self.nfa, self.slot_count);
        let unset = vec![UNSET; self.slot_count];
        let mut found = false;
        for at in from..=text.len() {
            if (at - from).is_multiple_of(BYTES_PER_LOOK) && lookout.gives_up_now() {
                return false;
            }
            // A match begins between two characters.
            if !found && text.is_char_boundary(at) {
                self.follow(self.nfa.start_anchored(), text, at, &unset, here, closure);
            }
            ahead.states.clear();
            for &state in &here.states {
                let slots = here.slots_of(state, self.slot_count);
                match self.nfa.state(state) {
                    State::Match { .. } => {
                        found = true;
                        keep(slots, groups);
                        // Those behind it are preferred less.
                        break;
                    }
                    state => {
                        if let Some(next) = after_byte(state, text.as_bytes(), at) {
                            self.follow(next, text, at + 1, slots, ahead, closure);
                        }
                    }
                }
            }
            std::mem::swap(here, ahead);
            if found && here.states.is_empty() {
                break;
            }
        }
        found
    }

    /// Adds the states that a thread reaches from `start` before the byte `at`, as far as nobody was there.
    fn follow(
        &self,
        start: StateID,
        text: &str,
        at: usize,
        slots: &[usize],
        to: &mut Threads,
        closure: &mut Closure,
    ) {
        closure.slots.clear();
        closure.slots.extend_from_slice(slots);
        closure.todo.push(Todo::Visit(start));
        while let Some(todo) = closure.todo.pop() {
            match todo {
                Todo::Restore { slot, value } => closure.slots[slot] = value,
                Todo::Visit(state) => self.visit(state, text, at, to, closure),
            }
        }
    }

    /// Goes from one state straight on, and leaves alternatives for later.
    fn visit(&self, mut state: StateID, text: &str, at: usize, to: &mut Threads, closure: &mut Closure) {
        while std::mem::replace(&mut to.seen_at[state], at) != at {
            state = match self.nfa.state(state) {
                State::Look { look, next } => {
                    if !self.nfa.look_matcher().matches(*look, text.as_bytes(), at) {
                        return;
                    }
                    *next
                }
                State::Union { alternates } => {
                    let Some((first, others)) = alternates.split_first() else { return };
                    closure.todo.extend(others.iter().rev().map(|&state| Todo::Visit(state)));
                    *first
                }
                State::BinaryUnion { alt1, alt2 } => {
                    closure.todo.push(Todo::Visit(*alt2));
                    *alt1
                }
                State::Capture { next, slot, .. } => {
                    let value = std::mem::replace(&mut closure.slots[*slot], at);
                    closure.todo.push(Todo::Restore { slot: slot.as_usize(), value });
                    *next
                }
                State::Fail => return,
                State::ByteRange { .. } | State::Sparse(_) | State::Dense(_) | State::Match { .. } => {
                    to.add(state, &closure.slots);
                    return;
                }
            }
        }
    }
}

impl Threads {
    fn reset(&mut self, nfa: &NFA, slot_count: usize) {
        let state_count = nfa.states().len();
        self.states.clear();
        self.seen_at.clear();
        self.seen_at.resize(state_count, UNSET);
        self.slots.resize(state_count * slot_count, UNSET);
    }

    fn add(&mut self, state: StateID, slots: &[usize]) {
        self.states.push(state);
        let start = state.as_usize() * slots.len();
        self.slots[start..start + slots.len()].copy_from_slice(slots);
    }

    fn slots_of(&self, state: StateID, slot_count: usize) -> &[usize] {
        let start = state.as_usize() * slot_count;
        &self.slots[start..start + slot_count]
    }
}

/// Where a state goes that takes this byte.
fn after_byte(state: &State, text: &[u8], at: usize) -> Option<StateID> {
    match state {
        State::ByteRange { trans } => trans.matches(text, at).then_some(trans.next),
        State::Sparse(transitions) => transitions.matches(text, at),
        State::Dense(transitions) => transitions.matches(text, at),
        _ => None,
    }
}

fn keep(slots: &[usize], groups: &mut [Option<Range<usize>>]) {
    for (group, slots) in groups.iter_mut().zip(slots.chunks_exact(2)) {
        *group = (slots[1] != UNSET).then_some(slots[0]..slots[1]);
    }
}
