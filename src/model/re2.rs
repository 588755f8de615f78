//! RE2's regular expressions, as Go and so Prometheus read them, rewritten for the `regex` crate.
//!
//! The two syntaxes differ in corners that change the meaning without an error: nested classes and `&&` inside
//! brackets, Unicode `\d`, stacked repetitions, `{` as a literal. One linear pass over the text writes every such
//! thing in a form that both understand, and refuses what RE2 refuses in Go's words.

/// Go's limit on `x{n}`.
const REPEAT_MAX: u32 = 1000;

/// Why RE2 would refuse an expression; the texts are Go's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("error parsing regexp: {problem}: `{excerpt}`")]
pub struct SyntaxError {
    pub problem: Problem,
    pub excerpt: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    #[error("missing argument to repetition operator")]
    MissingRepeatArgument,
    #[error("invalid nested repetition operator")]
    NestedRepeat,
    #[error("invalid repeat count")]
    RepeatSize,
    #[error("missing closing ]")]
    MissingBracket,
    #[error("missing closing )")]
    MissingParen,
    #[error("unexpected )")]
    UnexpectedParen,
    #[error("invalid character class range")]
    CharRange,
    #[error("invalid escape sequence")]
    Escape,
    #[error("trailing backslash at end of expression")]
    TrailingBackslash,
    #[error("invalid named capture")]
    NamedCapture,
    #[error("invalid or unsupported Perl syntax")]
    PerlSyntax,
}

/// Rewrites `pattern` so that the `regex` crate, with `.` matching newlines, gives it RE2's meaning.
pub fn translate(pattern: &str) -> Result<String, SyntaxError> {
    let mut translation = Translation {
        pattern,
        rest: pattern,
        out: String::with_capacity(pattern.len() + 8),
        depth: 0,
        before: Before::Nothing,
    };
    while let Some(c) = translation.rest.chars().next() {
        translation.step(c)?;
    }
    if translation.depth > 0 {
        return refuse(Problem::MissingParen, pattern);
    }
    Ok(translation.out)
}

/// What stands before the cursor, for the repetition operators.
#[derive(Clone, Copy, PartialEq)]
enum Before<'a> {
    /// The start of a group or of an alternative.
    Nothing,
    Repeatable,
    /// A repetition operator, and the text from it on.
    Repeat(&'a str),
}

struct Translation<'a> {
    pattern: &'a str,
    rest: &'a str,
    out: String,
    depth: usize,
    before: Before<'a>,
}

fn refuse<T>(problem: Problem, excerpt: &str) -> Result<T, SyntaxError> {
    Err(SyntaxError { problem, excerpt: excerpt.to_owned() })
}

impl<'a> Translation<'a> {
    fn step(&mut self, c: char) -> Result<(), SyntaxError> {
        match c {
            '*' | '+' | '?' => self.repeat(1),
            '{' => match repeat_len(self.rest) {
                None => self.literal('{', 1),
                Some(len) => {
                    self.check_repeat_size(len)?;
                    self.repeat(len)
                }
            },
            '(' => self.open_group(),
            ')' => {
                if self.depth == 0 {
                    return refuse(Problem::UnexpectedParen, self.pattern);
                }
                self.depth -= 1;
                self.copy(1, Before::Repeatable)
            }
            '|' => self.copy(1, Before::Nothing),
            '.' | '^' | '$' => self.copy(1, Before::Repeatable),
            '[' => self.class(),
            '\\' => self.escape(),
            _ => self.literal(c, c.len_utf8()),
        }
    }

    fn copy(&mut self, len: usize, now: Before<'a>) -> Result<(), SyntaxError> {
        self.out.push_str(&self.rest[..len]);
        self.advance(len, now)
    }

    fn advance(&mut self, len: usize, now: Before<'a>) -> Result<(), SyntaxError> {
        self.rest = &self.rest[len..];
        self.before = now;
        Ok(())
    }

    fn literal(&mut self, c: char, len: usize) -> Result<(), SyntaxError> {
        push_char(&mut self.out, c);
        self.advance(len, Before::Repeatable)
    }

