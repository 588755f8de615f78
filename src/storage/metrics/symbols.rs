//! Interned strings with counted references.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

/// Each distinct string once, under a small number.
#[derive(Default)]
pub(super) struct Symbols {
    texts: Vec<(Box<str>, u32)>,
    table: HashTable<u32>,
    free: Vec<u32>,
    hasher: RandomState,
}

impl Symbols {
    pub fn find(&self, text: &str) -> Option<u32> {
        self.table.find(self.hasher.hash_one(text), |&s| &*self.texts[s as usize].0 == text).copied()
    }

    pub fn text(&self, symbol: u32) -> &str {
        &self.texts[symbol as usize].0
    }

    /// All symbols are below this; those that nobody refers to have an empty text.
    pub fn end(&self) -> u32 {
        self.texts.len() as u32
    }

    /// The symbol of a text, with one reference more.
    pub fn acquire(&mut self, text: &str) -> u32 {
        let hash = self.hasher.hash_one(text);
        if let Some(&symbol) = self.table.find(hash, |&s| &*self.texts[s as usize].0 == text) {
            self.texts[symbol as usize].1 += 1;
            return symbol;
        }
        let symbol = self.free.pop().unwrap_or(self.texts.len() as u32);
        if symbol as usize == self.texts.len() {
            self.texts.push((text.into(), 1));
        } else {
            self.texts[symbol as usize] = (text.into(), 1);
        }
        let (texts, hasher) = (&self.texts, &self.hasher);
        self.table.insert_unique(hash, symbol, |&s| hasher.hash_one(&*texts[s as usize].0));
        symbol
    }

    /// The symbol of a text that is probably the one of `guess`, with one reference more.
    pub fn acquire_guessed(&mut self, text: &str, guess: u32) -> u32 {
        match self.texts.get_mut(guess as usize) {
            Some((guessed, references)) if *references > 0 && **guessed == *text => {
                *references += 1;
                guess
            }
            _ => self.acquire(text),
        }
    }

    /// One reference less; the last one frees the text.
    pub fn release(&mut self, symbol: u32) {
        let (text, references) = &mut self.texts[symbol as usize];
        *references -= 1;
        if *references > 0 {
            return;
        }
        let hash = self.hasher.hash_one(&**text);
        *text = "".into();
        if let Ok(found) = self.table.find_entry(hash, |&s| s == symbol) {
            found.remove();
        }
        self.free.push(symbol);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_lives_as_long_as_somebody_refers_to_it() {
        let mut symbols = Symbols::default();
        let a = symbols.acquire("a");
        assert_eq!(symbols.acquire("a"), a);
        let empty = symbols.acquire("");
        symbols.release(a);
        assert_eq!((symbols.find("a"), symbols.text(a)), (Some(a), "a"));
        symbols.release(a);
        assert_eq!(symbols.find("a"), None);
        assert_eq!(symbols.find(""), Some(empty));
        let freed = a;
        assert_eq!(symbols.acquire_guessed("", freed), empty, "a number that is free is no text");
        assert_eq!(symbols.acquire("b"), a, "the number is used again");
        assert_eq!(symbols.acquire_guessed("b", a), a);
        symbols.release(a);
        symbols.release(a);
        assert_eq!(symbols.find("b"), None);
    }
}
