//! Where a text's variables are: a choice of the writer, of which the reader knows nothing.
//!
//! A variable is a run of letters and digits with a digit in it. Units behind a number, and the `T` of a time, are
//! no part of it.

/// Stands for a variable in a template.
pub const SLOT: u8 = 0;

const OTHER: u8 = 0;
const DIGIT: u8 = 1;
const LETTER: u8 = 2;

const CLASSES: [u8; 256] = {
    let mut classes = [OTHER; 256];
    let mut byte = 0;
    while byte < 256 {
        if (byte as u8).is_ascii_digit() {
            classes[byte] = DIGIT;
        } else if (byte as u8).is_ascii_alphabetic() {
            classes[byte] = LETTER;
        }
        byte += 1;
    }
    classes
};

/// Letters that follow a number and say what it counts. None is a lower-case hexadecimal digit: a long identifier
/// that ends in its only letter would be a number, and one such row would spoil the column for all others.
const UNITS: [&[u8]; 21] = [
    b"s", b"ms", b"us", b"ns", b"m", b"h", b"Z", b"B", b"K", b"M", b"G", b"Ki", b"Mi", b"Gi", b"KiB", b"MiB",
    b"GiB", b"kB", b"MB", b"GB", b"x",
];

/// Where a variable lies in its text.
#[derive(Clone, Copy)]
pub struct Variable {
    start: u32,
    end: u32,
}

impl Variable {
    pub fn whole(text: &str) -> Variable {
        Variable { start: 0, end: text.len() as u32 }
    }

    pub fn of(self, text: &str) -> &str {
        &text[self.start as usize..self.end as usize]
    }
}

/// Appends the template of `text` and its variables.
pub fn split(text: &str, template: &mut Vec<u8>, variables: &mut Vec<Variable>) {
    let bytes = text.as_bytes();
    let mut copied = 0;
    let mut variable = |start: usize, end: usize| {
        append(template, bytes, copied, start);
        template.push(SLOT);
        variables.push(Variable { start: start as u32, end: end as u32 });
        copied = end;
    };
    let mut at = 0;
    while let Some(digit) = find_digit(bytes, at) {
        let letters = bytes[at..digit].iter().rev().take_while(|&&b| CLASSES[b as usize] == LETTER).count();
        let start = digit - letters;
        let mut end = digit + bytes[digit..].iter().take_while(|&&b| CLASSES[b as usize] == DIGIT).count();
        // Most are nothing but digits.
        if letters == 0 && bytes.get(end).is_none_or(|&b| CLASSES[b as usize] == OTHER) {
            variable(start, end);
        } else {
            end = run_end(bytes, end);
            split_run(bytes, start, end, &mut variable);
        }
        // The groups of an identifier belong together, even where one has no digit by chance.
        while bytes.get(end) == Some(&b'-') {
            let next = run_end(bytes, end + 1);
            let is_hexadecimal = |b: &u8| matches!(b, b'a'..=b'f');
            if next - end <= 4 || !bytes[end + 1..next].iter().all(is_hexadecimal) {
                break;
            }
            variable(end + 1, next);
            end = next;
        }
        at = end;
    }
    append(template, bytes, copied, bytes.len());
}

/// Appends `bytes[start..end]`. Most of it is short, and a copy of a fixed length needs no call.
fn append(template: &mut Vec<u8>, bytes: &[u8], start: usize, end: usize) {
    const SHORT: usize = 16;
    if end - start <= SHORT && start + SHORT <= bytes.len() {
        let len = template.len() + (end - start);
        template.extend_from_slice(&bytes[start..start + SHORT]);
        template.truncate(len);
    } else {
        template.extend_from_slice(&bytes[start..end]);
    }
}