    /// One repetition operator of `len` bytes, and the `?` that makes it lazy.
    fn repeat(&mut self, len: usize) -> Result<(), SyntaxError> {
        let operator = self.rest;
        let lazy = usize::from(operator[len..].starts_with('?'));
        match self.before {
            Before::Nothing => refuse(Problem::MissingRepeatArgument, &operator[..len]),
            Before::Repeat(first) => {
                let stacked = first.len() - operator.len() + len + lazy;
                refuse(Problem::NestedRepeat, &first[..stacked])
            }
            Before::Repeatable => self.copy(len + lazy, Before::Repeat(operator)),
        }
    }

    fn check_repeat_size(&self, len: usize) -> Result<(), SyntaxError> {
        let text = &self.rest[..len];
        let (min, max) = text[1..len - 1].split_once(',').unwrap_or((&text[1..len - 1], ""));
        let too_many = |digits: &str| digits.parse::<u32>().map_or(true, |n| n > REPEAT_MAX);
        let number = |digits: &str| digits.parse::<u32>().unwrap_or(u32::MAX);
        if too_many(min) || !max.is_empty() && (too_many(max) || number(min) > number(max)) {
            return refuse(Problem::RepeatSize, text);
        }
        Ok(())
    }

    fn open_group(&mut self) -> Result<(), SyntaxError> {
        let Some(inside) = self.rest.strip_prefix("(?") else {
            self.depth += 1;
            return self.copy(1, Before::Nothing);
        };
        if inside.starts_with("P<") || inside.starts_with('<') {
            return self.open_named_group();
        }
        let flags = inside.bytes().take_while(|b| b"imsU-".contains(b)).count();
        let ends_with = inside.as_bytes().get(flags).copied();
        let (set, cleared) = inside[..flags].split_once('-').unwrap_or((&inside[..flags], "?"));
        let is_valid = !cleared.is_empty() && !set.contains('-') && !cleared.contains('-');
        match ends_with {
            Some(b':') if is_valid => {
                self.depth += 1;
                self.copy(2 + flags + 1, Before::Nothing)
            }
            // `(?)` sets nothing; the crate does not know it.
            Some(b')') if flags == 0 => self.advance(3, self.before),
            Some(b')') if is_valid => self.copy(2 + flags + 1, Before::Nothing),
            None => refuse(Problem::MissingParen, self.pattern),
            _ => {
                let odd = inside[flags..].chars().next().map_or(0, char::len_utf8);
                refuse(Problem::PerlSyntax, &self.rest[..2 + flags + odd])
            }
        }
    }

    fn open_named_group(&mut self) -> Result<(), SyntaxError> {
        let from = self.rest.find('<').map_or(0, |at| at + 1);
        let Some(to) = self.rest.find('>') else {
            return refuse(Problem::NamedCapture, self.rest);
        };
        let name = &self.rest[from..to];
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            return refuse(Problem::NamedCapture, &self.rest[..=to]);
        }
        // The crate wants no digit first; such a group stays reachable by its number.
        if name.as_bytes()[0].is_ascii_digit() {
            self.out.push('(');
        } else {
            self.out.push_str(&format!("(?P<{name}>"));
        }
        self.depth += 1;
        self.advance(to + 1, Before::Nothing)
    }

    fn escape(&mut self) -> Result<(), SyntaxError> {
        let Some(c) = self.rest[1..].chars().next() else {
            return refuse(Problem::TrailingBackslash, "");
        };
        if let Some(class) = perl_class(c) {
            self.out.push_str(class);
            return self.advance(2, Before::Repeatable);
        }
        match c {
            'A' | 'z' => self.copy(2, Before::Repeatable),
            // ASCII words, as in RE2.
            'b' => {
                self.out.push_str(r"(?-u:\b)");
                self.advance(2, Before::Repeatable)
            }
            'B' => {
                self.out.push_str(r"(?-u:\B)");
                self.advance(2, Before::Repeatable)
            }
            'p' | 'P' => {
                let len = push_unicode_class(&mut self.out, self.rest)?;
                self.advance(len, Before::Repeatable)
            }
            'Q' => {
                let quoted = &self.rest[2..];
                let len = quoted.find(r"\E").unwrap_or(quoted.len());
                quoted[..len].chars().for_each(|c| push_char(&mut self.out, c));
                let now = if len == 0 { self.before } else { Before::Repeatable };
                self.advance((2 + len + 2).min(self.rest.len()), now)
            }
            'E' => self.advance(2, self.before),
            _ => {
                let (c, len) = escaped_char(self.rest)?;
                self.literal(c, len)
            }
        }
    }

    /// `[…]`: every literal is escaped, so that nothing in it is an operator of the crate's class syntax.
    fn class(&mut self) -> Result<(), SyntaxError> {
        let whole = self.rest;
        let mut rest = &whole[1..];
        self.out.push('[');
        if let Some(negated) = rest.strip_prefix('^') {
            self.out.push('^');
            rest = negated;
        }
        let mut is_first = true;
        while is_first || !rest.starts_with(']') {
            is_first = false;
            rest = &rest[push_class_item(&mut self.out, rest, whole)?..];
        }
        self.out.push(']');
        self.advance(whole.len() - rest.len() + 1, Before::Repeatable)
    }
}

