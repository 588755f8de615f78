//! Where the samples of a series lie.

/// A source of samples and the series' number there.
#[derive(Clone, Copy, Debug)]
pub enum Part {
    Segment { index: u32, ordinal: u32 },
    Head { generation: u32, shard: u32, id: u32 },
}

/// All of them, at least one, in order of sequence. Mostly it is but one, for which nothing is allocated.
#[derive(Clone, Debug)]
pub struct Parts {
    first: Part,
    others: Vec<Part>,
}

impl Parts {
    pub fn of(first: Part) -> Parts {
        Parts { first, others: Vec::new() }
    }

    pub fn push(&mut self, part: Part) {
        self.others.push(part);
    }

    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Part> {
        std::iter::once(&self.first).chain(&self.others)
    }
}
