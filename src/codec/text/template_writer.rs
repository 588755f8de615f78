//! Texts as templates and columns of variables.

use std::hash::BuildHasher;

use hashbrown::HashTable;

use super::split::{SLOT, context, split};
use super::{Effort, joined, plain, put_bytes};
use crate::codec::numbers;
use crate::codec::varint::write_u64;

/// A text with more variables is not split.
const SLOTS_MAX: usize = 256;
/// With more templates in a block, texts have little in common; those that come later are not split.
const TEMPLATES_MAX: usize = 1 << 14;
/// Fewer values are not worth a column of their own.
const COLUMN_VALUES_MIN: usize = 16;
/// Fewer texts are not worth templates.
const TEXTS_MIN: usize = 32;

/// How well texts agree with templates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// No other form will be smaller.
    Good,
    /// Another form may be smaller.
    Doubtful,
    /// Nothing was written: most texts have a template of their own.
    None,
}

/// Appends the texts, unless their templates hardly repeat.
pub fn encode(texts: &[&str], effort: Effort, out: &mut Vec<u8>) -> Fit {
    // Early on, even templates that will repeat are new.
    const LOOKED_AT_FIRST: usize = 1024;
    if texts.len() < TEXTS_MIN {
        return Fit::None;
    }
    let mut writer = Writer::default();
    for (row, text) in texts.iter().enumerate() {
        writer.push(text);
        let count = row + 1;
        if count >= LOOKED_AT_FIRST && count.is_power_of_two() && writer.templates.len() > count / 2 {
            return Fit::None;
        }
    }
    let (template_count, variable_count) = (writer.templates.len(), writer.variables.len());
    writer.finish(effort, out);
    match () {
        _ if template_count > texts.len() / 8 || variable_count == 0 => Fit::Doubtful,
        _ => Fit::Good,
    }
}

#[derive(Default)]
struct Writer<'a> {
    templates: Vec<Template>,
    known: HashTable<u32>,
    hasher: foldhash::fast::FixedState,
    contexts: HashTable<u32>,
    context_of: Vec<Box<[u8]>>,
    /// The template of each row.
    rows: Vec<u32>,
    /// Of all rows, one row after the other.
    variables: Vec<&'a str>,
    scratch: Vec<u8>,
    /// The template of texts that are not split, once there is one.
    whole: Option<u32>,
}

struct Template {
    text: Box<[u8]>,
    /// The context of each slot.
    slots: Vec<u32>,
    row_count: usize,
}

impl<'a> Writer<'a> {
    fn push(&mut self, text: &'a str) {
        let before = self.variables.len();
        self.scratch.clear();
        split(text, &mut self.scratch, &mut self.variables);
        let template = match self.template(self.variables.len() - before) {
            Some(template) => template,
            None => {
                self.variables.truncate(before);
                self.variables.push(text);
                self.whole()
            }
        };
        self.rows.push(template);
        self.templates[template as usize].row_count += 1;
    }

    /// The template that lies in `scratch`; none if its text is not to be split.
    fn template(&mut self, slot_count: usize) -> Option<u32> {
        let (templates, text, hasher) = (&self.templates, &self.scratch[..], &self.hasher);
        let hash = hasher.hash_one(text);
        if let Some(&template) = self.known.find(hash, |&at| *templates[at as usize].text == *text) {
            return Some(template);
        }
        let is_splittable = slot_count <= SLOTS_MAX
            && templates.len() < TEMPLATES_MAX
            && text.iter().filter(|&&b| b == SLOT).count() == slot_count;
        if !is_splittable {
            return None;
        }
        let template = templates.len() as u32;
        self.known.insert_unique(hash, template, |&at| hasher.hash_one(&*templates[at as usize].text));
        let text: Box<[u8]> = text.into();
        let slots =
            memchr::memchr_iter(SLOT, &text).map(|slot| self.context(context(&text[..slot]))).collect();
        self.templates.push(Template { text, slots, row_count: 0 });
        Some(template)
    }

    fn whole(&mut self) -> u32 {
        *self.whole.get_or_insert_with(|| {
            let context = self.context_of.len() as u32;
            self.context_of.push(Box::default());
            self.templates.push(Template { text: [SLOT].into(), slots: vec![context], row_count: 0 });
            self.templates.len() as u32 - 1
        })
    }

    fn context(&mut self, context: &[u8]) -> u32 {
        let (hasher, contexts) = (&self.hasher, &mut self.context_of);
        let hash = hasher.hash_one(context);
        if let Some(&at) = self.contexts.find(hash, |&at| *contexts[at as usize] == *context) {
            return at;
        }
        let at = contexts.len() as u32;
        self.contexts.insert_unique(hash, at, |&at| hasher.hash_one(&*contexts[at as usize]));
        contexts.push(context.into());
        at
    }

    fn finish(self, effort: Effort, out: &mut Vec<u8>) {
        let (column_of, column_count) = self.columns();
        write_u64(out, self.templates.len() as u64);
        let texts: Vec<&str> = self.templates.iter().map(|template| template_text(&template.text)).collect();
        let mut bytes = Vec::new();
        joined::encode(&texts, effort, &mut bytes);
        put_bytes(out, &bytes);

        write_u64(out, column_count as u64);
        out.push(u8::from(self.whole.is_some()));
        let slots: Vec<u32> =
            self.templates.iter().flat_map(|t| &t.slots).map(|&c| column_of[c as usize]).collect();
        bytes.clear();
        numbers::encode(&slots, column_count, effort.zstd_level(), &mut bytes);
        put_bytes(out, &bytes);
        bytes.clear();
        numbers::encode(&self.rows, self.templates.len(), effort.zstd_level(), &mut bytes);
        put_bytes(out, &bytes);

        let mut columns = vec![Vec::new(); column_count];
        let mut variables = self.variables.iter();
        for &template in &self.rows {
            let slots = &self.templates[template as usize].slots;
            for (&context, &variable) in slots.iter().zip(&mut variables) {
                columns[column_of[context as usize] as usize].push(variable);
            }
        }
        for column in columns {
            bytes.clear();
            plain::encode(&column, effort, &mut bytes);
            put_bytes(out, &bytes);
        }
    }

    /// The column of each context, and how many there are. Contexts with few values share one; texts that are not
    /// split have the last one.
    fn columns(&self) -> (Vec<u32>, usize) {
        let mut value_count = vec![0; self.context_of.len()];
        for template in &self.templates {
            template.slots.iter().for_each(|&context| value_count[context as usize] += template.row_count);
        }
        let whole = self.whole.map(|template| self.templates[template as usize].slots[0]);
        let is_few = |context: usize| value_count[context] < COLUMN_VALUES_MIN;
        let has_few = (0..value_count.len()).any(|context| is_few(context) && Some(context as u32) != whole);
        let mut column_count = u32::from(has_few);
        let mut column_of: Vec<u32> = (0..value_count.len())
            .map(|context| match context {
                _ if Some(context as u32) == whole || is_few(context) => 0,
                _ => {
                    column_count += 1;
                    column_count - 1
                }
            })
            .collect();
        if let Some(whole) = whole {
            column_of[whole as usize] = column_count;
            column_count += 1;
        }
        (column_of, column_count as usize)
    }
}

fn template_text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("whole characters were taken out of a text")
}