/// The length of `{n}`, `{n,}` or `{n,m}` at the start of `text`; anything else is a literal brace.
fn repeat_len(text: &str) -> Option<usize> {
    let len = text.find('}')? + 1;
    let inside = &text[1..len - 1];
    let is_number = |digits: &str| {
        let canonical = digits.len() == 1 || !digits.starts_with('0');
        !digits.is_empty() && canonical && digits.bytes().all(|b| b.is_ascii_digit())
    };
    let is_repeat = match inside.split_once(',') {
        None => is_number(inside),
        Some((min, max)) => is_number(min) && (max.is_empty() || is_number(max)),
    };
    is_repeat.then_some(len)
}

/// Writes one item of a class (a character, a range, or a class inside it) and gives its length in `text`.
fn push_class_item(out: &mut String, text: &str, whole: &str) -> Result<usize, SyntaxError> {
    if let Some(len) = posix_class_len(text) {
        out.push_str(&text[..len]);
        return Ok(len);
    }
    if let Some(escaped) = text.strip_prefix('\\') {
        let c = escaped.chars().next();
        if let Some(class) = c.and_then(perl_class) {
            out.push_str(class);
            return Ok(2);
        }
        if matches!(c, Some('p' | 'P')) {
            return push_unicode_class(out, text);
        }
    }
    let (low, low_len) = class_char(text, whole)?;
    push_char(out, low);
    let Some(after) = text[low_len..].strip_prefix('-').filter(|after| !after.starts_with(']')) else {
        return Ok(low_len);
    };
    let (high, high_len) = class_char(after, whole)?;
    let len = low_len + 1 + high_len;
    if high < low {
        return refuse(Problem::CharRange, &text[..len]);
    }
    out.push('-');
    push_char(out, high);
    Ok(len)
}

fn class_char(text: &str, whole: &str) -> Result<(char, usize), SyntaxError> {
    match text.chars().next() {
        None => refuse(Problem::MissingBracket, whole),
        Some('\\') => escaped_char(text),
        Some(c) => Ok((c, c.len_utf8())),
    }
}

/// `[:alpha:]` and its like at the start of `text`, negated or not; both syntaxes know the same names.
fn posix_class_len(text: &str) -> Option<usize> {
    const NAMES: [&str; 14] = [
        "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space",
        "upper", "word", "xdigit",
    ];
    let inside = text.strip_prefix("[:")?;
    let len = inside.find(":]")?;
    let name = inside[..len].strip_prefix('^').unwrap_or(&inside[..len]);
    NAMES.contains(&name).then_some(2 + len + 2)
}

