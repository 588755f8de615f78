//! Memory that all requests share: each holds what it has grown to, and gives it back when it is over.

use std::sync::Arc;

use parking_lot::Mutex;
use prometheus::{IntGauge, Registry};

/// So many bytes and no more, over all who hold some.
#[derive(Clone)]
pub struct Room(Arc<State>);

struct State {
    bytes_max: u64,
    used_bytes: IntGauge,
    /// Guards check and growth; shrinking needs no guard.
    growing: Mutex<()>,
}

/// The room is taken up by others, for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full {
    pub bytes_max: u64,
}

impl Room {
    pub fn new(gauge: &str, help: &str, bytes_max: usize, registry: &Registry) -> Room {
        const ONCE: &str = "the name is valid and registered once";
        let used_bytes = IntGauge::new(gauge, help).expect(ONCE);
        registry.register(Box::new(used_bytes.clone())).expect(ONCE);
        Room(Arc::new(State { bytes_max: bytes_max as u64, used_bytes, growing: Mutex::new(()) }))
    }

    pub fn hold_nothing(&self) -> Held {
        Held { room: self.clone(), bytes: 0 }
    }
}

/// What one request holds of a room.
pub struct Held {
    room: Room,
    bytes: u64,
}

impl Held {
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    pub fn room(&self) -> &Room {
        &self.room
    }

    pub fn grow(&mut self, bytes: u64) -> Result<(), Full> {
        let Room(state) = &self.room;
        let _growing = state.growing.lock();
        if state.used_bytes.get() as u64 + bytes > state.bytes_max {
            return Err(Full { bytes_max: state.bytes_max });
        }
        state.used_bytes.add(bytes as i64);
        self.bytes += bytes;
        Ok(())
    }

    /// Takes over what another one holds of the same room.
    pub fn absorb(&mut self, mut other: Held) {
        self.bytes += std::mem::take(&mut other.bytes);
    }

    /// Gives back a part, at most what is held.
    pub fn shrink(&mut self, bytes: u64) {
        let bytes = bytes.min(self.bytes);
        self.room.0.used_bytes.sub(bytes as i64);
        self.bytes -= bytes;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.shrink(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_by_one_is_missing_for_others_until_it_is_given_back() {
        let room = Room::new("bytes", "help", 100, &Registry::new());
        let (mut one, mut other) = (room.hold_nothing(), room.hold_nothing());
        one.grow(60).unwrap();
        assert_eq!(other.grow(60), Err(Full { bytes_max: 100 }));
        one.shrink(20);
        other.grow(60).unwrap();
        let mut third = room.hold_nothing();
        third.absorb(one);
        assert_eq!((third.bytes(), third.grow(1)), (40, Err(Full { bytes_max: 100 })));
        drop(third);
        assert_eq!(other.grow(40), Ok(()));
        assert_eq!(other.bytes(), 100);
    }
}
