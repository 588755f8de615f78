//! Which templates a literal can lie in, told from their texts and from what their columns are made of.
//!
//! Variables are letters and digits. Where the literal has another byte, its anchor, a template must have it too,
//! and around it what the literal has, as far as to a slot on either side whose variables may go on with it.

use memchr::memmem::Finder;

use super::places;
use super::slots::Column;
use super::split::SLOT;
use super::templates::Templates;
use crate::codec::Malformed;
use crate::codec::rows::RowSet;

/// Frequent in templates, the most frequent first.
const FREQUENT: &[u8] = b"\" =:,./-_{}()[]\\";

/// The templates that may hold the literal, if variables are letters and digits. Nothing: it has no anchor.
pub fn templates_that_may_hold(templates: &Templates, literal: &[u8]) -> Result<Option<RowSet>, Malformed> {
    let rank = |byte: u8| FREQUENT.iter().position(|&frequent| frequent == byte).unwrap_or(FREQUENT.len());
    let others = literal.iter().enumerate().filter(|(_, byte)| !byte.is_ascii_alphanumeric());
    let Some((anchor, &byte)) = others.max_by_key(|&(_, &byte)| rank(byte)) else { return Ok(None) };
    if literal.contains(&SLOT) {
        return Ok(None);
    }
    let (before, after) = (&literal[..anchor], &literal[anchor + 1..]);
    let mut search = Search { templates, before, byte, after, known: Vec::new() };
    let texts = templates.texts();
    let (mut found, mut slots, mut counted) = (RowSet::none(texts.count()), 0, 0);
    for at in search.anchors() {
        slots += memchr::memchr_iter(SLOT, &texts.bytes()[counted..at]).count();
        counted = at;
        if search.may_lie_at(at, slots)? {
            // What lies in two templates together is found too: this only says "may".
            let template = texts.spans().partition_point(|span| span.range().end <= at);
            if template < texts.count() {
                found.insert(template);
            }
        }
    }
    Ok(Some(found))
}

/// A literal around its anchor.
struct Search<'s, 'a> {
    templates: &'s Templates<'a>,
    before: &'s [u8],
    byte: u8,
    after: &'s [u8],
    /// Columns that were asked for a part of the literal, and whether a value may hold it.
    known: Vec<(u32, &'s [u8], bool)>,
}

/// Whether a literal may go on behind the text it shares with a template.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Continuation {
    Never,
    Always,
    /// If a variable holds all of the rest.
    IfHeld,
}

impl<'s> Search<'s, '_> {
    /// Where the anchor is, and the bytes beside it are the literal's too, or variables'.
    fn anchors(&self) -> Vec<usize> {
        let bytes = self.templates.texts().bytes();
        let is_beside = |byte: Option<&u8>, literal: Option<&u8>| {
            literal.is_none_or(|literal| byte.is_some_and(|byte| byte == literal || *byte == SLOT))
        };
        let mut anchors = Vec::new();
        places::for_each(bytes, self.byte, |at| {
            if is_beside(bytes[..at].last(), self.before.last())
                && is_beside(bytes.get(at + 1), self.after.first())
            {
                anchors.push(at);
            }
        });
        anchors
    }

    /// Whether the literal may lie here, with its anchor at `at`, before which there are so many slots.
    fn may_lie_at(&mut self, at: usize, slots: usize) -> Result<bool, Malformed> {
        let bytes = self.templates.texts().bytes();
        let before = agreeing(bytes[..at].iter().rev(), self.before.iter().rev());
        let after = agreeing(bytes[at + 1..].iter(), self.after.iter());
        let (Some(before), Some(after)) = (before, after) else { return Ok(false) };
        let (rest_before, rest_after) = (&self.before[..self.before.len() - before], &self.after[after..]);
        if rest_before.is_empty() && rest_after.is_empty() {
            return Ok(true);
        }
        let columns = self.templates.columns()?;
        let mut sides = [None, None];
        if !rest_before.is_empty() {
            let (column, next) = (columns.of_slot(slots - 1), bytes[..at - before - 1].last());
            let may_go_on = continuation(columns.get(column), rest_before.iter().rev(), next);
            sides[0] = Some((column, rest_before, may_go_on));
        }
        if !rest_after.is_empty() {
            let (column, next) = (columns.of_slot(slots), bytes.get(at + 1 + after + 1));
            let may_go_on = continuation(columns.get(column), rest_after.iter(), next);
            sides[1] = Some((column, rest_after, may_go_on));
        }
        if sides.iter().flatten().any(|(.., may_go_on)| *may_go_on == Continuation::Never) {
            return Ok(false);
        }
        // To look into a column it must be unpacked: the smaller one first.
        sides.sort_unstable_by_key(|side| side.map(|(column, ..)| columns.get(column).bytes.len()));
        for (column, rest, may_go_on) in sides.into_iter().flatten() {
            if may_go_on == Continuation::IfHeld && !self.may_find(column, rest)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether a variable of the column may hold a part of the literal.
    fn may_find(&mut self, column: u32, part: &'s [u8]) -> Result<bool, Malformed> {
        let known = self.known.iter().find(|(of, known, _)| *of == column && *known == part);
        if let Some((.., may_find)) = known {
            return Ok(*may_find);
        }
        let may_find = self.templates.may_find(column, &Finder::new(part))?;
        self.known.push((column, part, may_find));
        Ok(may_find)
    }
}

/// Whether the rest of a literal, of which there is some, may go on in a variable with `next` behind it.
fn continuation<'t>(
    column: &Column,
    rest: impl ExactSizeIterator<Item = &'t u8> + Clone,
    next: Option<&u8>,
) -> Continuation {
    let held = column.may_hold(rest.clone());
    let is_next = |byte: &u8| next == Some(byte);
    match held {
        0 => Continuation::Never,
        _ if is_next(&SLOT) || rest.clone().skip(1).take(held).any(is_next) => Continuation::Always,
        _ if held == rest.len() => Continuation::IfHeld,
        _ => Continuation::Never,
    }
}

/// How many bytes of the literal are the text's, as far as to a slot; nothing if another byte comes before that.
fn agreeing<'t>(
    mut text: impl Iterator<Item = &'t u8>,
    literal: impl Iterator<Item = &'t u8>,
) -> Option<usize> {
    let mut count = 0;
    for byte in literal {
        match text.next() {
            Some(&SLOT) => break,
            Some(other) if other == byte => count += 1,
            _ => return None,
        }
    }
    Some(count)
}
