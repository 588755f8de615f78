//! The tiers of samples as humans write them: `raw:15d,1m:90d,5m:365d,1h:365d`.

use std::path::PathBuf;
use std::time::Duration;

use super::values::{Expected, Setting};

/// One tier: samples as sent, or states of equal spans of time that stand for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tier {
    /// Zero: as sent.
    pub resolution: Duration,
    /// Up to this age samples have this resolution.
    pub age: Duration,
    /// Where its files lie; in the data directory if not said.
    pub dir: Option<PathBuf>,
}

/// The tiers, finest first. Invariant: the first one is raw; each resolution divides a day and is a multiple of the one
/// before; ages never shrink. [`Setting::set`] is the only way in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tiers(Vec<Tier>);

/// The manifest has a byte for the tier; nobody needs more steps than these between a second and a day.
const TIERS_MAX: usize = 8;
const RESOLUTION_MIN: Duration = Duration::from_secs(1);
const DAY_MS: u128 = 86_400_000;

/// Hours are as old as five minutes and a tenth of their size: what asks for a year asks for hours.
const DEFAULT: &str = "raw:15d,1m:90d,5m:365d,1h:365d";

impl Default for Tiers {
    fn default() -> Tiers {
        let mut tiers = Tiers(Vec::new());
        tiers.set(DEFAULT).expect("tested");
        tiers
    }
}

impl Tiers {
    pub fn as_slice(&self) -> &[Tier] {
        &self.0
    }

    /// Up to this age samples are kept as sent, and late ones taken.
    pub fn raw_age(&self) -> Duration {
        self.0[0].age
    }

    /// Up to this age anything of a sample is kept, and history filled in.
    pub fn longest_age(&self) -> Duration {
        self.0[self.0.len() - 1].age
    }
}

impl Setting for Tiers {
    fn set(&mut self, text: &str) -> Result<(), Expected> {
        let tiers: Vec<Tier> = text.split(',').map(|tier| read(tier.trim())).collect::<Result<_, _>>()?;
        check(&tiers)?;
        self.0 = tiers;
        Ok(())
    }

    fn show(&self) -> String {
        let tiers = self.0.iter().map(|tier| {
            let resolution = match tier.resolution {
                Duration::ZERO => "raw".to_owned(),
                resolution => resolution.show(),
            };
            let dir = tier.dir.as_ref().map_or(String::new(), |dir| format!(":{}", dir.display()));
            format!("{resolution}:{}{dir}", tier.age.show())
        });
        tiers.collect::<Vec<_>>().join(",")
    }
}

fn read(text: &str) -> Result<Tier, Expected> {
    const EXPECTED: Expected =
        Expected("tiers as RESOLUTION:AGE or RESOLUTION:AGE:DIRECTORY, such as raw:15d,1m:90d,5m:365d");
    let mut parts = text.splitn(3, ':');
    let (resolution, age) = (parts.next().ok_or(EXPECTED)?, parts.next().ok_or(EXPECTED)?);
    let mut tier = Tier { resolution: Duration::ZERO, age: Duration::ZERO, dir: None };
    if resolution != "raw" {
        tier.resolution.set(resolution).map_err(|_| EXPECTED)?;
        if tier.resolution < RESOLUTION_MIN {
            return Err(Expected("resolutions of a second or more, or raw"));
        }
    }
    tier.age.set(age).map_err(|_| EXPECTED)?;
    tier.dir = match parts.next() {
        Some("") => return Err(EXPECTED),
        dir => dir.map(PathBuf::from),
    };
    Ok(tier)
}

fn check(tiers: &[Tier]) -> Result<(), Expected> {
    if tiers.len() > TIERS_MAX {
        return Err(Expected("at most 8 tiers"));
    }
    if !tiers[0].resolution.is_zero() {
        return Err(Expected("raw first, such as raw:15d,1m:90d"));
    }
    if tiers[0].age.is_zero() {
        return Err(Expected("ages longer than nothing"));
    }
    for pair in tiers.windows(2) {
        let (finer, coarser) = (pair[0].resolution.as_millis(), pair[1].resolution.as_millis());
        if coarser <= finer {
            return Err(Expected("tiers from fine to coarse, such as raw:15d,1m:90d,5m:365d"));
        }
        if !DAY_MS.is_multiple_of(coarser) {
            return Err(Expected("resolutions that divide a day, such as 1m, 5m, 1h"));
        }
        if finer > 0 && !coarser.is_multiple_of(finer) {
            return Err(Expected("each resolution a multiple of the one before, such as 1m and then 5m"));
        }
        if pair[1].age < pair[0].age {
            return Err(Expected("no age shorter than the one before, such as raw:15d,1m:90d"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(text: &str) -> Result<Tiers, String> {
        let mut tiers = Tiers::default();
        tiers.set(text).map(|()| tiers).map_err(|expected| expected.to_string())
    }

    #[test]
    fn what_is_read_is_shown_again() {
        for text in ["raw:15d", DEFAULT, "raw:15d,1m:15d", "raw:7d:/fast,1m:30d:/mnt/a:b,1h:3650d"] {
            assert_eq!(set(text).unwrap().show(), text);
        }
        let tiers = set("raw:7d, 1m:30d:/mnt/a:b").unwrap();
        assert_eq!(tiers.as_slice()[1].dir.as_deref(), Some(std::path::Path::new("/mnt/a:b")));
        assert_eq!(tiers.raw_age(), Duration::from_secs(7 * 86_400));
        assert_eq!(tiers.longest_age(), Duration::from_secs(30 * 86_400));
    }

    #[test]
    fn tiers_that_cannot_be_are_refused_with_the_reason() {
        for (text, reason) in [
            ("", "RESOLUTION:AGE"),
            ("raw", "RESOLUTION:AGE"),
            ("raw:15d,", "RESOLUTION:AGE"),
            ("raw:15d:", "RESOLUTION:AGE"),
            ("raw:soon", "RESOLUTION:AGE"),
            ("1m:15d", "raw first"),
            ("raw:0s", "longer than nothing"),
            ("raw:15d,10ms:90d", "a second or more"),
            ("raw:15d,5m:90d,1m:365d", "from fine to coarse"),
            ("raw:15d,raw:90d", "from fine to coarse"),
            ("raw:15d,7m:90d", "divide a day"),
            ("raw:15d,2d:90d", "divide a day"),
            ("raw:15d,4m:90d,6m:365d", "a multiple of the one before"),
            ("raw:15d,1m:14d", "shorter than the one before"),
            ("raw:1d,1s:2d,2s:3d,4s:4d,8s:5d,16s:6d,32s:7d,64s:8d,128s:9d", "at most 8"),
        ] {
            let refused = set(text).unwrap_err();
            assert!(refused.contains(reason), "{text}: {refused}");
        }
    }
}
