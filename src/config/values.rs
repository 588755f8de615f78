//! Values of options as humans write them: `15d`, `64MiB`, `on`, `127.0.0.1:8365`. What [`Setting::show`] prints,
//! [`Setting::set`] reads back to the same value.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// What an option would have accepted instead of the text it was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {0}")]
pub struct Expected(pub &'static str);

/// A field of the configuration, whatever its type.
pub trait Setting {
    fn set(&mut self, text: &str) -> Result<(), Expected>;
    fn show(&self) -> String;
    /// True where the flag alone, without a value, means `on`.
    fn is_switch(&self) -> bool {
        false
    }
    /// True where a flag may be given more than once, and its values add up.
    fn is_list(&self) -> bool {
        false
    }
    /// True where TOML writes the value without quotes.
    fn is_bare_in_toml(&self) -> bool {
        false
    }
}

impl Setting for PathBuf {
    fn set(&mut self, text: &str) -> Result<(), Expected> {
        if text.is_empty() {
            return Err(Expected("a path"));
        }
        *self = text.into();
        Ok(())
    }

    fn show(&self) -> String {
        self.display().to_string()
    }
}

/// A path, or `off`.
impl Setting for Option<PathBuf> {
    fn set(&mut self, text: &str) -> Result<(), Expected> {
        *self = match text {
            "" => return Err(Expected("a path, or off")),
            "off" => None,
            path => Some(path.into()),
        };
        Ok(())
    }

    fn show(&self) -> String {
        self.as_ref().map_or("off".to_owned(), |path| path.display().to_string())
    }
}

impl Setting for bool {
    fn set(&mut self, text: &str) -> Result<(), Expected> {
        *self = match text {
            "on" | "true" => true,
            "off" | "false" => false,
            _ => return Err(Expected("on or off")),
        };
        Ok(())
    }

    fn show(&self) -> String {
        if *self { "on" } else { "off" }.to_owned()
    }

    fn is_switch(&self) -> bool {
        true
    }
}

impl Setting for u64 {
    fn set(&mut self, text: &str) -> Result<(), Expected> {
        *self = text.replace('_', "").parse().map_err(|_| Expected("a whole number such as 50000"))?;
        Ok(())
    }

    fn show(&self) -> String {
        self.to_string()
    }

    fn is_bare_in_toml(&self) -> bool {
        true
    }
}

impl Setting for SocketAddr {
    fn set(&mut self, text: &str) -> Result<(), Expected> {
        let numeric = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
        *self = numeric
            .as_deref()
            .unwrap_or(text)
            .parse()
            .map_err(|_| Expected("an address such as 127.0.0.1:8365"))?;
        Ok(())
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

/// An address, or `off`.
impl Setting for Option<SocketAddr> {
    fn set(&mut self, text: &str) -> Result<(), Expected> {
        if text == "off" {
            *self = None;
            return Ok(());
        }
        let mut address = SocketAddr::from(([127, 0, 0, 1], 0));
        address.set(text).map_err(|_| Expected("an address such as 127.0.0.1:4317, or off"))?;
        *self = Some(address);
        Ok(())
    }

    fn show(&self) -> String {
        self.map_or("off".to_owned(), |address| address.to_string())
    }
}

/// Words separated by commas.
impl Setting for Vec<String> {
    fn set(&mut self, text: &str) -> Result<(), Expected> {
        *self = text.split(',').map(|word| word.trim().to_owned()).filter(|word| !word.is_empty()).collect();
        Ok(())
    }

    fn show(&self) -> String {
        self.join(",")
    }

    fn is_list(&self) -> bool {
        true
    }
}

/// A number of bytes: `512KiB`, `64MiB`, `2GiB`, `1TiB`, or plain bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ByteSize(pub u64);

const SIZE_UNITS: [(&str, u64); 5] =
    [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

impl Setting for ByteSize {
    fn set(&mut self, text: &str) -> Result<(), Expected> {
        const EXPECTED: Expected = Expected("a size such as 512KiB, 64MiB or 2GiB");
        let (number, unit) = SIZE_UNITS
            .iter()
            .find_map(|(name, unit)| text.strip_suffix(name).map(|number| (number, *unit)))
            .unwrap_or((text, 1));
        let number: u64 = number.trim_end().parse().map_err(|_| EXPECTED)?;
        self.0 = number.checked_mul(unit).ok_or(EXPECTED)?;
        Ok(())
    }

    fn show(&self) -> String {
        let whole = |unit: u64| self.0 >= unit && self.0.is_multiple_of(unit);
        match SIZE_UNITS.iter().find(|(_, unit)| whole(*unit)) {
            Some((name, unit)) if *unit > 1 => format!("{}{name}", self.0 / unit),
            _ => self.0.to_string(),
        }
    }
}

/// A size, or `auto`: what suits the machine.
impl Setting for Option<ByteSize> {
    fn set(&mut self, text: &str) -> Result<(), Expected> {
        if text == "auto" {
            *self = None;
            return Ok(());
        }
        let mut size = ByteSize::default();
        size.set(text).map_err(|_| Expected("a size such as 64MiB, 0, or auto"))?;
        *self = Some(size);
        Ok(())
    }

    fn show(&self) -> String {
        self.as_ref().map_or("auto".to_owned(), ByteSize::show)
    }
}

const TIME_UNITS: [(&str, u64); 6] =
    [("w", 604_800_000), ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// `15d`, `2m30s`, `500ms`: units from the largest to the smallest, each at most once.
impl Setting for Duration {
    fn set(&mut self, text: &str) -> Result<(), Expected> {
        const EXPECTED: Expected = Expected("a duration such as 15d, 1h30m, 5s or 500ms");
        let (mut rest, mut total, mut next_unit) = (text, 0u64, 0);
        while !rest.is_empty() {
            let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            let number: u64 = rest[..digits].parse().map_err(|_| EXPECTED)?;
            let letters: &str = &rest[digits..];
            let letters = &letters[..letters.find(|c: char| c.is_ascii_digit()).unwrap_or(letters.len())];
            let unit = TIME_UNITS.iter().position(|(name, _)| *name == letters).ok_or(EXPECTED)?;
            if unit < next_unit {
                return Err(EXPECTED);
            }
            next_unit = unit + 1;
            let part = number.checked_mul(TIME_UNITS[unit].1).ok_or(EXPECTED)?;
            total = total.checked_add(part).ok_or(EXPECTED)?;
            rest = &rest[digits + letters.len()..];
        }
        if text.is_empty() {
            return Err(EXPECTED);
        }
        *self = Duration::from_millis(total);
        Ok(())
    }

    fn show(&self) -> String {
        let mut rest = self.as_millis() as u64;
        if rest == 0 {
            return "0s".to_owned();
        }
        let mut text = String::new();
        // Weeks are read but not written: 15 days are 15d and not 2w1d.
        for (name, unit) in &TIME_UNITS[1..] {
            if rest >= *unit {
                text += &format!("{}{name}", rest / unit);
                rest %= unit;
            }
        }
        text
    }
}

/// An enumeration whose variants are words.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal),+ $(,)? } $expected:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$variant_doc])* $variant),+ }

        impl Setting for $name {
            fn set(&mut self, text: &str) -> Result<(), Expected> {
                *self = match text {
                    $($word => $name::$variant,)+
                    _ => return Err(Expected($expected)),
                };
                Ok(())
            }

            fn show(&self) -> String {
                match self { $($name::$variant => $word,)+ }.to_owned()
            }
        }
    };
}

words! {
    /// When an acknowledged write is on disk.
    WalSync {
        /// Before the answer: one `fdatasync` for all who wait.
        Group = "group",
        /// Up to a second after the answer.
        Interval = "interval",
        /// When the kernel likes.
        Off = "off",
    }
    "group, interval or off"
}

words! {
    /// How much the server tells about itself.
    LogLevel { Error = "error", Warn = "warn", Info = "info", Debug = "debug", Trace = "trace" }
    "error, warn, info, debug or trace"
}

words! {
    LogFormat { Text = "text", Json = "json" }
    "text or json"
}

words! {
    /// How OTLP names become Prometheus names.
    TranslationStrategy {
        UnderscoreEscapingWithSuffixes = "UnderscoreEscapingWithSuffixes",
        UnderscoreEscapingWithoutSuffixes = "UnderscoreEscapingWithoutSuffixes",
        NoUtf8EscapingWithSuffixes = "NoUTF8EscapingWithSuffixes",
        NoTranslation = "NoTranslation",
    }
    "UnderscoreEscapingWithSuffixes, UnderscoreEscapingWithoutSuffixes, NoUTF8EscapingWithSuffixes or NoTranslation"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<T: Setting>(mut into: T, text: &str) -> Result<T, Expected> {
        into.set(text).map(|()| into)
    }

    #[test]
    fn durations_are_read_and_written_as_humans_do() {
        for (text, ms) in [("15d", 1_296_000_000), ("1h30m", 5_400_000), ("500ms", 500), ("0s", 0)] {
            let duration = read(Duration::ZERO, text).unwrap();
            assert_eq!(duration, Duration::from_millis(ms));
            assert_eq!(duration.show(), text);
        }
        assert_eq!(read(Duration::ZERO, "2w"), Ok(Duration::from_secs(14 * 86_400)));
        for bad in ["", "5", "s", "1m1h", "1h1h", "-1s", "1.5h", "99999999999999999w", "1ß"] {
            assert!(read(Duration::ZERO, bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes_are_read_and_written_as_humans_do() {
        for (text, bytes) in [("64MiB", 64 << 20), ("2GiB", 2 << 30), ("1025", 1025), ("0", 0)] {
            assert_eq!(read(ByteSize(1), text), Ok(ByteSize(bytes)));
            assert_eq!(ByteSize(bytes).show(), text);
        }
        for bad in ["", "MiB", "64MB", "-1", "20000000TiB"] {
            assert!(read(ByteSize(0), bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_size_can_be_left_to_the_machine() {
        let size = Some(ByteSize(1));
        assert_eq!(read(size, "auto"), Ok(None));
        assert_eq!(read(size, "0"), Ok(Some(ByteSize(0))));
        assert_eq!(read(size, "64MiB").unwrap().show(), "64MiB");
        assert_eq!(None::<ByteSize>.show(), "auto");
        assert!(read(size, "some").is_err());
    }

    #[test]
    fn an_address_can_be_off_and_localhost_needs_no_resolver() {
        let none: Option<SocketAddr> = None;
        assert_eq!(read(none, "localhost:9").unwrap().show(), "127.0.0.1:9");
        assert_eq!(read(none, "off").unwrap().show(), "off");
        assert!(read(none, "4317").is_err());
    }
}