/// The first digit from `at` on; eight bytes at a time.
fn find_digit(bytes: &[u8], mut at: usize) -> Option<usize> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x80 * ONES;
    while let Some(word) = bytes.get(at..at + 8) {
        // A digit becomes its value, which alone is below 10 in all eight bits.
        let values = u64::from_le_bytes(word.try_into().expect("eight bytes")) ^ (b'0' as u64 * ONES);
        let is_other = (((values & !HIGH) + (0x80 - 10) * ONES) | values) & HIGH;
        if is_other != HIGH {
            return Some(at + ((is_other ^ HIGH).trailing_zeros() / 8) as usize);
        }
        at += 8;
    }
    bytes[at..].iter().position(u8::is_ascii_digit).map(|digit| at + digit)
}

fn run_end(bytes: &[u8], from: usize) -> usize {
    from + bytes[from..].iter().take_while(|&&b| CLASSES[b as usize] != OTHER).count()
}

/// Tells the variables of one run.
fn split_run(bytes: &[u8], start: usize, end: usize, variable: &mut impl FnMut(usize, usize)) {
    let digits = bytes[start..end].iter().take_while(|&&b| CLASSES[b as usize] == DIGIT).count();
    let rest = &bytes[start + digits..end];
    if digits == 0 {
        variable(start, end);
    } else if rest.is_empty() || UNITS.contains(&rest) {
        variable(start, start + digits);
    } else if rest[0] == b'T' && rest.len() > 1 && CLASSES[rest[1] as usize] == DIGIT {
        variable(start, start + digits);
        split_run(bytes, start + digits + 1, end, variable);
    } else {
        variable(start, end);
    }
}

/// The end of a template from its last word on: variables that follow the same words are of a kind, also in
/// different templates.
pub fn context(template: &[u8]) -> &[u8] {
    // Longer words differ in their ends.
    const LEN_MAX: usize = 32;
    let is_letter = |b: &u8| CLASSES[*b as usize] == LETTER;
    let Some(word_end) = template.iter().rposition(is_letter) else {
        return &template[template.len().saturating_sub(LEN_MAX)..];
    };
    let is_word = |b: &u8| is_letter(b) || matches!(b, b'_' | b'-' | b'.');
    let word = template[..word_end].iter().rposition(|b| !is_word(b)).map_or(0, |before| before + 1);
    &template[word.max(template.len().saturating_sub(LEN_MAX))..]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split_of(text: &str) -> String {
        let (mut template, mut variables) = (Vec::new(), Vec::new());
        split(text, &mut template, &mut variables);
        let template = String::from_utf8(template).unwrap().replace('\0', "_");
        let variables: Vec<&str> = variables.into_iter().map(|variable| variable.of(text)).collect();
        format!("{template} {}", variables.join(" "))
    }

    #[test]
    fn variables_are_runs_with_a_digit() {
        for (text, expected) in [
            ("took 12ms of 3.50s", "took _ms of _._s 12 3 50"),
            ("2024-05-07T11:59:31.3332Z", "_-_-_T_:_:_._Z 2024 05 07 11 59 31 3332"),
            ("id=7fa3b9 é4", "id=_ é_ 7fa3b9 4"),
            ("no digits", "no digits "),
            ("5c3b9738-f3e4-abcd-8da7-44fc pod-dead", "_-_-_-_-_ pod-dead 5c3b9738 f3e4 abcd 8da7 44fc"),
            ("span=123456789012345d", "span=_ 123456789012345d"),
            ("", " "),
        ] {
            assert_eq!(split_of(text), expected);
        }
    }

    #[test]
    fn a_digit_is_found_wherever_it_lies() {
        for other in ["x", "/", ":", "\u{3b0}", "\n", "p"] {
            for before in 0..20 {
                let text = other.repeat(before) + "7" + &other.repeat(20);
                assert_eq!(find_digit(text.as_bytes(), 0), Some(other.len() * before), "{text}");
                assert_eq!(find_digit(other.repeat(before).as_bytes(), 0), None);
            }
        }
    }

    #[test]
    fn the_context_of_a_variable_begins_with_the_last_word() {
        for (template, expected) in
            [("{\"a\":\0,\"sent_bytes\":", "sent_bytes\":"), ("x ip=\0.\0.", "ip=\0.\0."), ("\0 ", "\0 ")]
        {
            assert_eq!(context(template.as_bytes()), expected.as_bytes());
        }
    }
}
