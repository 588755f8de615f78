//! The result of a query as JSON: vectors, matrices, scalars, strings, histograms.

use std::ops::Range;
use std::sync::Arc;

use axum::response::Response;

use super::error::ApiError;
use super::json::{JsonWriter, push_labels, push_string};
use super::number::{push_plain, push_sample, push_timestamp, push_timestamp_as_float};
use super::query_stats::{StatsWish, stats_text};
use crate::model::histogram::{Bucket, Histogram};
use crate::model::{Timestamp, thread_count};
use crate::query::{Answer, MatrixSeries, QueryError, QueryValue, ReadAhead, SampleValue, VectorSample};

/// Writes `{resultType, result[, stats]}` and ends the answer.
pub fn push_answer(mut json: JsonWriter, answer: Answer, stats: &StatsWish) -> Result<Response, ApiError> {
    let Answer { value, mut warnings, infos, stats: told, .. } = answer;
    json.raw("{");
    match value {
        QueryValue::Matrix(series) => push_matrix(&mut json, series)?,
        value => push_value(&mut json, &value)?,
    }
    if stats.any {
        json.raw(",\"stats\":").raw(&stats_text(&told));
    }
    json.raw("}");
    warnings.extend(stats.warning.clone());
    Ok(json.finish(&warnings, &infos))
}

