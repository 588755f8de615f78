//! Lines of a text, each of bounded length, with their numbers.

use std::io::{BufRead, Read};

use super::TextError;

pub struct Lines<R> {
    input: R,
    /// Of one line.
    bytes_max: usize,
    /// Of the line read last; the first is 1.
    pub number: u64,
    /// To be used again.
    free: Vec<u8>,
}

impl<R: BufRead> Lines<R> {
    pub fn new(input: R, bytes_max: usize) -> Lines<R> {
        Lines { input, bytes_max, number: 0, free: Vec::new() }
    }

    /// The next line without its end, with or without a carriage return; `None` after the last.
    pub fn next(&mut self) -> Result<Option<Vec<u8>>, TextError> {
        let mut line = std::mem::take(&mut self.free);
        line.clear();
        let read = self.input.by_ref().take(self.bytes_max as u64 + 1).read_until(b'\n', &mut line)?;
        if read == 0 {
            return Ok(None);
        }
        self.number += 1;
        if line.last() == Some(&b'\n') {
            line.pop();
        } else if line.len() > self.bytes_max {
            return Err(TextError::LineTooLong { line: self.number, max: self.bytes_max });
        }
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        Ok(Some(line))
    }

    /// Takes a line that nobody needs any more.
    pub fn give_back(&mut self, line: Vec<u8>) {
        self.free = line;
    }
}
