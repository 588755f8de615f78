//! From the spelling of a stream's labels to the stream, parsed and checked once for many requests.

use std::borrow::Cow;
use std::collections::HashMap;

use parking_lot::RwLock;

use super::selector::{self, SelectorError};
use crate::ingest::Options;
use crate::ingest::admission::{Echo, Reason, Rejection, admit_stream_labels};
use crate::ingest::logs::{Stream, service};
use crate::ingest::series_cache::SpellingHash;
use crate::model::Labels;

// With some 400 bytes each: 26 MB.
const STREAMS_MAX: usize = 1 << 16;

/// Streams by the hash of their spelling. When it is full, it begins anew, which costs each stream one parse.
#[derive(Default)]
pub struct StreamCache {
    streams: RwLock<HashMap<u128, Stream, foldhash::fast::RandomState>>,
}

/// What a pushed stream is resolved with.
pub struct StreamResolver<'a> {
    pub cache: &'a StreamCache,
    pub hash: &'a SpellingHash,
    pub options: &'a Options,
    pub shard_of: &'a dyn Fn(&Labels) -> usize,
}

impl StreamResolver<'_> {
    /// The stream that is spelled so.
    pub fn spelled(&self, spelling: &[u8]) -> Result<Stream, Rejection> {
        let hash = self.hash.of(spelling);
        if let Some(known) = self.cache.streams.read().get(&hash) {
            return Ok(known.clone());
        }
        let malformed = |at, expected| {
            let message = format!(
                "stream labels \"{}\": expected {expected} at byte {at}, as in {{app=\"api\"}}",
                Echo(spelling)
            );
            Rejection::new(Reason::Malformed, message)
        };
        let text = std::str::from_utf8(spelling).map_err(|e| malformed(e.valid_up_to(), "UTF-8"))?;
        let pairs =
            selector::parse(text).map_err(|SelectorError { at, expected }| malformed(at, expected))?;
        let stream = self.labelled(pairs.into_iter().map(|(name, value)| (Cow::Borrowed(name), value)))?;
        let mut streams = self.cache.streams.write();
        if streams.len() >= STREAMS_MAX {
            streams.clear();
        }
        streams.insert(hash, stream.clone());
        Ok(stream)
    }

    /// The stream with these labels, and the service's name beside them.
    pub fn labelled<'t>(
        &self,
        pairs: impl IntoIterator<Item = (Cow<'t, str>, Cow<'t, str>)>,
    ) -> Result<Stream, Rejection> {
        let pairs: Vec<(Cow<'t, str>, Cow<'t, str>)> =
            pairs.into_iter().filter(|(_, value)| !value.is_empty()).collect();
        let get = |name: &str| pairs.iter().find(|(known, _)| known == name).map(|(_, value)| &**value);
        let is_told = get(service::SERVICE_NAME).is_some();
        let (count, max) = (pairs.len() - usize::from(is_told), self.options.stream_labels_max);
        if count > max {
            let message = format!("{count} labels of a stream > {max} (--limits.max-stream-labels)");
            return Err(Rejection::new(Reason::LabelCount, message));
        }
        let own = pairs.iter().map(|(name, value)| (&**name, &**value));
        // Only what has labels belongs to a service.
        let found = (!is_told && !pairs.is_empty()).then(|| (service::SERVICE_NAME, service::discover(get)));
        let labels = admit_stream_labels(own.chain(found), self.options)?;
        let shard = (self.shard_of)(&labels);
        Ok(Stream::new(labels, shard))
    }
}