/// The ASCII classes of Perl, which the crate would read as Unicode.
fn perl_class(c: char) -> Option<&'static str> {
    Some(match c {
        'd' => "[0-9]",
        'D' => "[^0-9]",
        's' => r"[\t\n\f\r ]",
        'S' => r"[^\t\n\f\r ]",
        'w' => "[0-9A-Za-z_]",
        'W' => "[^0-9A-Za-z_]",
        _ => return None,
    })
}

/// `\pL`, `\p{Greek}`, `\p{^Greek}`, `\P…`: written as `\p{…}` or `\P{…}`. Gives the length read.
fn push_unicode_class(out: &mut String, text: &str) -> Result<usize, SyntaxError> {
    let mut is_negated = text.starts_with(r"\P");
    let (name, len) = match text[2..].chars().next() {
        Some('{') => match text.find('}') {
            Some(end) => (&text[3..end], end + 1),
            None => return refuse(Problem::CharRange, text),
        },
        Some(c) => (&text[2..2 + c.len_utf8()], 2 + c.len_utf8()),
        None => return refuse(Problem::Escape, text),
    };
    let bare = name.strip_prefix('^');
    is_negated ^= bare.is_some();
    let name = bare.unwrap_or(name);
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        return refuse(Problem::CharRange, &text[..len]);
    }
    out.push_str(&format!(r"\{}{{{name}}}", if is_negated { 'P' } else { 'p' }));
    Ok(len)
}

/// An escape that stands for one character, at the start of `text`, and its length.
fn escaped_char(text: &str) -> Result<(char, usize), SyntaxError> {
    let Some(c) = text[1..].chars().next() else {
        return refuse(Problem::TrailingBackslash, "");
    };
    let plain = |c| Ok((c, 2));
    match c {
        'a' => plain('\x07'),
        'f' => plain('\x0c'),
        'n' => plain('\n'),
        'r' => plain('\r'),
        't' => plain('\t'),
        'v' => plain('\x0b'),
        'x' => hexadecimal_char(text),
        // One digit alone would be a back-reference, which RE2 does not have.
        '1'..='7' if !text[2..].starts_with(|d: char| ('0'..='7').contains(&d)) => {
            refuse(Problem::Escape, &text[..2])
        }
        '0'..='7' => {
            let digits = text[1..].bytes().take(3).take_while(|b| (b'0'..=b'7').contains(b)).count();
            let code = u32::from_str_radix(&text[1..1 + digits], 8).unwrap_or(0);
            Ok((char::from_u32(code).unwrap_or('\0'), 1 + digits))
        }
        _ if c.is_ascii() && !c.is_ascii_alphanumeric() => plain(c),
        _ => refuse(Problem::Escape, &text[..1 + c.len_utf8()]),
    }
}

/// `\x41` or `\x{1F600}`.
fn hexadecimal_char(text: &str) -> Result<(char, usize), SyntaxError> {
    let (digits, len) = match text[2..].strip_prefix('{') {
        Some(inside) => match inside.find('}') {
            Some(end) => (&inside[..end], 3 + end + 1),
            None => return refuse(Problem::Escape, text),
        },
        None => match text.get(2..4) {
            Some(digits) => (digits, 4),
            None => return refuse(Problem::Escape, text),
        },
    };
    let is_hex = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_hexdigit());
    let code = if is_hex { u32::from_str_radix(digits, 16).ok() } else { None };
    match code.and_then(char::from_u32) {
        Some(c) => Ok((c, len)),
        None => refuse(Problem::Escape, &text[..len]),
    }
}