/// A matrix is written by several threads, where it has so many points that this pays for waking them.
fn push_matrix(json: &mut JsonWriter, series: Vec<MatrixSeries>) -> Result<(), ApiError> {
    let pieces = pieces(&series);
    if thread_count() == 1 || pieces.len() < PIECES_MIN || !json.may_use_threads() {
        return push_value(json, &QueryValue::Matrix(series));
    }
    json.raw(r#""resultType":"matrix","result":["#);
    let (count, apart) = (pieces.len(), json.apart());
    let shared = Arc::new((series, pieces, apart));
    let new_maker = {
        let shared = shared.clone();
        move || -> Box<dyn FnMut(usize) -> _ + Send> {
            let (shared, mut openings) = (shared.clone(), Openings::default());
            Box::new(move |piece| push_piece(shared.2.apart(), &mut openings, &shared.0, &shared.1[piece]))
        }
    };
    match ReadAhead::start(count, 1, new_maker.clone()) {
        Some(mut ahead) => {
            (0..count).try_for_each(|_| json.append(ahead.next().ok_or_else(ended_early)??))?;
        }
        // There are no other threads.
        None => (0..count).map(new_maker()).try_for_each(|piece| json.append(piece?))?,
    }
    json.raw("]");
    Ok(())
}

/// Written at a time, some 100 KiB.
const PIECE_POINTS: usize = 4_096;
/// Fewer are written before other threads are awake.
const PIECES_MIN: usize = 4;

/// Series that follow one another and have about so many points together.
fn pieces(series: &[MatrixSeries]) -> Vec<Range<usize>> {
    let (mut pieces, mut start, mut points) = (Vec::new(), 0, 0);
    for (i, series) in series.iter().enumerate() {
        points += series.floats.len() + HISTOGRAM_POINTS * series.histograms.len();
        if points >= PIECE_POINTS {
            pieces.push(start..i + 1);
            (start, points) = (i + 1, 0);
        }
    }
    pieces.extend(Some(start..series.len()).filter(|rest| !rest.is_empty()));
    pieces
}

/// To write a histogram takes about as long as so many floats.
const HISTOGRAM_POINTS: usize = 16;

fn push_piece(
    mut json: JsonWriter,
    openings: &mut Openings,
    series: &[MatrixSeries],
    piece: &Range<usize>,
) -> Result<JsonWriter, ApiError> {
    for at in piece.clone() {
        if at > 0 {
            json.raw(",");
        }
        push_matrix_series(&mut json, openings, &series[at])?;
        json.checkpoint()?;
    }
    Ok(json)
}

fn ended_early() -> ApiError {
    ApiError::Query(QueryError::Internal("a thread that writes the answer ended early".into()))
}

/// Writes `"resultType":…,"result":…`.
pub fn push_value(json: &mut JsonWriter, value: &QueryValue) -> Result<(), ApiError> {
    match value {
        QueryValue::Scalar(timestamp, value) => {
            json.raw(r#""resultType":"scalar","result":["#);
            push_timestamp_as_float(json.text(), *timestamp);
            json.raw(",\"");
            push_plain(json.text(), *value);
            json.raw("\"]");
        }
        QueryValue::String(timestamp, bytes) => {
            json.raw(r#""resultType":"string","result":["#);
            push_timestamp_as_float(json.text(), *timestamp);
            json.raw(",");
            push_string(json.text(), &String::from_utf8_lossy(bytes));
            json.raw("]");
        }
        QueryValue::Vector(samples) => {
            json.raw(r#""resultType":"vector","result":"#);
            json.list(samples, push_vector_sample)?;
        }
        QueryValue::Matrix(series) => {
            json.raw(r#""resultType":"matrix","result":"#);
            let mut openings = Openings::default();
            json.list(series, |json, series| push_matrix_series(json, &mut openings, series))?;
        }
    }
    Ok(())
}

fn push_vector_sample(json: &mut JsonWriter, sample: &VectorSample) -> Result<(), ApiError> {
    json.raw("{\"metric\":");
    push_labels(json.text(), &sample.labels);
    match &sample.value {
        SampleValue::Float(value) => {
            json.raw(",\"value\":");
            push_point(json.text(), sample.timestamp, *value);
        }
        SampleValue::Histogram(histogram) => {
            json.raw(",\"histogram\":");
            push_histogram_point(json.text(), sample.timestamp, histogram);
        }
    }
    json.raw("}");
    Ok(())
}

/// What opens the points of a series, up to their values. The steps of a range query are those of all its series, so most
/// series find what the one before them wrote. A range query has at most 11,000 steps: that is half a MiB.
#[derive(Default)]
struct Openings {
    text: String,
    /// Of each point: its time, and where its text ends.
    points: Vec<(Timestamp, usize)>,
}

impl Openings {
    /// `,[1.500,"` for the point with this number; those before it were asked for before.
    fn of(&mut self, number: usize, timestamp: Timestamp) -> &str {
        let start = if number == 0 { 0 } else { self.points[number - 1].1 };
        match self.points.get(number) {
            Some(&(known, end)) if known == timestamp => &self.text[start..end],
            _ => {
                self.text.truncate(start);
                self.points.truncate(number);
                self.text.push_str(",[");
                push_timestamp(&mut self.text, timestamp);
                self.text.push_str(",\"");
                self.points.push((timestamp, self.text.len()));
                &self.text[start..]
            }
        }
    }
}

fn push_matrix_series(
    json: &mut JsonWriter,
    openings: &mut Openings,
    series: &MatrixSeries,
) -> Result<(), ApiError> {
    json.raw("{\"metric\":");
    push_labels(json.text(), &series.labels);
    if !series.floats.is_empty() {
        json.raw(",\"values\":[");
        for (number, &(timestamp, value)) in series.floats.iter().enumerate() {
            let opening = openings.of(number, timestamp);
            json.raw(if number == 0 { &opening[1..] } else { opening });
            push_sample(json.text(), value);
            json.raw("\"]");
            json.checkpoint()?;
        }
        json.raw("]");
    }
    if !series.histograms.is_empty() {
        json.raw(",\"histograms\":");
        json.list(&series.histograms, |json, (timestamp, histogram)| {
            push_histogram_point(json.text(), *timestamp, histogram);
            Ok(())
        })?;
    }
    json.raw("}");
    Ok(())
}

pub fn push_point(to: &mut String, timestamp: Timestamp, value: f64) {
    to.push('[');
    push_timestamp(to, timestamp);
    to.push_str(",\"");
    push_sample(to, value);
    to.push_str("\"]");
}

pub fn push_histogram_point(to: &mut String, timestamp: Timestamp, histogram: &Histogram) {
    to.push('[');
    push_timestamp(to, timestamp);
    to.push_str(",{\"count\":\"");
    push_sample(to, histogram.count);
    to.push_str("\",\"sum\":\"");
    push_sample(to, histogram.sum);
    to.push('"');
    let mut before = ",\"buckets\":[";
    for bucket in histogram.buckets().filter(|bucket| bucket.count != 0.0) {
        to.push_str(std::mem::replace(&mut before, ","));
        push_bucket(to, &bucket);
    }
    to.push_str(if before == "," { "]}]" } else { "}]" });
}

fn push_bucket(to: &mut String, bucket: &Bucket) {
    to.push('[');
    to.push_str(&bucket.boundaries().to_string());
    for value in [bucket.lower, bucket.upper, bucket.count] {
        to.push_str(",\"");
        push_sample(to, value);
        to.push('"');
    }
    to.push(']');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::room::Room;
    use crate::model::Labels;
    use crate::model::histogram::Span;

    #[test]
    fn a_histogram_lists_its_populated_buckets_in_ascending_order() {
        let histogram = Histogram {
            schema: 0,
            zero_threshold: 0.5,
            zero_count: 1.0,
            count: 6.0,
            sum: -0.25,
            positive_spans: vec![Span { offset: 1, length: 2 }],
            positive_buckets: vec![0.0, 3.0],
            negative_spans: vec![Span { offset: 1, length: 1 }],
            negative_buckets: vec![2.0],
            ..Histogram::default()
        };
        let mut text = String::new();
        push_histogram_point(&mut text, 1_500, &histogram);
        let buckets = r#"[1,"-2","-1","2"],[3,"-0.5","0.5","1"],[0,"2","4","3"]"#;
        assert_eq!(text, format!(r#"[1.500,{{"count":"6","sum":"-0.25","buckets":[{buckets}]}}]"#));
    }

    #[test]
    fn points_have_their_own_times_whatever_those_of_the_series_before() {
        let lists: [&[Timestamp]; 7] = [
            &[1_000, 2_500, 4_000],
            &[1_000, 2_500, 4_000, 5_500],
            &[2_500, 4_000],
            &[],
            &[0],
            &[0, -1],
            &[1],
        ];
        let (mut openings, room) = (Openings::default(), room_of(1 << 20));
        for times in lists {
            let floats: Vec<_> = times.iter().map(|&time| (time, time as f64 / 8.0)).collect();
            let mut json = JsonWriter::object(1 << 20, &room).apart();
            let series = MatrixSeries { floats: floats.clone(), ..MatrixSeries::default() };
            push_matrix_series(&mut json, &mut openings, &series).unwrap();
            let mut points: Vec<String> = Vec::new();
            for (timestamp, value) in floats {
                points.push(String::new());
                push_point(points.last_mut().unwrap(), timestamp, value);
            }
            let values = if points.is_empty() {
                String::new()
            } else {
                format!(r#","values":[{}]"#, points.join(","))
            };
            assert_eq!(json.text(), &format!(r#"{{"metric":{{}}{values}}}"#));
        }
    }

    fn room_of(bytes_max: usize) -> Room {
        Room::new("bytes", "help", bytes_max, &prometheus::Registry::new())
    }

    fn series(number: usize, points: usize) -> MatrixSeries {
        let name = number.to_string();
        let labels = Labels::from_pairs([("__name__", "m"), ("i", name.as_str())]).unwrap();
        let floats = (0..points as i64).map(|t| (t * 1_500, t as f64 / 7.0)).collect();
        let histograms = (0..number as i64 % 3).map(|t| (t, Arc::new(Histogram::default()))).collect();
        MatrixSeries { labels, floats, histograms }
    }

    #[test]
    fn what_several_threads_write_is_what_one_writes() {
        let room = room_of(64 << 20);
        for lens in
            [vec![], vec![5], vec![0; 70], vec![361; 200], vec![9_000, 1, 0, 50_000, 3, 4_096, 4_095, 1]]
        {
            let matrix: Vec<_> = lens.iter().enumerate().map(|(i, &points)| series(i, points)).collect();
            let text = |push: &dyn Fn(&mut JsonWriter) -> Result<(), ApiError>| {
                let mut json = JsonWriter::object(64 << 20, &room);
                push(&mut json).unwrap();
                json.finish_text().unwrap().0
            };
            let by_threads = text(&|json| push_matrix(json, matrix.clone()));
            assert!(by_threads == text(&|json| push_value(json, &QueryValue::Matrix(matrix.clone()))));
        }
    }

    #[test]
    fn several_threads_keep_to_the_limits_of_an_answer() {
        let matrix: Vec<_> = (0..200).map(|i| series(i, 361)).collect();
        let room_enough = room_of(64 << 20);
        let error = push_matrix(&mut JsonWriter::success(500_000, &room_enough), matrix.clone()).unwrap_err();
        assert!(matches!(error, ApiError::ResponseTooLarge { max: 500_000 }), "{error}");
        let little_room = room_of(500_000);
        let error = push_matrix(&mut JsonWriter::success(64 << 20, &little_room), matrix).unwrap_err();
        assert!(matches!(error, ApiError::ResponsesTooLarge { max: 500_000 }), "{error}");
    }

    #[test]
    fn an_empty_histogram_has_no_buckets() {
        let mut text = String::new();
        push_histogram_point(&mut text, 2_000, &Histogram::default());
        assert_eq!(text, r#"[2,{"count":"0","sum":"0"}]"#);
    }
}
