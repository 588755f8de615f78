//! The index of what is made of several segments. Where these have the same series it is theirs, and nobody looks at the text of a
//! label; else it is made of the labels of the series that are written: also where that part of it is damaged that labels are not
//! read from. Either way it is damage where series are not in order.

use std::io::{self, Write};

use super::segment_reader::MetricsSegment;
use super::walk::Walk;
use crate::storage::index::{IndexCopy, LabelRanks, OutOfOrder, RankedIndexWriter};
use crate::storage::segment::{SegmentError, SegmentWriter};

/// An index under construction.
pub(super) enum MergedIndex<'a> {
    /// So many series were written: the first ones of this segment, each of them.
    Same {
        of: &'a MetricsSegment,
        series_count: u32,
    },
    Made(RankedIndexWriter),
}

/// An index, ready to be written, to several segments if need be.
pub(super) enum WholeIndex<'a> {
    Copy(IndexCopy<'a>),
    Made(RankedIndexWriter, LabelRanks),
}

impl<'a> MergedIndex<'a> {
    /// Of no series yet of those that are walked.
    pub fn of(walk: &Walk<'a>) -> MergedIndex<'a> {
        match walk.same_series() {
            Some(of) => MergedIndex::Same { of, series_count: 0 },
            None => MergedIndex::Made(RankedIndexWriter::default()),
        }
    }

    /// Adds the series that the walk stands at: in the first of the segments that have it, by its place, it has this ordinal.
    pub fn add(&mut self, walk: &mut Walk<'a>, (place, ordinal): (usize, u32)) -> Result<(), SegmentError> {
        if let MergedIndex::Same { of, series_count } = self {
            if ordinal == *series_count {
                *series_count += 1;
                return Ok(());
            }
            // Of one before it nothing is left.
            *self = MergedIndex::Made(index_of(of, *series_count, walk)?);
        }
        if let MergedIndex::Made(index) = self {
            // All segments stood at this series or behind it when the one before was added: this one has gone back.
            index.add(walk.labels()?).map_err(|OutOfOrder| walk.segments()[place].out_of_order())?;
        }
        Ok(())
    }

    /// What was added.
    pub fn finish(self, mut walk: Walk<'a>) -> Result<WholeIndex<'a>, SegmentError> {
        let made = match self {
            MergedIndex::Same { of, series_count } => {
                if series_count == of.series_count()
                    && let Ok(copy) = IndexCopy::of(of.index())
                {
                    // 0.1 µs a series, a fiftieth of a merge of eight seals.
                    of.index().verify_order()?;
                    return Ok(WholeIndex::Copy(copy));
                }
                // Postings are made anew where they are damaged; what else is, the labels are read from, and who reads them reports it.
                index_of(of, series_count, &mut walk)?
            }
            MergedIndex::Made(index) => index,
        };
        Ok(WholeIndex::Made(made, walk.into_ranks()))
    }
}

impl WholeIndex<'_> {
    pub fn series_count(&self) -> usize {
        match self {
            WholeIndex::Copy(index) => index.series_count(),
            WholeIndex::Made(index, _) => index.series_count(),
        }
    }

    pub fn write<W: Write>(&self, to: &mut SegmentWriter<W>) -> io::Result<()> {
        match self {
            WholeIndex::Copy(index) => index.write(to),
            WholeIndex::Made(index, ranks) => index.finish(ranks, to),
        }
    }
}

/// Of the first series of a segment, which all that are walked have.
fn index_of(
    segment: &MetricsSegment,
    series_count: u32,
    walk: &mut Walk<'_>,
) -> Result<RankedIndexWriter, SegmentError> {
    let (mut index, mut labels) = (RankedIndexWriter::default(), Vec::new());
    for ordinal in 0..series_count {
        walk.read_labels(ordinal, &mut labels)?;
        index.add(&labels).map_err(|OutOfOrder| segment.out_of_order())?;
    }
    Ok(index)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::super::segment_tests::out_of_order;
    use super::super::{
        MetricsSegment, MetricsSegmentWriter, RollUp, SeriesData, VisibleSegment, merge_segments, roll_up,
    };
    use crate::codec::Effort;
    use crate::model::{Labels, MatchOp, Matcher, MetricType, TimeRange, Timestamp, time::DAY, time::MINUTE};
    use crate::storage::errors::MergeError;
    use crate::storage::fs::Mapped;
    use crate::storage::index::{DICTIONARY, NAMES, POSTINGS, SERIES};
    use crate::storage::segment::{SectionId, Segment};
    use crate::storage::tombstone::Tombstone;

    /// Numbers of series.
    type Series = BTreeSet<usize>;
    type Samples = BTreeMap<usize, Vec<(Timestamp, f64)>>;

    fn labels(number: usize) -> Labels {
        let instance = number.to_string();
        Labels::from_pairs([("__name__", ["up", "down"][number % 2]), ("instance", &instance)]).unwrap()
    }

    fn samples(series: &Series, from: Timestamp) -> Samples {
        let samples = |number| (1..4).map(|at| (from + at * 15_000, (number as i64 * at) as f64)).collect();
        series.iter().map(|&number| (number, samples(number))).collect()
    }

    /// A segment of samples, whose index is made of the labels.
    fn file(samples: &Samples) -> Vec<u8> {
        let mut to = MetricsSegmentWriter::new(Vec::new(), 0, 0).unwrap();
        let in_order: BTreeMap<Labels, _> =
            samples.iter().map(|(&number, of)| (labels(number), of)).collect();
        for (labels, samples) in in_order {
            let (times, values): (Vec<_>, Vec<_>) = samples.iter().copied().unzip();
            let data = SeriesData { float_timestamps: &times, floats: &values, ..SeriesData::default() };
            to.series(&labels, &data).unwrap();
        }
        to.finish(1, 9).unwrap().0
    }

    fn open(file: Vec<u8>, hidden: &Series) -> Arc<VisibleSegment> {
        let segment = Segment::open(Arc::new(Mapped::Heap(file)), "a.seg").unwrap();
        let is_of =
            |number: &usize| vec![Matcher::new("instance", MatchOp::Equal, number.to_string()).unwrap()];
        let selectors = hidden.iter().map(is_of).collect();
        let tombstone = Tombstone { seq: 10, range: TimeRange::ALL, raw_floor: 0, selectors };
        let segment = Arc::new(MetricsSegment::open(segment));
        Arc::new(VisibleSegment::under(segment, &[Arc::new(tombstone)], &[]).unwrap())
    }

    /// The file with a bit of this section flipped, somewhere in the middle.
    fn damaged(file: &[u8], id: SectionId) -> Vec<u8> {
        let segment = Segment::open(Arc::new(Mapped::Heap(file.to_vec())), "a.seg").unwrap();
        let section = segment.section(id).unwrap();
        let bytes = section.raw();
        let at = file.windows(bytes.len()).position(|window| window == bytes).unwrap();
        let mut damaged = file.to_vec();
        damaged[at + section.len() as usize / 2] ^= 1;
        damaged
    }

    /// The files of a merge and of a roll-up in one resolution.
    fn written(inputs: &[Arc<VisibleSegment>]) -> [Result<Vec<u8>, MergeError>; 2] {
        let merged = merge_segments(inputs, (1, 9), Effort::Fast, Vec::new(), || false);
        let plan = RollUp {
            raw: inputs,
            older: &[],
            older_resolution: MINUTE,
            range: TimeRange { after: 0, until: DAY },
            resolutions: &[MINUTE],
            types: &|_| MetricType::Gauge,
            seqs: (1, 9),
        };
        let rolled_up = roll_up(&plan, vec![Vec::new()], || false);
        [merged.map(|merged| merged.unwrap().0), rolled_up.map(|mut files| files.remove(0).unwrap().0)]
    }

    #[test]
    fn an_index_is_not_copied_whose_series_are_out_of_order() {
        let series: Series = (0..12).collect();
        let files = [0, MINUTE].map(|from| out_of_order(&file(&samples(&series, from))));
        for count in 1..=files.len() {
            let turned: Vec<_> =
                files[..count].iter().map(|file| open(file.clone(), &Series::new())).collect();
            for found in written(&turned) {
                let Err(MergeError::Read(error)) = found else { panic!("it was copied") };
                assert!(error.to_string().contains("not in order"), "{error}");
            }
        }
    }

    #[test]
    fn what_no_labels_are_read_from_may_be_damaged() {
        let series: Series = (0..12).collect();
        let files = [0, MINUTE].map(|from| file(&samples(&series, from)));
        for count in 1..=files.len() {
            let opened = |files: &[Vec<u8>]| -> Vec<Arc<VisibleSegment>> {
                files.iter().map(|file| open(file.clone(), &Series::new())).collect()
            };
            let expected = written(&opened(&files[..count])).map(Result::unwrap);
            for id in [NAMES, DICTIONARY, SERIES, POSTINGS] {
                let mut files = files[..count].to_vec();
                files[0] = damaged(&files[0], id);
                for (found, expected) in written(&opened(&files)).into_iter().zip(&expected) {
                    match found {
                        Ok(found) => assert!(id == POSTINGS && found == *expected, "of section {id}"),
                        Err(error) => {
                            assert!(id != POSTINGS && matches!(error, MergeError::Read(_)), "of section {id}")
                        }
                    }
                }
            }
        }
    }

    /// Of most segments the same.
    fn series_of_segments() -> impl Strategy<Value = Vec<Series>> {
        let series = || prop::collection::btree_set(0usize..12, 1..12);
        (series(), prop::collection::vec(prop::option::weighted(0.1, series()), 1..5)).prop_map(
            |(most, others)| others.into_iter().map(|other| other.unwrap_or_else(|| most.clone())).collect(),
        )
    }

    proptest! {
        #[test]
        fn it_is_the_index_of_the_labels_of_what_is_left(
            segments in series_of_segments(), hidden in prop::option::weighted(0.3, prop::collection::btree_set(0usize..12, 1..4)),
            absent in prop::collection::btree_set((0usize..5, 0usize..12), 0..6),
        ) {
            let (hidden, mut expected) = (hidden.unwrap_or_default(), Samples::new());
            let mut inputs = Vec::new();
            for (at, series) in segments.iter().enumerate() {
                let mut samples = samples(series, at as i64 * MINUTE);
                // Named by the index alone.
                samples.iter_mut().filter(|(number, _)| absent.contains(&(at, **number))).for_each(|(_, samples)| samples.clear());
                inputs.push(open(file(&samples), &hidden));
                let visible = samples.into_iter().filter(|(number, of)| !hidden.contains(number) && !of.is_empty());
                visible.for_each(|(number, samples)| expected.entry(number).or_default().extend(samples));
            }
            let merged = merge_segments(&inputs, (1, 9), Effort::Fast, Vec::new(), || false).unwrap();
            prop_assert_eq!(merged.is_some(), !expected.is_empty());
            if let Some((merged, _)) = merged {
                prop_assert!(merged == file(&expected), "another file than that of the labels");
            }
            let resolutions = [MINUTE, 5 * MINUTE];
            let plan = RollUp {
                raw: &inputs, older: &[], older_resolution: MINUTE, range: TimeRange { after: 0, until: DAY },
                resolutions: &resolutions, types: &|_| MetricType::Gauge, seqs: (1, 9),
            };
            let rollups = roll_up(&plan, vec![Vec::new(), Vec::new()], || false).unwrap();
            prop_assert_eq!(rollups.len(), 2);
            let expected = (!expected.is_empty()).then(|| open(file(&expected), &Series::new()));
            for rollup in rollups {
                prop_assert_eq!(rollup.is_some(), expected.is_some());
                let (Some((rollup, _)), Some(expected)) = (rollup, &expected) else { continue };
                let rollup = open(rollup, &Series::new());
                rollup.segment().verify().unwrap();
                prop_assert!(rollup.segment().index().is_same_as(expected.segment().index()).unwrap());
            }
        }
    }
}
