//! Remote read from the client's side, from the protocol and not from our own types: requests, and both kinds of answer.

use super::proto::{Field, Message, all, fields, int, snappy, take, take_varint};
use super::{Answer, request};

pub const EQ: u64 = 0;
pub const NEQ: u64 = 1;
pub const RE: u64 = 2;
pub const NRE: u64 = 3;

pub const SAMPLES: u64 = 0;
pub const STREAMED: u64 = 1;

pub type Labels = Vec<(String, String)>;

/// One series of an answer of samples; values by their bits, histograms as their messages.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    pub labels: Labels,
    pub floats: Vec<(i64, u64)>,
    pub histograms: Vec<Vec<u8>>,
}

/// One chunk of a streamed answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Chunk {
    pub min_time: i64,
    pub max_time: i64,
    pub encoding: i64,
    pub data: Vec<u8>,
}

/// One message of a streamed answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Frame {
    pub query: i64,
    pub labels: Labels,
    pub chunks: Vec<Chunk>,
}

/// A query of matchers (type, name, value) over a closed range of milliseconds.
pub fn query(matchers: &[(u64, &str, &str)], (start, end): (i64, i64)) -> Message {
    let query = Message::new().int(1, start).int(2, end);
    matchers.iter().fold(query, |query, (kind, name, value)| {
        let matcher = Message::new().varint(1, *kind).bytes(2, name.as_bytes()).bytes(3, value.as_bytes());
        query.message(3, matcher)
    })
}

/// `POST /api/v1/read`, as Prometheus sends it.
pub fn read(url: &str, queries: &[Message], accepted: &[u64]) -> Answer {
    let message = queries.iter().fold(Message::new(), |message, query| message.message(1, query.clone()));
    let message = if accepted.is_empty() { message } else { message.packed(2, accepted.iter().copied()) };
    let headers = [
        ("content-encoding", "snappy"),
        ("accept-encoding", "snappy"),
        ("content-type", "application/x-protobuf"),
        ("x-prometheus-remote-read-version", "0.1.0"),
    ];
    request("POST", &format!("{url}/api/v1/read"), &headers, snappy(&message.0))
}

/// The series of each query.
pub fn samples(answer: &Answer) -> Vec<Vec<Series>> {
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.header("content-type"), "application/x-protobuf");
    assert_eq!(answer.header("content-encoding"), "snappy");
    let message = snap::raw::Decoder::new().decompress_vec(&answer.bytes).unwrap();
    let results = fields(&message);
    all(&results, 1).map(|result| all(&fields(result.bytes()), 1).map(series).collect()).collect()
}

fn series(field: &Field) -> Series {
    let series = fields(field.bytes());
    let float = |sample: &Field| {
        let sample = fields(sample.bytes());
        (int(&sample, 2), int(&sample, 1) as u64)
    };
    Series {
        labels: labels(&series),
        floats: all(&series, 2).map(float).collect(),
        histograms: all(&series, 4).map(|histogram| histogram.bytes().to_vec()).collect(),
    }
}

fn labels(series: &[(u32, Field)]) -> Labels {
    let pair = |label: &Field| {
        let label = fields(label.bytes());
        let text = |number| all(&label, number).next().map_or(String::new(), Field::text);
        (text(1), text(2))
    };
    all(series, 1).map(pair).collect()
}

/// The frames of a streamed answer, each checked by its checksum.
pub fn frames(answer: &Answer) -> Vec<Frame> {
    assert_eq!(answer.status, 200, "{}", answer.body);
    let expected = "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse";
    assert_eq!(answer.header("content-type"), expected);
    assert_eq!(answer.header("content-encoding"), "");
    let (mut rest, mut frames) = (&answer.bytes[..], Vec::new());
    while !rest.is_empty() {
        let len = take_varint(&mut rest) as usize;
        let checksum = u32::from_be_bytes(take(&mut rest, 4).try_into().unwrap());
        let message = take(&mut rest, len);
        assert_eq!(castagnoli(message), checksum);
        frames.push(frame(message));
    }
    frames
}

fn frame(message: &[u8]) -> Frame {
    let message = fields(message);
    let all_series: Vec<&Field> = all(&message, 1).collect();
    assert_eq!(all_series.len(), 1, "a frame is of one series");
    let series = fields(all_series[0].bytes());
    let chunk = |chunk: &Field| {
        let chunk = fields(chunk.bytes());
        let data = all(&chunk, 4).next().unwrap().bytes().to_vec();
        Chunk { min_time: int(&chunk, 1), max_time: int(&chunk, 2), encoding: int(&chunk, 3), data }
    };
    Frame { query: int(&message, 2), labels: labels(&series), chunks: all(&series, 2).map(chunk).collect() }
}

/// CRC-32C, bit by bit.
fn castagnoli(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc: u32, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| crc >> 1 ^ (0x82f6_3b78 & (crc & 1).wrapping_neg()))
    })
}
