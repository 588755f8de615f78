//! The traces half of a shard's thread: spans in, head and log payload out. It alone writes the shard's heads.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::SpanRows;
use super::head::SpanHead;
use super::log;

pub struct SpansWriter {
    head: Arc<SpanHead>,
    /// Numbers of the origins that the head and the log of this generation know.
    origins: HashMap<Arc<[u8]>, u32, RandomState>,
}

impl SpansWriter {
    pub fn new(head: Arc<SpanHead>) -> SpansWriter {
        SpansWriter { head, origins: HashMap::default() }
    }

    /// Goes on in the head of a new generation.
    pub fn rotate(&mut self, head: Arc<SpanHead>) {
        *self = SpansWriter::new(head);
    }

    /// Puts spans into the head and appends to `payload` what a replay needs to do the same.
    pub fn append(&mut self, rows: SpanRows, payload: &mut Vec<u8>) {
        if rows.is_empty() {
            return;
        }
        let mut fresh = Vec::new();
        let mut numbers = Vec::with_capacity(rows.origins.len());
        for origin in &rows.origins {
            let number = match self.origins.get(&origin[..]) {
                Some(&number) => number,
                None => {
                    let encoded: Arc<[u8]> = origin.as_slice().into();
                    let number = self.head.add_origin(&encoded);
                    self.origins.insert(encoded.clone(), number);
                    fresh.push((number, encoded));
                    number
                }
            };
            numbers.push(number);
        }
        log::write_origins(&fresh, payload);
        log::write_spans(&rows, &numbers, payload);
        self.head.append(&rows, &numbers);
    }
}
