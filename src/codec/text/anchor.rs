//! Which templates a literal can lie in, told from their texts alone.
//!
//! Variables are letters and digits. Where the literal has another byte, its anchor, a template must have it too,
//! and around it what the literal has, as far as to a slot on either side.

use super::joined::Joined;
use super::split::SLOT;
use crate::codec::rows::RowSet;

/// Frequent in templates, the most frequent first.
const FREQUENT: &[u8] = b"\" =:,./-_{}()[]\\";

/// The templates that may hold the literal, if variables are letters and digits. Nothing: it has no anchor.
pub fn templates_that_may_hold(texts: &Joined, literal: &[u8]) -> Option<RowSet> {
    let rank = |byte: u8| FREQUENT.iter().position(|&frequent| frequent == byte).unwrap_or(FREQUENT.len());
    let others = literal.iter().enumerate().filter(|(_, byte)| !byte.is_ascii_alphanumeric());
    let (anchor, &byte) = others.max_by_key(|&(_, &byte)| rank(byte))?;
    if literal.contains(&SLOT) {
        return None;
    }
    let mut found = RowSet::none(texts.count());
    let (bytes, spans) = (texts.bytes(), texts.spans());
    for at in memchr::memchr_iter(byte, bytes) {
        // What lies in two templates together is found too: this only says "may".
        if agree(bytes[..at].iter().rev(), literal[..anchor].iter().rev())
            && agree(bytes[at + 1..].iter(), literal[anchor + 1..].iter())
        {
            let template = spans.partition_point(|span| span.range().end <= at);
            if template < spans.len() {
                found.insert(template);
            }
        }
    }
    Some(found)
}

/// Whether a template's text is the literal's, as far as to a slot.
fn agree<'t>(mut text: impl Iterator<Item = &'t u8>, mut literal: impl Iterator<Item = &'t u8>) -> bool {
    loop {
        match (literal.next(), text.next()) {
            (None, _) | (_, Some(&SLOT)) => return true,
            (Some(byte), Some(other)) if byte == other => {}
            _ => return false,
        }
    }
}
