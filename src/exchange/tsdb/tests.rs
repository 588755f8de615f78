//! Blocks written here by their description, and what is read of them.

use std::fs;

use super::*;
use crate::codec::chunks::Chunks;
use crate::codec::crc32c::crc32c;
use crate::codec::varint::{write_i64, write_u64};
use crate::exchange::Batch;
use crate::model::metrics::stale_marker;
use crate::model::time::DAY;
use crate::model::{Histogram, Timestamp};
use std::sync::Arc;

const NAME: &str = "01ARZ3NDEKTSV4RRFFQ69G5FAV";
const BEGIN: Timestamp = 1_700_006_400_000;

#[derive(Default)]
struct Series {
    labels: Vec<(&'static str, &'static str)>,
    floats: Vec<(Timestamp, f64)>,
    histograms: Vec<(Timestamp, Arc<Histogram>)>,
}

fn with_checksum(body: &[u8]) -> Vec<u8> {
    [body, &crc32c(body).to_be_bytes()].concat()
}

/// A block with these series, in their order.
fn write_block(path: &Path, series: &[Series]) {
    fs::create_dir_all(path.join("chunks")).unwrap();
    let meta = format!(
        r#"{{"ulid":"{NAME}","minTime":{BEGIN},"maxTime":{},"version":1,"stats":{{}}}}"#,
        BEGIN + DAY
    );
    fs::write(path.join("meta.json"), meta).unwrap();
    let mut chunks = [&0x85bd_40ddu32.to_be_bytes()[..], &[1, 0, 0, 0]].concat();
    let mut symbols: Vec<&str> =
        series.iter().flat_map(|s| s.labels.iter().flat_map(|(n, v)| [*n, *v])).collect();
    symbols.sort_unstable();
    symbols.dedup();
    let number = |text: &str| symbols.binary_search(&text).unwrap() as u64;

    let mut index = [&0xbaaa_d700u32.to_be_bytes()[..], &[2]].concat();
    let mut body = (symbols.len() as u32).to_be_bytes().to_vec();
    symbols.iter().for_each(|symbol| crate::codec::put_text(&mut body, symbol));
    index.extend((body.len() as u32).to_be_bytes());
    index.extend(with_checksum(&body));
    let symbols_at = 5u64;
    index.resize(index.len().next_multiple_of(16), 0);
    let series_at = index.len() as u64;
    for series in series {
        index.resize(index.len().next_multiple_of(16), 0);
        let entry = entry(series, number, &mut chunks);
        write_u64(&mut index, entry.len() as u64);
        index.extend(with_checksum(&entry));
    }
    index.resize(index.len().next_multiple_of(4), 0);
    let series_end = index.len() as u64;
    // Postings, which nobody reads here.
    index.extend([0; 12]);
    let contents: Vec<u8> = [symbols_at, series_at, 0, 0, series_end, series_end]
        .iter()
        .flat_map(|place| place.to_be_bytes())
        .collect();
    index.extend(with_checksum(&contents));
    fs::write(path.join("index"), index).unwrap();
    fs::write(path.join("chunks/000001"), chunks).unwrap();
}

fn entry(series: &Series, number: impl Fn(&str) -> u64, chunks: &mut Vec<u8>) -> Vec<u8> {
    let mut entry = Vec::new();
    write_u64(&mut entry, series.labels.len() as u64);
    for (name, value) in &series.labels {
        write_u64(&mut entry, number(name));
        write_u64(&mut entry, number(value));
    }
    let (float_times, floats): (Vec<_>, Vec<_>) = series.floats.iter().copied().unzip();
    let (histogram_times, histograms): (Vec<_>, Vec<_>) = series.histograms.iter().cloned().unzip();
    let all: Vec<_> = Chunks::new((&float_times, &floats), (&histogram_times, &histograms)).collect();
    write_u64(&mut entry, all.len() as u64);
    let mut before: Option<(Timestamp, u64)> = None;
    for chunk in all {
        let at = chunks.len() as u64;
        write_u64(chunks, chunk.data.len() as u64);
        let body = [&[chunk.encoding as u8][..], &chunk.data].concat();
        chunks.extend(with_checksum(&body));
        match before {
            None => write_i64(&mut entry, chunk.min_time),
            Some((last, _)) => write_u64(&mut entry, (chunk.min_time - last) as u64),
        }
        write_u64(&mut entry, (chunk.max_time - chunk.min_time) as u64);
        match before {
            None => write_u64(&mut entry, at),
            Some((_, reference)) => write_i64(&mut entry, (at - reference) as i64),
        }
        before = Some((chunk.max_time, at));
    }
    entry
}

fn some_series() -> Vec<Series> {
    let up = vec![("__name__", "up"), ("job", "é")];
    let histogram = Arc::new(Histogram {
        count: 3.0,
        zero_count: 3.0,
        sum: 0.5,
        is_integer: true,
        ..Histogram::default()
    });
    vec![
        Series {
            labels: vec![("__name__", "latency")],
            histograms: vec![(BEGIN + 5, histogram)],
            ..Series::default()
        },
        Series {
            labels: up,
            // A day and a bit, and what is odd.
            floats: (0..300)
                .map(|i| (BEGIN + 1 + i * 300_000, if i == 299 { stale_marker() } else { i as f64 }))
                .collect(),
            ..Series::default()
        },
    ]
}

fn read_all(path: &Path) -> Result<Vec<Batch>, BlockError> {
    let mut batches = Vec::new();
    for block in find_blocks(path)? {
        let mut reader = BlockReader::open(&block)?;
        loop {
            let mut batch = Batch::default();
            let has_more = reader.fill(&mut batch)?;
            batches.push(batch);
            if !has_more {
                break;
            }
        }
    }
    Ok(batches)
}

