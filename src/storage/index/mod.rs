//! Who has which label: dictionaries, postings and the labels of each series (`storage-format.md` §5.4, §5.5).
//!
//! An index lives inside a segment and dies with it; a segment of the same series may have a copy. Series are ordinals, 0 and up in order of their labels;
//! label names and the values of a name are numbered in byte order.

mod copy;
mod dictionary;
mod forward;
mod label_ranks;
mod labels_reader;
mod postings;
mod ranked_writer;
mod reader;
mod recent;
mod sections;
mod select;
mod verify;
mod without;
mod writer;

#[cfg(test)]
mod tests;

pub use copy::IndexCopy;
pub use forward::LabelIds;
pub use label_ranks::{LabelRanks, RankedLabels};
pub use labels_reader::LabelsReader;
pub use postings::{decode as decode_ordinals, encode as encode_ordinals};
pub use ranked_writer::{OutOfOrder, RankedIndexWriter};
pub use reader::Index;
pub use sections::{HoldersWriter, SeriesLabelsWriter, ValuesWriter};
pub use writer::IndexWriter;

use crate::storage::segment::SectionId;

pub const SERIES: SectionId = SectionId(4);
pub const DICTIONARY: SectionId = SectionId(5);
pub const POSTINGS: SectionId = SectionId(6);
pub const NAMES: SectionId = SectionId(7);
