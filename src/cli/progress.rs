//! How far a long command is, on stderr: a bar where that is a terminal, else a line now and then.

use std::io::{IsTerminal, Write, stderr};
use std::time::{Duration, Instant};

const DRAWN_EVERY: Duration = Duration::from_millis(200);
const LINE_EVERY: Duration = Duration::from_secs(10);
const BAR_COLUMNS: usize = 30;

pub struct Progress {
    /// What there is to do, in whatever `update` counts; `None` where nobody knows.
    total: Option<u64>,
    is_quiet: bool,
    is_terminal: bool,
    began: Instant,
    shown: Instant,
}

impl Progress {
    pub fn new(total: Option<u64>, is_quiet: bool) -> Progress {
        let now = Instant::now();
        Progress { total, is_quiet, is_terminal: stderr().is_terminal(), began: now, shown: now }
    }

    /// Once it is known how much there is to do.
    pub fn expect(&mut self, total: u64) {
        self.total = Some(total);
    }

    pub fn update(&mut self, done: u64, samples: u64) {
        let now = Instant::now();
        let every = if self.is_terminal { DRAWN_EVERY } else { LINE_EVERY };
        if self.is_quiet || now - self.shown < every {
            return;
        }
        self.shown = now;
        let line = line(self.total, done, samples, now - self.began, self.is_terminal);
        // Who closed stderr wants to see none of it.
        let _ = match self.is_terminal {
            true => write!(stderr(), "\r{line}\x1b[K"),
            false => writeln!(stderr(), "{line}"),
        };
    }

    /// Takes the bar away, so that other lines can follow.
    pub fn clear(&self) {
        if self.is_terminal && !self.is_quiet {
            let _ = write!(stderr(), "\r\x1b[K");
        }
    }
}

fn line(total: Option<u64>, done: u64, samples: u64, passed: Duration, has_bar: bool) -> String {
    let seconds = passed.as_secs_f64().max(0.001);
    let rate = samples as f64 / seconds;
    let counts = format!("{} samples, {}/s", short(samples as f64), short(rate));
    let Some(total) = total.filter(|total| *total > 0) else { return counts };
    let share = (done as f64 / total as f64).clamp(0.0, 1.0);
    let percent = (share * 100.0) as u32;
    let left = match share > 0.0 {
        true => format!(", {} left", clock((seconds / share - seconds) as u64)),
        false => String::new(),
    };
    let bar = match has_bar {
        true => {
            let filled = (share * BAR_COLUMNS as f64) as usize;
            format!("[{}{}] ", "=".repeat(filled), " ".repeat(BAR_COLUMNS - filled))
        }
        false => String::new(),
    };
    format!("{bar}{percent:3}%  {counts}{left}")
}

/// Three digits and a unit.
pub fn short(count: f64) -> String {
    match count {
        ..1e3 => format!("{count:.0}"),
        ..1e6 => format!("{:.1}k", count / 1e3),
        ..1e9 => format!("{:.1}M", count / 1e6),
        _ => format!("{:.1}G", count / 1e9),
    }
}

fn clock(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h{:02}m", seconds / 3_600, seconds / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_share_rate_and_what_is_left() {
        let ten = Duration::from_secs(10);
        assert_eq!(
            line(Some(400), 100, 2_000_000, ten, true),
            format!("[{}{}]  25%  2.0M samples, 200.0k/s, 30s left", "=".repeat(7), " ".repeat(23))
        );
        assert_eq!(line(Some(400), 400, 100, ten, false), "100%  100 samples, 10/s, 0s left");
        assert_eq!(line(Some(400), 0, 0, ten, false), "  0%  0 samples, 0/s");
        assert_eq!(line(None, 100, 999, ten, true), "999 samples, 100/s");
        assert_eq!(line(Some(0), 0, 5_000_000_000, ten, true), "5.0G samples, 500.0M/s");
        assert_eq!(clock(7_384), "2h03m");
    }
}
