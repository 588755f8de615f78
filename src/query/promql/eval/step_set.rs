//! A set of steps, one bit each.

/// Steps of a grid.
#[derive(Clone, Debug, Default)]
pub struct StepSet(Vec<u64>);

impl StepSet {
    pub fn new(steps: usize) -> StepSet {
        StepSet(vec![0; steps.div_ceil(64)])
    }

    /// False if it was there already.
    pub fn insert(&mut self, step: usize) -> bool {
        let (word, bit) = (&mut self.0[step / 64], 1 << (step % 64));
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }

    pub fn first(&self) -> Option<usize> {
        let word = self.0.iter().position(|&word| word != 0)?;
        Some(word * 64 + self.0[word].trailing_zeros() as usize)
    }

    pub fn contains(&self, step: usize) -> bool {
        self.0[step / 64] & (1 << (step % 64)) != 0
    }
}
