//! A set of addresses, `10.0.0.1`, `10.0.0.1-10.0.0.9` or `10.0.0.0/8`, and whether a text holds one of them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Addresses of one family, first to last, both in. Made by [`IpRange::parse`] only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IpRange {
    text: String,
    first: IpAddr,
    last: IpAddr,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("ip: invalid pattern {text:?}: expected an address, a range \"first-last\" or a CIDR block")]
pub struct IpError {
    text: String,
}

/// The longest text of an address: IPv6 with an IPv4 tail.
const TEXT_BYTES_MAX: usize = 45;

impl IpRange {
    pub fn parse(text: &str) -> Result<IpRange, IpError> {
        match first_and_last(text) {
            Some((first, last)) => Ok(IpRange { text: text.to_owned(), first, last }),
            None => Err(IpError { text: text.chars().take(128).collect() }),
        }
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    pub fn contains(&self, address: IpAddr) -> bool {
        address.is_ipv4() == self.first.is_ipv4() && self.first <= address && address <= self.last
    }

    /// Whether the whole text is one of the addresses.
    pub fn is(&self, text: &str) -> bool {
        text.parse().is_ok_and(|address| self.contains(address))
    }

    /// Whether one of the addresses stands anywhere in the line; in linear time.
    pub fn is_in_line(&self, line: &str) -> bool {
        let mut words = line.as_bytes().split(|b| !self.may_hold(*b));
        words.any(|word| match self.first {
            IpAddr::V4(_) => self.is_word(word, b"."),
            IpAddr::V6(_) => self.is_word(word, b".:") || self.is_word(word, b"."),
        })
    }

    fn may_hold(&self, b: u8) -> bool {
        match self.first {
            IpAddr::V4(_) => b.is_ascii_digit() || b == b'.',
            IpAddr::V6(_) => b.is_ascii_hexdigit() || b == b'.' || b == b':',
        }
    }

    /// Whether a word is an address when the punctuation around it is taken away.
    fn is_word(&self, word: &[u8], punctuation: &[u8]) -> bool {
        let is_punctuation = |b: &u8| punctuation.contains(b);
        let start = word.iter().position(|b| !is_punctuation(b)).unwrap_or(word.len());
        let end = word.iter().rposition(|b| !is_punctuation(b)).map_or(start, |last| last + 1);
        let word = &word[start..end];
        if word.len() > TEXT_BYTES_MAX {
            return false;
        }
        str::from_utf8(word).is_ok_and(|word| self.is(word))
    }
}

fn first_and_last(text: &str) -> Option<(IpAddr, IpAddr)> {
    if let Some((address, bits)) = text.split_once('/') {
        return block(address.parse().ok()?, bits.parse().ok()?);
    }
    if let Some((first, last)) = text.split_once('-') {
        let (first, last): (IpAddr, IpAddr) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        let is_range = first.is_ipv4() == last.is_ipv4() && first <= last;
        return is_range.then_some((first, last));
    }
    let address = text.parse().ok()?;
    Some((address, address))
}

/// The block of all addresses that share the first `bits` bits.
fn block(address: IpAddr, bits: u32) -> Option<(IpAddr, IpAddr)> {
    match address {
        IpAddr::V4(address) if bits <= 32 => {
            let rest = u32::MAX.checked_shr(bits).unwrap_or(0);
            let first = u32::from(address) & !rest;
            Some((Ipv4Addr::from(first).into(), Ipv4Addr::from(first | rest).into()))
        }
        IpAddr::V6(address) if bits <= 128 => {
            let rest = u128::MAX.checked_shr(bits).unwrap_or(0);
            let first = u128::from(address) & !rest;
            Some((Ipv6Addr::from(first).into(), Ipv6Addr::from(first | rest).into()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(text: &str) -> IpRange {
        IpRange::parse(text).unwrap()
    }

    #[test]
    fn an_address_a_range_and_a_block_hold_their_addresses() {
        assert!(range("10.1.2.3").is("10.1.2.3") && !range("10.1.2.3").is("10.1.2.4"));
        let few = range("10.0.0.9 - 10.0.1.2");
        assert!(few.is("10.0.0.9") && few.is("10.0.0.255") && few.is("10.0.1.2") && !few.is("10.0.1.3"));
        let block = range("192.168.4.5/16");
        assert!(block.is("192.168.0.0") && block.is("192.168.255.255") && !block.is("192.169.0.0"));
        assert!(range("0.0.0.0/0").is("255.255.255.255") && !range("0.0.0.0/0").is("::1"));
        assert!(range("2001:db8::/32").is("2001:db8:ffff::1") && !range("2001:db8::/32").is("2001:db9::"));
        assert!(range("::/0").is("::1") && range("::1-::f").is("::a"));
    }

    #[test]
    fn what_is_no_set_of_addresses_is_refused() {
        for text in
            ["", "10", "10.0.0.256", "10.0.0.0/33", "::/129", "::1-10.0.0.1", "10.0.0.2-10.0.0.1", "a-b"]
        {
            assert!(IpRange::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn addresses_are_found_inside_of_lines() {
        let ten = range("10.0.0.0/8");
        for line in [
            "10.1.2.3",
            "from 10.1.2.3:8080 to x",
            "peer=10.1.2.3.",
            "é10.1.2.3é",
            "[10.1.2.3]",
            "9 10.0.0.0",
        ] {
            assert!(ten.is_in_line(line), "{line}");
        }
        for line in ["", "11.1.2.3", "10.1.2", "10.1.2.3.4", "10.1.2.300", "v10"] {
            assert!(!ten.is_in_line(line), "{line}");
        }
        let documentation = range("2001:db8::/32");
        for line in ["[2001:db8::1]:443", "addr:2001:db8::1", "at 2001:db8::", "2001:db8::1."] {
            assert!(documentation.is_in_line(line), "{line}");
        }
        assert!(!documentation.is_in_line("2001:db9::1 12:30:45"));
        assert!(range("::1").is_in_line("[::1]:80"));
    }

    proptest::proptest! {
        #[test]
        fn every_address_is_found_between_blanks(bits: u32, line in "[ -~]{0,20}") {
            let text = Ipv4Addr::from(bits).to_string();
            let found = range(&text).is_in_line(&format!("{line} {text} {line}"));
            proptest::prop_assert!(found);
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,40}", line in "\\PC{0,40}") {
            if let Ok(range) = IpRange::parse(&text) {
                range.is_in_line(&line);
            }
        }
    }
}
