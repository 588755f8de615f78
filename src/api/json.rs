//! JSON of the Prometheus API, written straight into chunks of bytes: no tree of values in between.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};

use super::error::ApiError;
use super::room::{Held, Room};
use crate::model::Labels;
use crate::query::Budget;

/// Large enough that a chunk's bookkeeping is nothing, small enough to be sent while the next is compressed.
const CHUNK_BYTES: usize = 64 << 10;
/// Of a text that is there already: fewer calls of the system, and fewer wakes of who reads.
const SHARED_CHUNK_BYTES: usize = 8 * CHUNK_BYTES;

/// What an item of a list takes: a name, or the labels of a series that has few.
const ITEM_BYTES: usize = 32;

/// An answer being written. Refuses to grow beyond `bytes_max`, or beyond the room that all answers share.
pub struct JsonWriter {
    chunks: VecDeque<Bytes>,
    chunk: String,
    /// The bytes of `chunks`.
    held: Held,
    bytes_max: usize,
    budget: Option<Budget>,
}

impl JsonWriter {
    /// Begins an answer that succeeded; what is written next is its `data`.
    pub fn success(bytes_max: usize, room: &Room) -> JsonWriter {
        JsonWriter::beginning(r#"{"status":"success","data":"#, bytes_max, room)
    }

    /// Begins an object without that envelope; what is written next are its members.
    pub fn object(bytes_max: usize, room: &Room) -> JsonWriter {
        JsonWriter::beginning("{", bytes_max, room)
    }

    fn beginning(text: &str, bytes_max: usize, room: &Room) -> JsonWriter {
        JsonWriter {
            chunks: VecDeque::new(),
            chunk: text.to_owned(),
            held: room.hold_nothing(),
            bytes_max,
            budget: None,
        }
    }

    /// The writing ends, too, when time is over or the client has gone.
    pub fn within(self, budget: &Budget) -> JsonWriter {
        JsonWriter { budget: Some(budget.clone()), ..self }
    }

    /// Asked where there is enough to write for several threads.
    pub fn may_use_threads(&self) -> bool {
        self.budget.as_ref().is_none_or(Budget::may_use_threads)
    }

    /// The text so far since the last [`JsonWriter::checkpoint`]; callers append to it.
    pub fn text(&mut self) -> &mut String {
        &mut self.chunk
    }

    pub fn raw(&mut self, text: &str) -> &mut JsonWriter {
        self.chunk.push_str(text);
        self
    }

    /// To be called once for each thing of which there may be many.
    pub fn checkpoint(&mut self) -> Result<(), ApiError> {
        if self.chunk.len() < CHUNK_BYTES {
            return Ok(());
        }
        let chunk = std::mem::replace(&mut self.chunk, empty_chunk());
        self.push_chunk(chunk.into())
    }

    fn push_chunk(&mut self, chunk: Bytes) -> Result<(), ApiError> {
        self.budget.as_ref().map_or(Ok(()), Budget::check)?;
        let bytes = chunk.len() as u64;
        if self.held.bytes() + bytes > self.bytes_max as u64 {
            return Err(ApiError::ResponseTooLarge { max: self.bytes_max });
        }
        self.held.grow(bytes).map_err(|full| ApiError::ResponsesTooLarge { max: full.bytes_max })?;
        self.chunks.push_back(chunk);
        Ok(())
    }

    /// A text that others hold, too: it is not copied, unless it is short.
    pub fn shared(&mut self, text: &Bytes) -> Result<(), ApiError> {
        if let (true, Ok(text)) = (text.len() < CHUNK_BYTES, std::str::from_utf8(text)) {
            self.chunk.push_str(text);
            return self.checkpoint();
        }
        let chunk = std::mem::take(&mut self.chunk);
        self.push_chunk(chunk.into())?;
        for from in (0..text.len()).step_by(SHARED_CHUNK_BYTES) {
            self.push_chunk(text.slice(from..text.len().min(from + SHARED_CHUNK_BYTES)))?;
        }
        Ok(())
    }

    /// An empty writer for a part of this answer, within the same limits.
    pub fn apart(&self) -> JsonWriter {
        let apart = JsonWriter::beginning("", self.bytes_max, self.held.room());
        JsonWriter { chunk: empty_chunk(), budget: self.budget.clone(), ..apart }
    }

    /// Adds a part that was written apart, without a copy of what is long.
    pub fn append(&mut self, part: JsonWriter) -> Result<(), ApiError> {
        let before = std::mem::replace(&mut self.chunk, part.chunk);
        if !before.is_empty() {
            // A short one does not keep the room of a whole chunk.
            let is_short = before.len() < CHUNK_BYTES / 2;
            self.push_chunk(if is_short {
                Bytes::copy_from_slice(before.as_bytes())
            } else {
                before.into()
            })?;
        }
        self.held.absorb(part.held);
        if self.held.bytes() > self.bytes_max as u64 {
            return Err(ApiError::ResponseTooLarge { max: self.bytes_max });
        }
        self.chunks.extend(part.chunks);
        self.checkpoint()
    }

    /// Writes a list, one item at a time.
    pub fn list<T>(
        &mut self,
        items: impl IntoIterator<Item = T>,
        mut write: impl FnMut(&mut JsonWriter, T) -> Result<(), ApiError>,
    ) -> Result<(), ApiError> {
        self.raw("[");
        let items = items.into_iter();
        // Less than most take, so that the text is not moved many times while it grows.
        self.chunk.reserve((ITEM_BYTES * items.size_hint().0).min(CHUNK_BYTES));
        for (i, item) in items.enumerate() {
            if i > 0 {
                self.raw(",");
            }
            write(self, item)?;
            self.checkpoint()?;
        }
        self.raw("]");
        Ok(())
    }

    /// A list of strings.
    pub fn strings<T: AsRef<str>>(&mut self, items: &[T]) -> Result<(), ApiError> {
        self.list(items, |json, item| {
            push_string(json.text(), item.as_ref());
            Ok(())
        })
    }

    /// Ends an answer that is no response: its text, and the room it takes.
    pub fn finish_text(mut self) -> Result<(String, Held), ApiError> {
        self.chunk.push('}');
        let bytes = self.chunk.len() as u64;
        self.held.grow(bytes).map_err(|full| ApiError::ResponsesTooLarge { max: full.bytes_max })?;
        let mut text = Vec::with_capacity(self.held.bytes() as usize);
        self.chunks.iter().for_each(|chunk| text.extend_from_slice(chunk));
        text.extend_from_slice(self.chunk.as_bytes());
        Ok((String::from_utf8(text).expect("every chunk was a string"), self.held))
    }

    /// Ends the answer.
    pub fn finish(mut self, warnings: &[String], infos: &[String]) -> Response {
        push_annotations(&mut self.chunk, "warnings", "warning", warnings);
        push_annotations(&mut self.chunk, "infos", "info", infos);
        self.chunk.push('}');
        self.chunks.push_back(self.chunk.into());
        let left_bytes = self.chunks.iter().map(|chunk| chunk.len() as u64).sum();
        let body = Body::new(Chunks { chunks: self.chunks, left_bytes, held: self.held });
        ([(header::CONTENT_TYPE, "application/json")], body).into_response()
    }
}

/// An answer that is not JSON and is there as a whole, within the same limits.
pub fn whole_body(
    bytes: Vec<u8>,
    content_type: &'static str,
    bytes_max: usize,
    room: &Room,
) -> Result<Response, ApiError> {
    if bytes.len() > bytes_max {
        return Err(ApiError::ResponseTooLarge { max: bytes_max });
    }
    let (left_bytes, mut held) = (bytes.len() as u64, room.hold_nothing());
    held.grow(left_bytes).map_err(|full| ApiError::ResponsesTooLarge { max: full.bytes_max })?;
    let body = Body::new(Chunks { chunks: VecDeque::from([bytes.into()]), left_bytes, held });
    Ok(([(header::CONTENT_TYPE, content_type)], body).into_response())
}

/// More than this many annotations of one kind are only counted.
const ANNOTATIONS_MAX: usize = 10;

fn push_annotations(to: &mut String, key: &str, kind: &str, texts: &[String]) {
    if texts.is_empty() {
        return;
    }
    to.push_str(&format!(",\"{key}\":["));
    for (i, text) in texts.iter().take(ANNOTATIONS_MAX).enumerate() {
        if i > 0 {
            to.push(',');
        }
        push_message(to, text);
    }
    if texts.len() > ANNOTATIONS_MAX {
        let omitted = texts.len() - ANNOTATIONS_MAX;
        to.push_str(&format!(",\"{omitted} more {kind} annotations omitted\""));
    }
    to.push(']');
}

/// The envelope of an error.
pub fn error_body(kind: &str, message: &str) -> String {
    let mut body = format!(r#"{{"status":"error","errorType":"{kind}","error":"#);
    push_message(&mut body, message);
    body.push('}');
    body
}

/// The envelope of an error of remote write, whose senders log the text as it comes; `stored` and `rejected` count
/// rows.
pub fn write_error_body(kind: &str, message: &str, stored: u64, rejected: u64) -> String {
    let mut body = format!(r#"{{"status":"error","errorType":"{kind}","error":"#);
    push_string(&mut body, message);
    body.push_str(&format!(r#","data":{{"stored":{stored},"rejected":{rejected}}}}}"#));
    body
}

/// A label set as an object, in the order of its names.
pub fn push_labels(to: &mut String, labels: &Labels) {
    to.push('{');
    for (i, (name, value)) in labels.iter().enumerate() {
        if i > 0 {
            to.push(',');
        }
        push_string(to, name);
        to.push(':');
        push_string(to, value);
    }
    to.push('}');
}

/// A string of data.
pub fn push_string(to: &mut String, text: &str) {
    // Nearly all are plain; a look at all bytes, without a branch for each, is many bytes at a time.
    if text.bytes().fold(false, |found, b| found | (b < b' ') | (b == b'"') | (b == b'\\')) {
        return push_escaped(to, text, |_| false);
    }
    to.reserve(text.len() + 2);
    to.push('"');
    to.push_str(text);
    to.push('"');
}

/// A string of ours, escaped as Go does it so that it can stand in HTML.
fn push_message(to: &mut String, text: &str) {
    push_escaped(to, text, |c| matches!(c, '<' | '>' | '&' | '\u{2028}' | '\u{2029}'));
}

fn push_escaped(to: &mut String, text: &str, also: impl Fn(char) -> bool) {
    to.push('"');
    let mut plain_from = 0;
    for (at, c) in text.char_indices() {
        let escaped = match c {
            '"' => "\\\"".to_owned(),
            '\\' => "\\\\".to_owned(),
            '\n' => "\\n".to_owned(),
            '\r' => "\\r".to_owned(),
            '\t' => "\\t".to_owned(),
            c if c < ' ' || also(c) => format!("\\u{:04x}", c as u32),
            _ => continue,
        };
        to.push_str(&text[plain_from..at]);
        to.push_str(&escaped);
        plain_from = at + c.len_utf8();
    }
    to.push_str(&text[plain_from..]);
    to.push('"');
}

/// A finished answer on its way out.
struct Chunks {
    chunks: VecDeque<Bytes>,
    left_bytes: u64,
    held: Held,
}

impl hyper::body::Body for Chunks {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let chunk = self.chunks.pop_front();
        let bytes = chunk.as_ref().map_or(0, |chunk| chunk.len() as u64);
        self.left_bytes -= bytes;
        self.held.shrink(bytes);
        Poll::Ready(chunk.map(|chunk| Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.chunks.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left_bytes)
    }
}

/// With room for what one thing more may add.
fn empty_chunk() -> String {
    String::with_capacity(CHUNK_BYTES + CHUNK_BYTES / 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(bytes_max: usize) -> Room {
        Room::new("bytes", "help", bytes_max, &prometheus::Registry::new())
    }

    #[test]
    fn data_keeps_its_angle_brackets_and_messages_do_not() {
        let (mut data, mut message) = (String::new(), String::new());
        push_string(&mut data, "a<b>\"\\\n\u{1b}é");
        push_message(&mut message, "a<b>&");
        assert_eq!(data, r#""a<b>\"\\\n\u001bé""#);
        assert_eq!(message, r#""a\u003cb\u003e\u0026""#);
    }

    #[test]
    fn an_answer_stops_growing_at_its_limit() {
        let texts = vec!["x".repeat(1_000); 1_000];
        let mut json = JsonWriter::success(100_000, &room(1_000_000));
        let error = json.strings(&texts).unwrap_err();
        assert_eq!(error.to_string(), "answer is longer than 100000 bytes (--query.max-response-bytes)");
        let mut json = JsonWriter::success(1_000_000, &room(100_000));
        assert!(matches!(json.strings(&texts), Err(ApiError::ResponsesTooLarge { max: 100_000 })));
    }

    #[test]
    fn an_answer_ends_when_its_client_has_gone() {
        let limits =
            crate::query::budget::Limits { samples_max: 0, series_max: 0, bytes_max: 0, log_bytes_max: 0 };
        let budget = Budget::new(std::time::Instant::now() + std::time::Duration::from_secs(600), limits);
        budget.cancel();
        let mut json = JsonWriter::success(1 << 20, &room(1 << 20)).within(&budget);
        let error = json.strings(&vec!["x".repeat(1_000); 1_000]).unwrap_err();
        assert_eq!(error.to_string(), "query was canceled in expression evaluation");
        assert!(json.held.bytes() < CHUNK_BYTES as u64);
    }

    #[tokio::test]
    async fn the_eleventh_warning_is_only_counted() {
        let mut json = JsonWriter::success(1_000, &room(1_000));
        json.raw("[]");
        let warnings: Vec<String> = (0..12).map(|i| format!("w{i}")).collect();
        let body = json.finish(&warnings, &["<i>".to_owned()]).into_body();
        let body = axum::body::to_bytes(body, 1_000).await.unwrap();
        let expected = concat!(
            r#"{"status":"success","data":[],"warnings":["w0","w1","w2","w3","w4","w5","w6","w7","w8","w9","#,
            r#""2 more warning annotations omitted"],"infos":["\u003ci\u003e"]}"#
        );
        assert_eq!(body, expected);
    }
}