#[test]
fn a_block_comes_back_to_the_bit_day_by_day() {
    let dir = tempfile::tempdir().unwrap();
    write_block(&dir.path().join(NAME), &some_series());
    let batches = read_all(dir.path()).unwrap();
    assert_eq!(batches.len(), 1);
    let expected: Vec<_> =
        some_series()[1].floats.iter().map(|(time, value)| (*time, value.to_bits())).collect();
    assert_eq!(batches[0].floats(), expected);
    let shown = batches[0].show();
    assert_eq!(shown[0], format!("latency histogram@{}", BEGIN + 5));
    assert_eq!(shown[1], format!("up{{job=\"é\"}} 0@{}", BEGIN + 1));
    // The block by itself is the same.
    assert_eq!(read_all(&dir.path().join(NAME)).unwrap()[0].show(), shown);
}

#[test]
fn a_full_batch_is_gone_on_from_where_it_ended() {
    let dir = tempfile::tempdir().unwrap();
    let series: Vec<Series> = ["a", "b"]
        .into_iter()
        .map(|name| Series {
            labels: vec![("__name__", name)],
            floats: (0..40_000).map(|i| (BEGIN + 1 + i * 4_000, i as f64)).collect(),
            ..Series::default()
        })
        .collect();
    write_block(&dir.path().join(NAME), &series);
    let batches = read_all(dir.path()).unwrap();
    assert!(batches[0].is_full() && batches.len() == 2);
    let of_first_day = |batch: &Batch| batch.floats().iter().filter(|(time, _)| *time <= BEGIN + DAY).count();
    assert_eq!(
        (of_first_day(&batches[0]), of_first_day(&batches[1])),
        (2 * 21_600, 0),
        "the first day of both first"
    );
    let mut all: Vec<_> = batches.iter().flat_map(Batch::floats).collect();
    all.sort_unstable();
    assert_eq!(all.len(), 80_000);
    assert!(
        all.chunks(2)
            .enumerate()
            .all(|(i, pair)| pair == [(BEGIN + 1 + i as i64 * 4_000, (i as f64).to_bits()); 2])
    );
}

#[test]
fn what_was_deleted_is_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(NAME);
    write_block(&path, &some_series());
    let mut index = index::Index::open(&path.join("index")).unwrap();
    let mut at = index.begin();
    index.next(&mut at).unwrap();
    let up = index.next(&mut at).unwrap().unwrap();
    let mut body = Vec::new();
    write_u64(&mut body, up.reference);
    write_i64(&mut body, BEGIN);
    write_i64(&mut body, BEGIN + 1 + 300_000);
    let stones = [&0x0130_ba30u32.to_be_bytes()[..], &[1], &body, &crc32c(&body).to_be_bytes()].concat();
    fs::write(path.join("tombstones"), stones).unwrap();
    let batches = read_all(dir.path()).unwrap();
    assert_eq!(batches[0].floats().len(), 298);
    assert_eq!(batches[0].floats()[0].0, BEGIN + 1 + 600_000);
}

#[test]
fn directories_without_blocks_and_blocks_being_written_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let tell = || read_all(dir.path()).err().unwrap().to_string();
    assert!(tell().contains("no block of a Prometheus TSDB is in it"));
    write_block(&dir.path().join(format!("{NAME}.tmp-for-creation")), &some_series());
    assert!(tell().contains("no block of a Prometheus TSDB is in it"));
    let path = dir.path().join(NAME);
    write_block(&path, &some_series());
    fs::write(path.join("meta.json"), r#"{"ulid":"x","version":2,"minTime":0}"#).unwrap();
    assert!(tell().contains("meta.json: block of version 2"), "{}", tell());
    fs::remove_file(path.join("index")).unwrap();
    fs::write(path.join("meta.json"), r#"{"ulid":"x","version":1,"minTime":0}"#).unwrap();
    assert!(tell().contains("index: cannot read"), "{}", tell());
}

#[test]
fn series_behind_the_end_of_the_index_are_no_empty_block() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(NAME);
    write_block(&path, &some_series());
    let file = path.join("index");
    let whole = fs::read(&file).unwrap();
    let contents_at = whole.len() - 6 * 8 - 4;
    let mut contents = whole[contents_at..contents_at + 6 * 8].to_vec();
    contents[8..16].copy_from_slice(&u64::MAX.to_be_bytes());
    fs::write(&file, [&whole[..contents_at], &with_checksum(&contents)].concat()).unwrap();
    let error = read_all(dir.path()).err().unwrap().to_string();
    assert!(error.contains("behind the end of the file"), "{error}");
}

/// What is read of a damaged block is an error or what was written, never something else.
#[test]
fn every_flipped_bit_and_every_cut_is_an_error_or_harmless() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(NAME);
    let mut series = some_series();
    series[1].floats.truncate(3);
    write_block(&path, &series);
    let good = read_all(dir.path()).unwrap()[0].show();
    for name in ["index", "chunks/000001"] {
        let file = path.join(name);
        let whole = fs::read(&file).unwrap();
        let mut failed = 0;
        let mut look = |bytes: &[u8]| {
            fs::write(&file, bytes).unwrap();
            match read_all(dir.path()) {
                Ok(batches) => assert_eq!(batches[0].show(), good, "{name}"),
                Err(_) => failed += 1,
            }
        };
        for bit in 0..whole.len() * 8 {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            look(&bytes);
        }
        (0..whole.len()).for_each(|len| look(&whole[..len]));
        // All but padding and the postings.
        assert!(failed > whole.len() * 6, "{name}: {failed} of {}", whole.len() * 9);
        fs::write(&file, whole).unwrap();
    }
}
