//! What was stored of logs and spans, read through the APIs that Grafana uses.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, TracesData};
use prost::Message;
use serde_json::Value;

use super::{encode, now_ms, request};

type Texts = BTreeMap<String, String>;

/// One entry, as Loki's API tells it with its labels in categories.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// In nanoseconds.
    pub time: i64,
    pub line: String,
    pub labels: Texts,
    pub metadata: Texts,
}

impl Entry {
    pub fn new(time: i64, line: &str, labels: &[(&str, &str)], metadata: &[(&str, &str)]) -> Entry {
        let texts = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        Entry { time, line: line.to_owned(), labels: texts(labels), metadata: texts(metadata) }
    }
}

/// All entries of the last hour that a query selects, oldest first.
pub fn entries(url: &str, query: &str) -> Vec<Entry> {
    let (query, now) = (encode(query), now_ms());
    let path = format!(
        "{url}/loki/api/v1/query_range?query={query}&start={}000000&end={}000000&limit=1000&direction=forward",
        now - 3_600_000,
        now + 600_000
    );
    let headers = [("x-loki-response-encoding-flags", "categorize-labels")];
    let answer = request("GET", &path, &headers, Vec::new());
    assert_eq!(answer.status, 200, "{path}: {}", answer.body);
    let answer: Value = serde_json::from_str(&answer.body).unwrap();
    let mut found = Vec::new();
    for stream in answer["data"]["result"].as_array().unwrap() {
        for entry in stream["values"].as_array().unwrap() {
            found.push(Entry {
                time: entry[0].as_str().unwrap().parse().unwrap(),
                line: entry[1].as_str().unwrap().to_owned(),
                labels: texts(&stream["stream"]),
                metadata: texts(&entry[2]["structuredMetadata"]),
            });
        }
    }
    found.sort();
    found
}

fn texts(object: &Value) -> Texts {
    let entries = object.as_object().into_iter().flatten();
    entries.map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned())).collect()
}

/// `tempopb.TraceByIDResponse`, as far as it is of interest.
#[derive(Clone, PartialEq, prost::Message)]
struct TraceById {
    #[prost(message, optional, tag = "1")]
    trace: Option<TracesData>,
}

/// The spans of a trace in protobuf, as Grafana's Tempo data source asks for them.
pub fn trace(url: &str, id: &str) -> Vec<ResourceSpans> {
    let path = format!("{url}/api/v2/traces/{id}");
    let answer = request("GET", &path, &[("accept", "application/protobuf")], Vec::new());
    assert_eq!(answer.status, 200, "{path}: {}", answer.body);
    TraceById::decode(&*answer.bytes).unwrap().trace.unwrap_or_default().resource_spans
}
