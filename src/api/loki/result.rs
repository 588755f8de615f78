//! Answers about logs as JSON: streams in both of Loki's encodings, metric values as Prometheus has them, statistics.

use std::collections::BTreeMap;

use axum::response::Response;

use super::params::{CATEGORIZE_LABELS, Encoding};
use crate::api::error::ApiError;
use crate::api::json::{JsonWriter, push_labels, push_string};
use crate::api::result::push_value;
use crate::model::Labels;
use crate::query::logs::{Direction, LogAnswer, LogLine, LogStats, LogValue, StreamAnswer};

/// Writes `{[encodingFlags, ]resultType, result, stats}` and ends the answer. The flags come first, as a reader that
/// does not look back needs them.
pub fn push_answer(
    mut json: JsonWriter,
    answer: &LogAnswer,
    encoding: Encoding,
    direction: Direction,
) -> Result<Response, ApiError> {
    json.raw("{");
    if encoding == Encoding::Categorized {
        push_flags(&mut json);
        json.raw(",");
    }
    match &answer.value {
        LogValue::Streams(streams) => {
            json.raw(r#""resultType":"streams","result":"#);
            push_streams(&mut json, streams, encoding, direction)?;
        }
        LogValue::Metric(value) => push_value(&mut json, value)?,
    }
    push_stats(json.text(), &answer.stats);
    json.raw("}");
    Ok(json.finish(&answer.warnings, &[]))
}

pub fn push_flags(json: &mut JsonWriter) {
    json.raw(&format!(r#""encodingFlags":["{CATEGORIZE_LABELS}"]"#));
}

/// Writes the list of streams.
pub fn push_streams(
    json: &mut JsonWriter,
    streams: &[StreamAnswer],
    encoding: Encoding,
    direction: Direction,
) -> Result<(), ApiError> {
    match encoding {
        Encoding::Categorized => json.list(streams, |json, stream| {
            push_stream(json, &stream.labels, stream.entries.iter(), push_labels_of_entry)
        }),
        Encoding::Flat => json.list(flat(streams, direction), |json, (labels, entries)| {
            push_stream(json, &labels, entries.into_iter(), |_, _| {})
        }),
    }
}

fn push_stream<'a>(
    json: &mut JsonWriter,
    labels: &Labels,
    entries: impl Iterator<Item = &'a LogLine>,
    push_more: impl Fn(&mut String, &LogLine),
) -> Result<(), ApiError> {
    json.raw(r#"{"stream":"#);
    push_labels(json.text(), labels);
    json.raw(r#","values":"#);
    json.list(entries, |json, entry| {
        let to = json.text();
        to.push_str(&format!("[\"{}\",", entry.timestamp));
        push_string(to, &entry.line);
        push_more(to, entry);
        to.push(']');
        Ok(())
    })?;
    json.raw("}");
    Ok(())
}

/// The third element of a categorised entry: there even if it is empty, and without the kinds that are.
fn push_labels_of_entry(to: &mut String, entry: &LogLine) {
    to.push_str(",{");
    let mut before = "";
    for (kind, pairs) in [("structuredMetadata", &entry.metadata), ("parsed", &entry.parsed)] {
        if pairs.is_empty() {
            continue;
        }
        to.push_str(before);
        before = ",";
        to.push_str(&format!("\"{kind}\":{{"));
        for (i, (name, value)) in pairs.iter().enumerate() {
            to.push_str(if i > 0 { "," } else { "" });
            push_string(to, name);
            to.push(':');
            push_string(to, value);
        }
        to.push('}');
    }
    to.push('}');
}

/// The entries by all labels they have, of whatever kind: each set of them is a stream of its own.
fn flat(streams: &[StreamAnswer], direction: Direction) -> BTreeMap<Labels, Vec<&LogLine>> {
    let mut by_labels: BTreeMap<Labels, Vec<&LogLine>> = BTreeMap::new();
    for stream in streams {
        for entry in &stream.entries {
            by_labels.entry(all_labels(&stream.labels, entry)).or_default().push(entry);
        }
    }
    for entries in by_labels.values_mut() {
        // More than one stream may have given to it; the sort is stable, so equal times keep their order.
        match direction {
            Direction::Forward => entries.sort_by_key(|entry| entry.timestamp),
            Direction::Backward => entries.sort_by_key(|entry| std::cmp::Reverse(entry.timestamp)),
        }
    }
    by_labels
}

fn all_labels(of_stream: &Labels, entry: &LogLine) -> Labels {
    if entry.metadata.is_empty() && entry.parsed.is_empty() {
        return of_stream.clone();
    }
    let mut all: BTreeMap<&str, &str> = of_stream.iter().collect();
    for (name, value) in entry.metadata.iter().chain(&entry.parsed) {
        if !value.is_empty() {
            all.entry(name).or_insert(value);
        }
    }
    Labels::from_sorted(all)
}

/// What Grafana and logcli show is true; where Loki counts the work of components that do not exist here, it is zero.
fn push_stats(to: &mut String, stats: &LogStats) {
    let per_second = |count: u64| if stats.seconds > 0.0 { (count as f64 / stats.seconds) as u64 } else { 0 };
    to.push_str(&format!(
        concat!(
            r#","stats":{{"summary":{{"bytesProcessedPerSecond":{},"linesProcessedPerSecond":{},"#,
            r#""totalBytesProcessed":{},"totalLinesProcessed":{},"execTime":{},"queueTime":0,"subqueries":0,"#,
            r#""totalEntriesReturned":{},"splits":0,"shards":0}},{}}}"#
        ),
        per_second(stats.bytes_read),
        per_second(stats.lines_read),
        stats.bytes_read,
        stats.lines_read,
        stats.seconds,
        stats.entries_returned,
        NO_SUCH_COMPONENTS,
    ));
}

const NO_SUCH_COMPONENTS: &str = concat!(
    r#""querier":{"store":{"totalChunksRef":0,"totalChunksDownloaded":0,"chunksDownloadTime":0,"#,
    r#""chunk":{"headChunkBytes":0,"headChunkLines":0,"decompressedBytes":0,"decompressedLines":0,"#,
    r#""compressedBytes":0,"totalDuplicates":0}}},"#,
    r#""ingester":{"totalReached":0,"totalChunksMatched":0,"totalBatches":0,"totalLinesSent":0,"#,
    r#""store":{"totalChunksRef":0,"totalChunksDownloaded":0,"chunksDownloadTime":0,"#,
    r#""chunk":{"headChunkBytes":0,"headChunkLines":0,"decompressedBytes":0,"decompressedLines":0,"#,
    r#""compressedBytes":0,"totalDuplicates":0}}},"cache":{}"#
);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::room::Room;
    use crate::query::QueryValue;

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn line(timestamp: i64, text: &str, metadata: &[(&str, &str)], parsed: &[(&str, &str)]) -> LogLine {
        LogLine { timestamp, line: text.to_owned(), metadata: pairs(metadata), parsed: pairs(parsed) }
    }

    fn stream(labels: &[(&str, &str)], entries: Vec<LogLine>) -> StreamAnswer {
        StreamAnswer { labels: Labels::from_pairs(labels.iter().copied()).unwrap(), entries }
    }

    fn streams() -> Vec<StreamAnswer> {
        vec![
            stream(
                &[("app", "a")],
                vec![
                    line(3, "level=info", &[("user", "u")], &[("level", "info")]),
                    line(2, "say \"hi\"\n\u{1b}[31m", &[], &[]),
                    line(1, "level=info", &[("user", "u")], &[("level", "info")]),
                ],
            ),
            stream(&[("app", "b")], vec![line(2, "", &[("empty", "")], &[])]),
        ]
    }

    async fn body(value: LogValue, encoding: Encoding) -> serde_json::Value {
        let room = Room::new("bytes", "help", 1 << 20, &prometheus::Registry::new());
        let stats = LogStats { bytes_read: 300, lines_read: 30, entries_returned: 4, seconds: 0.5 };
        let answer = LogAnswer { value, warnings: vec!["a block was damaged".to_owned()], stats };
        let json = JsonWriter::success(1 << 20, &room);
        let response = push_answer(json, &answer, encoding, Direction::Backward).unwrap();
        let bytes = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
        serde_json::from_slice(&bytes).unwrap()
    }

    #[tokio::test]
    async fn categorised_entries_carry_their_labels_by_kind() {
        let body = body(LogValue::Streams(streams()), Encoding::Categorized).await;
        assert_eq!(body["data"]["encodingFlags"], serde_json::json!(["categorize-labels"]));
        assert_eq!(body["data"]["resultType"], "streams");
        assert_eq!(body["warnings"], serde_json::json!(["a block was damaged"]));
        let own = serde_json::json!({"structuredMetadata": {"user": "u"}, "parsed": {"level": "info"}});
        let expected = serde_json::json!([
            {"stream": {"app": "a"}, "values": [
                ["3", "level=info", own], ["2", "say \"hi\"\n\u{1b}[31m", {}], ["1", "level=info", own],
            ]},
            {"stream": {"app": "b"}, "values": [["2", "", {"structuredMetadata": {"empty": ""}}]]},
        ]);
        assert_eq!(body["data"]["result"], expected);
    }

    #[tokio::test]
    async fn without_the_flag_each_set_of_labels_is_a_stream() {
        let body = body(LogValue::Streams(streams()), Encoding::Flat).await;
        assert!(body["data"].get("encodingFlags").is_none());
        let expected = serde_json::json!([
            {"stream": {"app": "a"}, "values": [["2", "say \"hi\"\n\u{1b}[31m"]]},
            {"stream": {"app": "a", "level": "info", "user": "u"},
             "values": [["3", "level=info"], ["1", "level=info"]]},
            {"stream": {"app": "b"}, "values": [["2", ""]]},
        ]);
        assert_eq!(body["data"]["result"], expected);
    }

    #[test]
    fn streams_that_become_one_are_merged_in_the_direction_asked_for() {
        let streams = [
            stream(
                &[("a", "1")],
                vec![line(9, "nine", &[("b", "2")], &[]), line(5, "five", &[("b", "2")], &[])],
            ),
            stream(&[("a", "1"), ("b", "2")], vec![line(7, "seven", &[], &[])]),
        ];
        let times = |direction| -> Vec<i64> {
            let merged = flat(&streams, direction);
            assert_eq!(merged.len(), 1);
            merged.into_values().flatten().map(|entry| entry.timestamp).collect()
        };
        assert_eq!(times(Direction::Backward), [9, 7, 5]);
        assert_eq!(times(Direction::Forward), [5, 7, 9]);
    }

    #[tokio::test]
    async fn a_metric_answer_is_prometheus_with_statistics() {
        let body = body(LogValue::Metric(QueryValue::Scalar(4_000, 2.0)), Encoding::Flat).await;
        assert_eq!(body["data"]["resultType"], "scalar");
        assert_eq!(body["data"]["result"], serde_json::json!([4, "2"]));
        let summary = serde_json::json!({
            "bytesProcessedPerSecond": 600, "linesProcessedPerSecond": 60, "totalBytesProcessed": 300,
            "totalLinesProcessed": 30, "execTime": 0.5, "queueTime": 0, "subqueries": 0,
            "totalEntriesReturned": 4, "splits": 0, "shards": 0,
        });
        assert_eq!(body["data"]["stats"]["summary"], summary);
    }
}