/// Writes one literal character so that it means itself, inside a class and outside.
fn push_char(out: &mut String, c: char) {
    if regex_syntax::is_meta_character(c) {
        out.push('\\');
    }
    out.push(c);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, text: &str) -> bool {
        let translated = translate(pattern).unwrap();
        regex::Regex::new(&format!("^(?s:{translated})$")).unwrap().is_match(text)
    }

    #[test]
    fn class_operators_of_the_crate_are_literals_in_re2() {
        for (pattern, text) in [
            ("[a&&b]", "&"),
            ("[+--b]+", "b,"),
            ("[a~~b]", "~"),
            ("[[a]b]", "[b]"),
            ("[[a]b]", "ab]"),
            ("[]a]", "]"),
            ("[^]a]", "b"),
            ("[a-]", "-"),
            ("[[:alpha:]_]", "_"),
            (r"[\]\-\d]", "7"),
            (r"[^\W]", "a"),
            ("[[:foo]", ":"),
        ] {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        assert!(!matches("[a&&b]", "x"));
    }

    #[test]
    fn perl_classes_are_ascii() {
        assert!(matches(r"\d\w\s\S", "1a x"));
        assert!(!matches(r"\d", "٣"));
        assert!(!matches(r"\w", "é"));
        assert!(matches(r"\D", "é"));
        assert!(matches(r".*\bfoo\b.*", "a foo b"));
    }

    #[test]
    fn quoted_text_escapes_and_braces_are_literals() {
        for (pattern, text) in [
            (r"\Qa.b\E*", "a.bbb"),
            (r"\Q[x", "[x"),
            ("a{,2}", "a{,2}"),
            ("a{2", "a{2"),
            ("{}", "{}"),
            ("a}", "a}"),
            (r"\x41\x{42}\103\_", "ABC_"),
            (r"\07", "\x07"),
            (r"\pL\p{^Greek}\PL", "aa1"),
            ("a b#c", "a b#c"),
            (".", "\n"),
        ] {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        assert!(!matches("(?-s).", "\n"));
    }

    #[test]
    fn groups_and_flags_keep_their_meaning() {
        for (pattern, text) in [
            ("(?i)foo", "FoO"),
            ("(?i:f)oo", "Foo"),
            ("(?:a|b)+?", "ab"),
            ("(?P<x>a)(?<y>b)(?P<1>c)", "abc"),
            ("(?)a", "a"),
            ("(?s-i:a.)", "a\n"),
            ("(|a)", ""),
            ("^a$", "a"),
        ] {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
    }

    #[test]
    fn what_re2_refuses_is_refused_in_gos_words() {
        for (pattern, error) in [
            ("x**", "invalid nested repetition operator: `**`"),
            ("x*?+", "invalid nested repetition operator: `*?+`"),
            ("a{2}{3}", "invalid nested repetition operator: `{2}{3}`"),
            ("*", "missing argument to repetition operator: `*`"),
            ("a|+", "missing argument to repetition operator: `+`"),
            ("a{1001}", "invalid repeat count: `{1001}`"),
            ("a{3,2}", "invalid repeat count: `{3,2}`"),
            ("a{99999999999}", "invalid repeat count: `{99999999999}`"),
            ("(a", "missing closing ): `(a`"),
            ("a)", "unexpected ): `a)`"),
            ("[a", "missing closing ]: `[a`"),
            ("[z-a]", "invalid character class range: `z-a`"),
            ("[a--b]", "invalid character class range: `a--`"),
            (r"\y", r"invalid escape sequence: `\y`"),
            (r"\C", r"invalid escape sequence: `\C`"),
            (r"\1", r"invalid escape sequence: `\1`"),
            (r"[\b]", r"invalid escape sequence: `\b`"),
            ("a\\", "trailing backslash at end of expression: ``"),
            ("(?x)a", "invalid or unsupported Perl syntax: `(?x`"),
            ("(?=a)", "invalid or unsupported Perl syntax: `(?=`"),
            ("(?P<a", "invalid named capture: `(?P<a`"),
            ("(?P<é>a)", "invalid named capture: `(?P<é>`"),
        ] {
            let refused = translate(pattern).unwrap_err().to_string();
            assert_eq!(refused, format!("error parsing regexp: {error}"), "{pattern}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_translated_or_refused(text in r"[a\\\[\](){}?*+|^$.\-&~<>P:,0-9pQEdxié]{0,24}") {
            if let Ok(translated) = translate(&text) {
                let _ = regex_syntax::Parser::new().parse(&translated);
            }
        }
    }
}
