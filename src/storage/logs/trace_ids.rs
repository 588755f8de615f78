//! Which trace ids a block may hold: a filter over the metadata that name one.

use xxhash_rust::xxh3::xxh3_64;

use super::names::is_name_for;
use super::rows::MetadataRows;
use crate::codec::Malformed;
use crate::codec::fuse::{self, FuseFilter};

/// Names that hold trace ids, sanitised.
const NAMES: [&str; 3] = ["trace_id", "traceid", "traceId"];

/// With fewer ids, to look at the column itself costs about as much.
const IDS_MIN: usize = 64;

/// Whether metadata of this name, as sent or sanitised, is a trace id.
pub(super) fn is_trace_id(name: &str) -> bool {
    NAMES.iter().any(|known| is_name_for(name, known))
}

/// Appends the filter of the trace ids in `metadata`; nothing where it would not pay.
pub(super) fn encode(metadata: &MetadataRows, out: &mut Vec<u8>) {
    let numbers: Vec<u32> =
        (0..metadata.name_count() as u32).filter(|&number| is_trace_id(metadata.name(number))).collect();
    if numbers.is_empty() {
        return;
    }
    let pairs = (0..metadata.len()).flat_map(|row| metadata.numbered(row));
    let ids = pairs.filter(|(name, _)| numbers.contains(name));
    let mut hashes: Vec<u64> = ids.map(|(_, id)| hash(id)).collect();
    hashes.sort_unstable();
    hashes.dedup();
    if hashes.len() >= IDS_MIN {
        fuse::encode(&mut hashes, out);
    }
}

/// Whether an id may be among those that `bytes` was made of.
pub(super) fn may_hold(mut bytes: &[u8], id: &str) -> Result<bool, Malformed> {
    let filter = FuseFilter::take(&mut bytes)?;
    if bytes.is_empty() { Ok(filter.contains(hash(id))) } else { Err(Malformed("bytes after a filter")) }
}

fn hash(id: &str) -> u64 {
    xxh3_64(id.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter_of(ids: &[String]) -> Vec<u8> {
        let mut metadata = MetadataRows::default();
        for id in ids {
            metadata.push([("trace.id", id.as_str()), ("user", "u")]);
        }
        let mut bytes = Vec::new();
        encode(&metadata, &mut bytes);
        bytes
    }

    #[test]
    fn it_misses_none_and_lets_few_others_pass() {
        let ids: Vec<String> = (0..5000).map(|i| format!("{:032x}", i * 7919)).collect();
        let bytes = filter_of(&ids);
        assert!(bytes.len() < 7000, "{} bytes", bytes.len());
        assert!(ids.iter().all(|id| may_hold(&bytes, id).unwrap()));
        let strays = (0..5000).filter(|i| may_hold(&bytes, &format!("{i:031x}x")).unwrap()).count();
        assert!(strays < 100, "{strays} of 5000");
    }

    #[test]
    fn few_ids_or_none_have_no_filter() {
        assert!(filter_of(&["a".to_owned(), "b".to_owned()]).is_empty());
        assert!(is_trace_id("trace.id") && is_trace_id("traceId") && is_trace_id("trace-id"));
        assert!(!is_trace_id("trace") && !is_trace_id("span_id"));
    }
}
