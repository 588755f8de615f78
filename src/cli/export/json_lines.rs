//! An export as JSON lines: day by day, in each day series by series, so that who takes it meets times together.

use std::io::Write;

use super::reading::Reading;
use super::selection::Selection;
use super::{ExportError, Output};
use crate::codec::chunks::ChunkValue;
use crate::exchange::json_lines::{POINTS_MAX, push_floats, push_histograms};
use crate::exchange::stream::SeriesFrame;
use crate::model::time::DAY;

pub fn write(
    reading: &Reading<'_>,
    selection: &Selection,
    output: &mut Output<'_>,
) -> Result<(), ExportError> {
    let Output { out, written, progress } = output;
    let (mut start, last) = reading.range;
    let (first, whole) = (start, last.abs_diff(start));
    progress.expect(whole);
    while start <= last {
        // Days are left-open and right-closed, as the server's partitions are.
        let end = ((start - 1).div_euclid(DAY) + 1).saturating_mul(DAY).min(last);
        for (i, selector) in selection.selectors() {
            reading.read(&selector.wire_matchers(), (start, end), &mut |frame| {
                if !selection.is_repeated(&frame.labels, i) {
                    out.write_all(lines(&frame).as_bytes())?;
                    written.samples += frame.samples.len() as u64;
                }
                progress.update(start.abs_diff(first), written.samples);
                Ok(())
            })?;
        }
        start = end + 1;
    }
    Ok(())
}

/// Runs of floats and of histograms, in the order of time.
fn lines(frame: &SeriesFrame) -> String {
    let mut text = String::new();
    let is_float = |value: &ChunkValue| matches!(value, ChunkValue::Float(_));
    let runs = frame.samples.chunk_by(|a, b| is_float(&a.1) == is_float(&b.1));
    for piece in runs.flat_map(|run| run.chunks(POINTS_MAX)) {
        let (mut floats, mut histograms) = (Vec::new(), Vec::new());
        for (timestamp, value) in piece {
            match value {
                ChunkValue::Float(value) => floats.push((*timestamp, *value)),
                ChunkValue::Histogram(histogram) => histograms.push((*timestamp, &**histogram)),
            }
        }
        match floats.is_empty() {
            true => push_histograms(&mut text, &frame.labels, &histograms),
            false => push_floats(&mut text, &frame.labels, &floats),
        }
    }
    text
}
