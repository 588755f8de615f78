//! Reading a generation back after a crash.
//!
//! A bad frame with no good one behind it is the mark of a crash: nobody was told "yes" about it, it is dropped.
//! A bad frame between good ones is damage: it alone is lost, and that is reported.

use std::io;
use std::path::PathBuf;

use super::frame::{FILE_HEADER_BYTES, FRAME_ALIGN, FRAME_HEADER_BYTES, FileHeader, RawHeader, payload_sum};
use super::{FileLog, FrameHeader, generation_dir};

/// One frame as it was written.
#[derive(Debug)]
pub struct Frame<'a> {
    pub header: FrameHeader,
    pub payload: &'a [u8],
}

/// Bytes of the log that hold no valid frame although valid ones follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    pub path: PathBuf,
    pub offset: u64,
    pub len: u64,
}

/// What a replay met.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GenerationReport {
    pub frames: u64,
    pub bytes: u64,
    pub torn_bytes: u64,
    pub damage: Vec<Damage>,
}

/// Visits every valid frame of a generation in the order it was written.
pub fn replay_generation(
    log: &FileLog,
    generation: u64,
    visit: &mut dyn FnMut(Frame<'_>),
) -> io::Result<GenerationReport> {
    let dir = generation_dir(&log.data_dir, generation);
    let names: Vec<String> = log.fs.list(&dir)?.into_iter().filter(|name| name.ends_with(".wal")).collect();
    let mut report = GenerationReport::default();
    // The bad tail of a file, kept until the next file says whether that one was given up.
    let mut bad_tail: Option<Damage> = None;
    for name in &names {
        let path = dir.join(name);
        let bytes = log.fs.read(&path)?;
        let header = FileHeader::decode(&bytes).filter(|h| h.generation == generation);
        if let Some(tail) = bad_tail.take() {
            match header {
                Some(header) if header.follows_failure => report.torn_bytes += tail.len,
                _ => report.damage.push(tail),
            }
        }
        bad_tail = replay_file(&bytes, path, header.is_some(), generation, &mut report, visit);
    }
    report.torn_bytes += bad_tail.map_or(0, |tail| tail.len);
    Ok(report)
}

/// What one file says of itself.
pub struct FileSummary {
    pub generation: u64,
    pub number: u32,
    pub follows_failure: bool,
    pub report: GenerationReport,
    /// What stands behind the last frame and is none: torn, or damage if the next file does not say so.
    pub bad_tail: Option<Damage>,
}

/// Visits the frames of one file by itself; `None` if its header is not one.
pub fn read_file(bytes: &[u8], path: PathBuf, visit: &mut dyn FnMut(Frame<'_>)) -> Option<FileSummary> {
    let FileHeader { generation, number, follows_failure } = FileHeader::decode(bytes)?;
    let mut report = GenerationReport::default();
    let bad_tail = replay_file(bytes, path, true, generation, &mut report, visit);
    Some(FileSummary { generation, number, follows_failure, report, bad_tail })
}

/// Visits the frames of one file; returns its tail if that holds something which is no frame.
fn replay_file(
    bytes: &[u8],
    path: PathBuf,
    header_is_good: bool,
    generation: u64,
    report: &mut GenerationReport,
    visit: &mut dyn FnMut(Frame<'_>),
) -> Option<Damage> {
    // Nothing begins behind the last byte that is not zero: that room was reserved and never written.
    let used = bytes.iter().rposition(|&b| b != 0).map_or(0, |last| last + 1);
    // A damaged file header loses nothing: the frames vouch for themselves.
    let mut at = FILE_HEADER_BYTES.min(bytes.len());
    let mut bad_from = if header_is_good { None } else { Some(0) };
    while at < used {
        let Some((frame, end)) = frame_at(bytes, at, generation) else {
            bad_from.get_or_insert(at);
            at += FRAME_ALIGN;
            continue;
        };
        if let Some(from) = bad_from.take()
            && bytes[from..at].iter().any(|&b| b != 0)
        {
            report.damage.push(Damage { path: path.clone(), offset: from as u64, len: (at - from) as u64 });
        }
        report.frames += 1;
        report.bytes += (end - at) as u64;
        visit(frame);
        at = end;
    }
    let from = bad_from.unwrap_or(at);
    (from < used).then(|| Damage { path, offset: from as u64, len: (used - from) as u64 })
}

fn frame_at(bytes: &[u8], at: usize, generation: u64) -> Option<(Frame<'_>, usize)> {
    let raw = RawHeader::decode(&bytes[at..], generation)?;
    let payload = bytes.get(at + FRAME_HEADER_BYTES..)?.get(..raw.payload_len)?;
    if payload_sum(payload, generation) != raw.payload_sum {
        return None;
    }
    let end = (at + FRAME_HEADER_BYTES + raw.payload_len).next_multiple_of(FRAME_ALIGN);
    Some((Frame { header: raw.header, payload }, end))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;
    use std::sync::Arc;

    use super::super::{FrameBuffer, GenerationWriter};
    use super::*;
    use crate::storage::fs::faulty::{Faults, FaultyFs};

    fn log(fs: &FaultyFs) -> FileLog {
        use crate::storage::fs::Fs;
        fs.create_dir(Path::new("/d/wal")).unwrap();
        FileLog { fs: Arc::new(fs.clone()), data_dir: "/d".into(), file_bytes: 4096, reserve_bytes: 512 }
    }

    fn frame(seq: u64, len: usize) -> Vec<u8> {
        let mut frame = FrameBuffer::new();
        frame.payload().extend((0..len).map(|i| (seq as usize + i) as u8));
        frame.finish(FrameHeader { seq, signal: 1, shard: 2 }, 7)
    }

    fn seqs(fs: &FaultyFs) -> (Vec<u64>, GenerationReport) {
        let mut seen = Vec::new();
        let report = replay_generation(&log(fs), 7, &mut |f| seen.push(f.header.seq)).unwrap();
        (seen, report)
    }

    fn written(frames: u64) -> FaultyFs {
        let fs = FaultyFs::default();
        let mut writer = GenerationWriter::new(log(&fs), 7);
        for seq in 1..=frames {
            writer.write(&frame(seq, 100 + seq as usize)).unwrap();
        }
        writer.sync().unwrap();
        fs
    }

    fn with_bytes(fs: &FaultyFs, change: impl Fn(&mut Vec<u8>)) -> FaultyFs {
        let mut files: BTreeMap<_, _> = fs.files();
        change(files.values_mut().next().unwrap());
        FaultyFs::with_files(files, [])
    }

    #[test]
    fn frames_come_back_in_order_across_files() {
        let (seen, report) = seqs(&written(100));
        assert_eq!(seen, (1..=100).collect::<Vec<_>>());
        assert_eq!((report.torn_bytes, report.damage.len()), (0, 0));
    }

    #[test]
    fn a_cut_anywhere_loses_only_the_frame_it_tore() {
        let whole = written(10);
        let len = whole.files().values().next().unwrap().iter().rposition(|&b| b != 0).unwrap() + 1;
        for cut in 0..len {
            let (seen, report) = seqs(&with_bytes(&whole, |file| file.truncate(cut)));
            assert_eq!(seen, (1..=seen.len() as u64).collect::<Vec<_>>(), "cut at {cut}");
            assert!(report.damage.is_empty(), "cut at {cut}");
        }
    }

    #[test]
    fn a_flipped_bit_costs_its_frame_alone() {
        let whole = written(10);
        let len = whole.files().values().next().unwrap().iter().rposition(|&b| b != 0).unwrap() + 1;
        for bit in 0..len * 8 {
            let (seen, report) = seqs(&with_bytes(&whole, |file| file[bit / 8] ^= 1 << (bit % 8)));
            assert!(seen.len() >= 9, "bit {bit}: {seen:?}");
            assert!(seen.is_sorted(), "bit {bit}");
            let lost_inside = seen.len() == 9 && seen.last() == Some(&10);
            assert!(!lost_inside || report.damage.len() == 1, "bit {bit}: {report:?}");
        }
    }

    #[test]
    fn frames_of_another_generation_are_not_taken() {
        let fs = written(3);
        let mut seen = 0;
        let files = fs
            .files()
            .into_iter()
            .map(|(p, b)| (PathBuf::from(p.to_string_lossy().replace("07/", "08/")), b))
            .collect();
        let other = FaultyFs::with_files(files, []);
        replay_generation(&log(&other), 8, &mut |_| seen += 1).unwrap();
        assert_eq!(seen, 0);
    }

    #[test]
    fn after_a_failed_sync_the_frames_go_to_another_file_and_the_old_tail_is_no_damage() {
        let fs = FaultyFs::default();
        let mut writer = GenerationWriter::new(log(&fs), 7);
        writer.write(&frame(1, 100)).unwrap();
        writer.sync().unwrap();
        fs.set_faults(Faults { failing_syncs: 1, ..Faults::default() });
        writer.write(&frame(2, 100)).unwrap();
        assert!(writer.sync().is_err());
        writer.give_up();
        writer.write(&frame(2, 100)).unwrap();
        writer.sync().unwrap();
        // The first file may hold the failed frame, half of it or nothing of it.
        let (seen, _) = seqs(&fs);
        assert_eq!(seen, [1, 2, 2]);
        let (seen, report) = seqs(&with_bytes(&fs, |file| file[200..].fill(0)));
        assert_eq!((seen, report.damage.len()), (vec![1, 2], 0));
    }
}
