//! The answer of raw samples: one message, compressed as a whole, so that it is held as a whole.

use std::sync::Arc;

use axum::http::{HeaderValue, header};
use axum::response::Response;
use prost::Message;

use super::{RangeOfSeries, Turn, wire_labels};
use crate::api::Api;
use crate::api::error::ApiError;
use crate::api::json::whole_body;
use crate::model::histogram::{ResetHint, Span};
use crate::model::{Histogram, Labels, Timestamp};
use crate::query::Budget;
use crate::query::budget::HeldBytes;
use crate::storage::metrics::SampleBuffer;
use crate::wire::remote_read::{Sample, TimeSeries};
use crate::wire::remote_write_v1::histogram::{Count, ResetHint as WireHint, ZeroCount};
use crate::wire::remote_write_v1::{BucketSpan, Histogram as WireHistogram};

/// The key of field 1, a message: results of the answer, and series of a result.
const FIELD_1: u8 = 1 << 3 | 2;

pub async fn answer(api: &Arc<Api>, queries: Vec<RangeOfSeries>, turn: Turn) -> Result<Response, ApiError> {
    turn.run(api, move |api, budget| {
        let message = read_response(api, &queries, budget)?;
        let bytes_max = api.options.response_bytes_max;
        // Snappy takes 4 GiB at most.
        let body = snap::raw::Encoder::new().compress_vec(&message);
        let body = body.map_err(|_| ApiError::ResponseTooLarge { max: bytes_max })?;
        let mut response = whole_body(body, "application/x-protobuf", bytes_max, &api.answers)?;
        response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("snappy"));
        Ok(response)
    })
    .await
}

/// An encoded `ReadResponse`, written series by series.
fn read_response(api: &Api, queries: &[RangeOfSeries], budget: &Budget) -> Result<Vec<u8>, ApiError> {
    let bytes_max = api.options.response_bytes_max;
    let mut held = HeldBytes::none(budget);
    let mut response = Vec::new();
    for query in queries {
        let mut result = Vec::new();
        query.read(api, budget, |labels, samples| {
            let before = result.len();
            push_message(&time_series(labels, samples), &mut result);
            if response.len() + result.len() > bytes_max {
                return Err(ApiError::ResponseTooLarge { max: bytes_max });
            }
            Ok(held.grow((result.len() - before) as u64)?)
        })?;
        response.push(FIELD_1);
        prost::encode_length_delimiter(result.len(), &mut response).expect("a vector grows");
        response.extend_from_slice(&result);
    }
    Ok(response)
}

fn push_message(message: &TimeSeries, to: &mut Vec<u8>) {
    to.push(FIELD_1);
    message.encode_length_delimited(to).expect("a vector grows");
}

fn time_series(labels: &Labels, samples: &SampleBuffer) -> TimeSeries {
    let floats = samples.float_timestamps.iter().zip(&samples.floats);
    let histograms = samples.histogram_timestamps.iter().zip(&samples.histograms);
    TimeSeries {
        labels: wire_labels(labels),
        samples: floats.map(|(&timestamp, &value)| Sample { value: Some(value), timestamp }).collect(),
        histograms: histograms.map(|(&timestamp, histogram)| wire_histogram(timestamp, histogram)).collect(),
    }
}

fn wire_histogram(timestamp: Timestamp, histogram: &Histogram) -> WireHistogram {
    let is_integer = histogram.has_whole_counts();
    let deltas = |counts: &[f64]| match is_integer {
        true => bucket_deltas(counts),
        false => Vec::new(),
    };
    let counts = |counts: &[f64]| if is_integer { Vec::new() } else { counts.to_vec() };
    let hint = match histogram.hint {
        ResetHint::Unknown => WireHint::Unknown,
        ResetHint::Reset => WireHint::Yes,
        ResetHint::NotReset => WireHint::No,
        ResetHint::Gauge => WireHint::Gauge,
    };
    WireHistogram {
        count: Some(match is_integer {
            true => Count::CountInt(histogram.count as u64),
            false => Count::CountFloat(histogram.count),
        }),
        sum: histogram.sum,
        schema: histogram.schema,
        zero_threshold: histogram.zero_threshold,
        zero_count: Some(match is_integer {
            true => ZeroCount::ZeroCountInt(histogram.zero_count as u64),
            false => ZeroCount::ZeroCountFloat(histogram.zero_count),
        }),
        negative_spans: wire_spans(&histogram.negative_spans),
        negative_deltas: deltas(&histogram.negative_buckets),
        negative_counts: counts(&histogram.negative_buckets),
        positive_spans: wire_spans(&histogram.positive_spans),
        positive_deltas: deltas(&histogram.positive_buckets),
        positive_counts: counts(&histogram.positive_buckets),
        reset_hint: hint.into(),
        timestamp,
        custom_values: histogram.custom_bounds.clone(),
    }
}

/// Each count as the difference to its neighbour.
fn bucket_deltas(counts: &[f64]) -> Vec<i64> {
    let before = [0.0].iter().chain(counts);
    counts.iter().zip(before).map(|(count, before)| *count as i64 - *before as i64).collect()
}

fn wire_spans(spans: &[Span]) -> Vec<BucketSpan> {
    spans.iter().map(|span| BucketSpan { offset: span.offset, length: span.length }).collect()
}
