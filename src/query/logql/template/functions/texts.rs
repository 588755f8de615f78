//! Functions of text. Go's and Loki's old ones take the text first, Sprig's take it last, so that it can be piped.

use std::collections::HashSet;

use super::super::RenderError;
use super::super::value::Value;
use super::{Answer, Arguments, Builtin, function, with_regex};

pub(super) const ALL: &[Builtin] = &[
    function("__line__", 0, 0, |args| Ok(Value::borrowed(args.line))),
    function("ToLower", 1, 1, |args| args.made(args.text(0)?.to_lowercase())),
    function("lower", 1, 1, |args| args.made(args.text(0)?.to_lowercase())),
    function("ToUpper", 1, 1, |args| args.made(args.text(0)?.to_uppercase())),
    function("upper", 1, 1, |args| args.made(args.text(0)?.to_uppercase())),
    function("title", 1, 1, |args| args.made(title(args.text(0)?))),
    function("Replace", 4, 4, |args| replace(args, [0, 1, 2], Some(3))),
    function("replace", 3, 3, |args| replace(args, [2, 0, 1], None)),
    function("Trim", 2, 2, |args| args.made(args.text(0)?.trim_matches(one_of(args.text(1)?)))),
    function("trimAll", 2, 2, |args| args.made(args.text(1)?.trim_matches(one_of(args.text(0)?)))),
    function("TrimLeft", 2, 2, |args| args.made(args.text(0)?.trim_start_matches(one_of(args.text(1)?)))),
    function("TrimRight", 2, 2, |args| args.made(args.text(0)?.trim_end_matches(one_of(args.text(1)?)))),
    function("TrimPrefix", 2, 2, |args| without_prefix(args, 0, 1)),
    function("trimPrefix", 2, 2, |args| without_prefix(args, 1, 0)),
    function("TrimSuffix", 2, 2, |args| without_suffix(args, 0, 1)),
    function("trimSuffix", 2, 2, |args| without_suffix(args, 1, 0)),
    function("TrimSpace", 1, 1, |args| args.made(args.text(0)?.trim())),
    function("trim", 1, 1, |args| args.made(args.text(0)?.trim())),
    function("contains", 2, 2, |args| Ok(Value::Bool(args.text(1)?.contains(args.text(0)?)))),
    function("hasPrefix", 2, 2, |args| Ok(Value::Bool(args.text(1)?.starts_with(args.text(0)?)))),
    function("hasSuffix", 2, 2, |args| Ok(Value::Bool(args.text(1)?.ends_with(args.text(0)?)))),
    function("trunc", 2, 2, trunc),
    function("substr", 3, 3, substr),
    function("repeat", 2, 2, repeat),
    function("indent", 2, 2, |args| indent(args, "")),
    function("nindent", 2, 2, |args| indent(args, "\n")),
    function("alignLeft", 2, 2, |args| align(args, true)),
    function("alignRight", 2, 2, |args| align(args, false)),
    with_regex("regexReplaceAll", 3, |args| regex_replace(args, true)),
    with_regex("regexReplaceAllLiteral", 3, |args| regex_replace(args, false)),
    with_regex("count", 2, count),
];

/// Sets may be as long as the texts whose every character is looked for in them.
fn one_of(set: &str) -> impl Fn(char) -> bool {
    let set: HashSet<char> = set.chars().collect();
    move |c| set.contains(&c)
}

/// Each letter behind what is none becomes a capital.
fn title(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut is_inside = false;
    for c in text.chars() {
        if is_inside {
            out.push(c);
        } else {
            out.extend(c.to_uppercase());
        }
        is_inside = c.is_alphanumeric() || matches!(c, '_' | '\'');
    }
    out
}

/// The places of the text, of what goes and of what comes among the arguments; and of how often.
fn replace<'v>(args: &Arguments<'_, 'v>, [text, old, new]: [usize; 3], count: Option<usize>) -> Answer<'v> {
    let count = match count {
        Some(i) => args.int(i)?,
        None => -1,
    };
    let (text, old, new) = (args.text(text)?, args.text(old)?, args.text(new)?);
    let found = text.matches(old).take(usize::try_from(count).unwrap_or(usize::MAX)).count();
    let bytes = text.len() + found.saturating_mul(new.len());
    args.budget.take(bytes)?;
    Ok(Value::shared(text.replacen(old, new, found)))
}

fn without_prefix<'v>(args: &Arguments<'_, 'v>, text: usize, prefix: usize) -> Answer<'v> {
    let text = args.text(text)?;
    args.made(text.strip_prefix(args.text(prefix)?).unwrap_or(text))
}

