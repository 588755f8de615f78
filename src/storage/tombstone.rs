//! Tombstones: what was asked to be deleted, until no file holds it any more (`storage-format.md` §3).
//!
//! A tombstone is an event in the order of sequence numbers. It hides what came before it and nothing that comes after:
//! who sends the same samples again sees them.

use std::fmt;

use crate::codec::varint::write_u64;
use crate::codec::{Malformed, put_text, take, take_count, take_text, take_u8};
use crate::model::{MatchOp, Matcher, TimeRange, Timestamp};

/// One deletion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tombstone {
    /// Of a segment whose highest number is lower it hides rows.
    pub seq: u64,
    pub range: TimeRange,
    /// Up to this day samples were let go when it came. Of rollups of those days it hides the buckets that lie wholly in
    /// its range; of later ones all that touch it, since these days are rolled up anew from what is left of them.
    pub raw_floor: Timestamp,
    /// Of series that all matchers of one of these let through.
    pub selectors: Vec<Vec<Matcher>>,
}

const OPS: [MatchOp; 4] = [MatchOp::Equal, MatchOp::NotEqual, MatchOp::Regex, MatchOp::NotRegex];

impl Tombstone {
    /// The ends of buckets of this length that it hides: up to two ranges that do not overlap. 0 stands for rows as sent.
    pub fn hidden_ends(&self, resolution_ms: i64) -> Vec<TimeRange> {
        let TimeRange { after, until } = self.range;
        if resolution_ms == 0 {
            return vec![self.range];
        }
        let wholly_inside =
            TimeRange { after: after.saturating_add(resolution_ms - 1), until: until.min(self.raw_floor) };
        let touching =
            TimeRange { after: after.max(self.raw_floor), until: until.saturating_add(resolution_ms - 1) };
        [wholly_inside, touching].into_iter().filter(|ends| !ends.is_empty()).collect()
    }

    pub fn encode(&self, to: &mut Vec<u8>) {
        to.extend_from_slice(&self.seq.to_le_bytes());
        for time in [self.range.after, self.range.until, self.raw_floor] {
            to.extend_from_slice(&time.to_le_bytes());
        }
        write_u64(to, self.selectors.len() as u64);
        for matchers in &self.selectors {
            write_u64(to, matchers.len() as u64);
            for matcher in matchers {
                let op = OPS.iter().position(|op| *op == matcher.op).expect("every operator has a number");
                put_text(to, &matcher.name);
                to.push(op as u8);
                put_text(to, &matcher.value);
            }
        }
    }

    pub fn decode(bytes: &mut &[u8]) -> Result<Tombstone, Malformed> {
        let word = |bytes: &mut &[u8]| {
            take(bytes, 8).map(|word| u64::from_le_bytes(word.try_into().expect("eight bytes")))
        };
        let seq = word(bytes)?;
        let range = TimeRange { after: word(bytes)? as i64, until: word(bytes)? as i64 };
        let raw_floor = word(bytes)? as i64;
        let mut selectors = Vec::new();
        for _ in 0..take_count(bytes, bytes.len())? {
            let mut matchers = Vec::new();
            for _ in 0..take_count(bytes, bytes.len())? {
                matchers.push(decode_matcher(bytes)?);
            }
            selectors.push(matchers);
        }
        Ok(Tombstone { seq, range, raw_floor, selectors })
    }
}

fn decode_matcher(bytes: &mut &[u8]) -> Result<Matcher, Malformed> {
    let name = take_text(bytes)?;
    let op = OPS.get(usize::from(take_u8(bytes)?)).ok_or(Malformed("unknown operator of a matcher"))?;
    let value = take_text(bytes)?;
    Matcher::new(name, *op, value).map_err(|_| Malformed("a regular expression does not compile"))
}

/// Its selectors, as PromQL has them.
impl fmt::Display for Tombstone {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, matchers) in self.selectors.iter().enumerate() {
            write!(to, "{}{{", if i > 0 { " or " } else { "" })?;
            for (i, Matcher { name, op, value, .. }) in matchers.iter().enumerate() {
                let is_plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
                write!(to, "{}", if i > 0 { "," } else { "" })?;
                if is_plain {
                    write!(to, "{name}")?
                } else {
                    write!(to, "{name:?}")?
                }
                write!(to, "{}{value:?}", op.text())?;
            }
            write!(to, "}}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::time::{DAY, MINUTE};

    fn tombstone(after: Timestamp, until: Timestamp, raw_floor: Timestamp) -> Tombstone {
        let regex = Matcher::new("job", MatchOp::Regex, "a\"|b.*").unwrap();
        let selectors = vec![vec![Matcher::equal("__name__", "up"), regex], vec![Matcher::equal("a.b", "1")]];
        Tombstone { seq: 7, range: TimeRange { after, until }, raw_floor, selectors }
    }

    #[test]
    fn it_comes_back_as_it_was_written_and_a_cut_one_does_not() {
        let written = tombstone(-5, i64::MAX, DAY);
        let mut bytes = Vec::new();
        written.encode(&mut bytes);
        let mut rest = &bytes[..];
        assert_eq!(Tombstone::decode(&mut rest), Ok(written.clone()));
        assert!(rest.is_empty());
        for len in 0..bytes.len() {
            assert!(Tombstone::decode(&mut &bytes[..len]).is_err(), "{len}");
        }
        assert_eq!(written.to_string(), r#"{__name__="up",job=~"a\"|b.*"} or {"a.b"="1"}"#);
    }

    #[test]
    fn buckets_go_where_nothing_of_them_is_left_or_will_be_made_anew() {
        // Bucket 0 ends at 0, bucket 3 at three minutes.
        let hidden = |tombstone: Tombstone| -> Vec<i64> {
            let ends = tombstone.hidden_ends(MINUTE);
            (0..6).filter(|n| ends.iter().any(|range| range.contains(n * MINUTE))).collect()
        };
        assert_eq!(hidden(tombstone(MINUTE, 3 * MINUTE, DAY)), [2, 3], "samples are gone");
        assert_eq!(hidden(tombstone(MINUTE + 1, 3 * MINUTE + 1, DAY)), [3]);
        assert_eq!(hidden(tombstone(MINUTE, 3 * MINUTE, 0)), [2, 3], "samples are there");
        assert_eq!(hidden(tombstone(MINUTE + 1, 3 * MINUTE + 1, 0)), [2, 3, 4]);
        assert_eq!(hidden(tombstone(MINUTE + 1, 3 * MINUTE + 1, 2 * MINUTE)), [3, 4], "either");
        assert_eq!(hidden(tombstone(i64::MIN, i64::MAX, 2 * MINUTE)), [0, 1, 2, 3, 4, 5]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_tombstone_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Tombstone::decode(&mut &bytes[..]);
        }
    }
}
