//! How fast a segment is written: seals hurry, since writers wait for the memory; merges and roll-ups step aside for
//! whoever waits for an answer.

use std::io::{self, Write};

use rustix::process::{getpriority_process, setpriority_process};

use super::fs::WriteFile;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    /// Memory is full until it is done.
    Hurried,
    /// Nobody waits for it.
    Background,
}

/// What the allocator asks the system for, and gives back to it, at a time.
const RUN_BYTES: usize = 32 << 20;

/// Beside a thread of the usual priority this one gets a tenth of a core: enough to keep up with what such a core takes in.
const BACKGROUND_NICE: i32 = 10;
/// The log's sync must not wait for more of a background file than this. A day of it, written back at once, takes seconds.
const UNSYNCED_BYTES_MAX: usize = 8 << 20;

/// Runs work at this pace, on a thread of its own: the allocator keeps what a thread has freed for what that thread will
/// ask for next, until the thread ends and [`give_back`] is called.
pub(super) fn run<T: Send>(pace: Pace, work: impl FnOnce() -> T + Send) -> T {
    let work = move || {
        if pace == Pace::Background {
            step_aside();
        }
        work()
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("segment-writer".to_owned()).spawn_scoped(scope, work);
        let thread = thread.expect("the system can start a few threads");
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Lets the system have back what finished threads freed: the allocator does that only when it gets back memory of this
/// size, a tenth of a second later or more. To be called now and then; memory that nobody writes to costs nothing.
pub(super) fn give_back() {
    let mut run = Vec::<u8>::new();
    // Where the system has no more to give, there is nothing to wait for either.
    let _ = run.try_reserve_exact(RUN_BYTES);
    drop(std::hint::black_box(run));
}

/// Lowers the priority of this thread alone (Linux's setpriority(2) knows threads), where it is not as low already.
fn step_aside() {
    let lowered = getpriority_process(None).and_then(|nice| match nice {
        BACKGROUND_NICE.. => Ok(()),
        _ => setpriority_process(None, BACKGROUND_NICE),
    });
    if let Err(error) = lowered {
        tracing::debug!(%error, "cannot lower the priority of a merge; it runs as all else");
    }
}

/// A file of which, in the background, only a little at a time waits to be written back.
pub(super) struct PacedFile {
    file: Box<dyn WriteFile>,
    pace: Pace,
    unsynced_bytes: usize,
}

impl PacedFile {
    pub fn new(file: Box<dyn WriteFile>, pace: Pace) -> PacedFile {
        PacedFile { file, pace, unsynced_bytes: 0 }
    }

    /// As [`WriteFile::sync`].
    pub fn sync(&mut self) -> io::Result<()> {
        self.unsynced_bytes = 0;
        self.file.sync()
    }
}

impl Write for PacedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.pace == Pace::Background && self.unsynced_bytes >= UNSYNCED_BYTES_MAX {
            self.sync()?;
        }
        let written = self.file.write(bytes)?;
        self.unsynced_bytes += written;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn only_background_work_steps_aside_and_only_while_it_runs() {
        let usual = getpriority_process(None).unwrap();
        assert_eq!(run(Pace::Hurried, || getpriority_process(None).unwrap()), usual);
        assert_eq!(run(Pace::Background, || getpriority_process(None).unwrap()), usual.max(BACKGROUND_NICE));
        assert_eq!(getpriority_process(None).unwrap(), usual);
    }

    /// Remembers the most that was ever written and not synced.
    #[derive(Default)]
    struct Dirty {
        now: usize,
        most: Arc<AtomicUsize>,
    }

    impl Write for Dirty {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.now += bytes.len();
            self.most.fetch_max(self.now, Ordering::Relaxed);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl WriteFile for Dirty {
        fn preallocate(&mut self, _: u64) -> io::Result<()> {
            Ok(())
        }

        fn cut(&mut self, _: u64) -> io::Result<()> {
            Ok(())
        }

        fn sync(&mut self) -> io::Result<()> {
            self.now = 0;
            Ok(())
        }
    }

    #[test]
    fn little_of_a_background_file_waits_for_the_disk() {
        for (pace, most_allowed) in
            [(Pace::Background, UNSYNCED_BYTES_MAX + (1 << 20)), (Pace::Hurried, usize::MAX)]
        {
            let dirty = Dirty::default();
            let most = dirty.most.clone();
            let mut file = PacedFile::new(Box::new(dirty), pace);
            (0..40).for_each(|_| file.write_all(&[1; 1 << 20]).unwrap());
            let most = most.load(Ordering::Relaxed);
            assert!(
                most <= most_allowed && (pace == Pace::Background || most == 40 << 20),
                "{pace:?}: {most}"
            );
        }
    }
}