fn without_suffix<'v>(args: &Arguments<'_, 'v>, text: usize, suffix: usize) -> Answer<'v> {
    let text = args.text(text)?;
    args.made(text.strip_suffix(args.text(suffix)?).unwrap_or(text))
}

/// The first or, with a negative count, the last so many characters.
fn trunc<'v>(args: &Arguments<'_, 'v>) -> Answer<'v> {
    let (count, text) = (args.int(0)?, args.text(1)?);
    let wanted = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX);
    let kept = if count >= 0 {
        &text[..byte_of(text, wanted)]
    } else {
        let chars = text.chars().count();
        &text[byte_of(text, chars.saturating_sub(wanted))..]
    };
    args.made(kept)
}

/// Where the character of this number starts, or the text ends.
fn byte_of(text: &str, character: usize) -> usize {
    text.char_indices().nth(character).map_or(text.len(), |(at, _)| at)
}

/// `substr start end text`; a negative start is the start of the text, a negative end its end.
fn substr<'v>(args: &Arguments<'_, 'v>) -> Answer<'v> {
    let (start, end, text) = (args.int(0)?, args.int(1)?, args.text(2)?);
    let start = byte_of(text, usize::try_from(start).unwrap_or(0));
    let end = usize::try_from(end).map_or(text.len(), |end| byte_of(text, end));
    args.made(text.get(start..end).unwrap_or_default())
}

fn repeat<'v>(args: &Arguments<'_, 'v>) -> Answer<'v> {
    let count = usize::try_from(args.int(0)?).map_err(|_| RenderError::new("negative repeat count"))?;
    let text = args.text(1)?;
    args.budget.take(text.len().saturating_mul(count))?;
    // Nothing, however often.
    let count = if text.is_empty() { 0 } else { count };
    Ok(Value::shared(text.repeat(count)))
}

/// Blanks before each line, and `before` before all.
fn indent<'v>(args: &Arguments<'_, 'v>, before: &str) -> Answer<'v> {
    let blanks = usize::try_from(args.int(0)?).map_err(|_| RenderError::new("negative indent"))?;
    let text = args.text(1)?;
    let lines = text.matches('\n').count() + 1;
    args.budget.take(blanks.saturating_mul(lines).saturating_add(text.len()))?;
    let blanks = " ".repeat(blanks);
    Ok(Value::shared(format!("{before}{blanks}{}", text.replace('\n', &format!("\n{blanks}")))))
}

/// Exactly so many characters: filled up with blanks, or cut.
fn align<'v>(args: &Arguments<'_, 'v>, is_left: bool) -> Answer<'v> {
    let (count, text) = (args.int(0)?, args.text(1)?);
    let Ok(wanted) = usize::try_from(count) else {
        return args.made(text);
    };
    let chars = text.chars().count();
    let missing = wanted.saturating_sub(chars);
    args.budget.take(missing.saturating_add(text.len()))?;
    let blanks = " ".repeat(missing);
    Ok(Value::shared(match (chars > wanted, is_left) {
        (true, true) => text[..byte_of(text, wanted)].to_owned(),
        (true, false) => text[byte_of(text, chars - wanted)..].to_owned(),
        (false, true) => text.to_owned() + &blanks,
        (false, false) => blanks + text,
    }))
}

/// `regexReplaceAll regex text replacement`; `expands`: `$1` in the replacement is a group.
fn regex_replace<'v>(args: &Arguments<'_, 'v>, expands: bool) -> Answer<'v> {
    let regex = args.regex()?;
    let (text, replacement) = (args.text(1)?, args.text(2)?);
    let (mut out, mut at) = (String::new(), 0);
    let mut put = |piece: &str| {
        args.budget.take(piece.len())?;
        out.push_str(piece);
        Ok(())
    };
    regex.for_each_match(text, args.lookout, |groups| {
        let whole = groups.whole();
        put(&text[at..whole.start])?;
        at = whole.end;
        if expands { regex.expand(replacement, text, groups, &mut put) } else { put(replacement) }
    })?;
    put(&text[at..])?;
    Ok(Value::shared(out))
}

/// `count regex text`: how often it matches.
fn count<'v>(args: &Arguments<'_, 'v>) -> Answer<'v> {
    let mut count = 0;
    args.regex()?.for_each_match(args.text(1)?, args.lookout, |_| {
        count += 1;
        Ok::<(), RenderError>(())
    })?;
    Ok(Value::Int(count))
}
