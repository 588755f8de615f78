//! How many threads work on one query side by side.

use std::num::NonZero;
use std::sync::LazyLock;

const THREADS_MAX: usize = 8;

/// One a core, but few enough to leave a large machine to other queries.
pub fn thread_count() -> usize {
    // To ask the system reads files of its control groups.
    static COUNT: LazyLock<usize> =
        LazyLock::new(|| std::thread::available_parallelism().map_or(1, NonZero::get).min(THREADS_MAX));
    *COUNT
}
