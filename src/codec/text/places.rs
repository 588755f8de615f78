//! The places of a byte that may be frequent.

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x80 * ONES;

/// Where there is one place in so many bytes, it costs more to search for the next one than to look at all of them.
const BYTES_A_PLACE: usize = 32;

/// Calls `each` with every place of the byte, in order.
pub fn for_each(bytes: &[u8], wanted: u8, each: impl FnMut(usize)) {
    if memchr::memchr_iter(wanted, bytes).count() < bytes.len() / BYTES_A_PLACE {
        memchr::memchr_iter(wanted, bytes).for_each(each);
    } else {
        for_each_of_many(bytes, wanted, each);
    }
}

/// Eight bytes are looked at together, and a place costs a few instructions.
fn for_each_of_many(bytes: &[u8], wanted: u8, mut each: impl FnMut(usize)) {
    let (words, rest) = bytes.as_chunks::<8>();
    for (number, word) in words.iter().enumerate() {
        let mut found = equal(u64::from_le_bytes(*word), wanted);
        while found != 0 {
            each(8 * number + (found.trailing_zeros() / 8) as usize);
            found &= found - 1;
        }
    }
    let start = 8 * words.len();
    rest.iter().enumerate().filter(|(_, byte)| **byte == wanted).for_each(|(at, _)| each(start + at));
}

/// The high bit of each byte of `word` that is `byte`, and no other bits.
fn equal(word: u64, byte: u8) -> u64 {
    let other = word ^ (ONES * u64::from(byte));
    // Whatever else is in a byte carries into its high bit, and no further.
    !(((other & !HIGH) + !HIGH) | other) & HIGH
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_place_is_found_once_and_in_order(
            bytes in prop::collection::vec(prop::sample::select(vec![0u8, 1, 0x2c, 0x2d, 0x2e, 0x80, 0xad, 0xff]), 0..60),
            gap in 0usize..100,
        ) {
            let bytes = [bytes, vec![b'x'; 10 * gap]].concat();
            let (mut places, mut of_many) = (Vec::new(), Vec::new());
            for_each(&bytes, b'-', |at| places.push(at));
            for_each_of_many(&bytes, b'-', |at| of_many.push(at));
            let expected: Vec<usize> = (0..bytes.len()).filter(|&at| bytes[at] == b'-').collect();
            prop_assert_eq!(&places, &expected);
            prop_assert_eq!(&of_many, &expected);
        }
    }
}
