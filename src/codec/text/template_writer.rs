//! Texts as templates and columns of variables.

use std::hash::BuildHasher;

use hashbrown::HashTable;

use super::plain::Alphabet;
use super::split::{SLOT, Variable, context, split};
use super::{Effort, Grams, joined, plain, put_bytes};
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

/// Appends the texts, unless their templates hardly repeat. Where it does, it adds their grams to `grams`.
pub fn encode(texts: &[&str], effort: Effort, grams: Option<&mut Grams>, out: &mut Vec<u8>) -> Fit {
    // Early on, even templates that will repeat are new.
    const LOOKED_AT_FIRST: usize = 1024;
    if texts.len() < TEXTS_MIN {
        return Fit::None;
    }
    let mut writer = Writer::new(texts);
    for row in 0..texts.len() {
        writer.push(row);
        let count = row + 1;
        if count >= LOOKED_AT_FIRST && count.is_power_of_two() && writer.templates.len() > count / 2 {
            return Fit::None;
        }
    }
    let (template_count, variable_count) = (writer.templates.len(), writer.variables.len());
    writer.finish(effort, grams, out);
    match () {
        _ if template_count > texts.len() / 8 || variable_count == 0 => Fit::Doubtful,
        _ => Fit::Good,
    }
}

struct Writer<'a> {
    texts: &'a [&'a str],
    templates: Vec<Template<'a>>,
    known: HashTable<u32>,
    hasher: foldhash::fast::FixedState,
    contexts: HashTable<u32>,
    context_of: Vec<Box<[u8]>>,
    /// The template of each row.
    rows: Vec<u32>,
    /// Of all rows, one row after the other.
    variables: Vec<Variable>,
    scratch: Vec<u8>,
    /// The template of texts that are not split, once there is one.
    whole: Option<u32>,
}

struct Template<'a> {
    text: Box<[u8]>,
    /// The context of each slot.
    slots: Vec<u32>,
    row_count: usize,
    /// The variables of its first row.
    first: Vec<&'a str>,
    /// The slots in which all rows so far have the same.
    constant: Vec<u16>,
}

impl<'a> Writer<'a> {
    fn new(texts: &'a [&'a str]) -> Writer<'a> {
        Writer {
            texts,
            templates: Vec::new(),
            known: HashTable::new(),
            hasher: Default::default(),
            contexts: HashTable::new(),
            context_of: Vec::new(),
            rows: Vec::with_capacity(texts.len()),
            variables: Vec::with_capacity(8 * texts.len()),
            scratch: Vec::new(),
            whole: None,
        }
    }

    fn push(&mut self, row: usize) {
        let text = self.texts[row];
        let before = self.variables.len();
        self.scratch.clear();
        split(text, &mut self.scratch, &mut self.variables);
        let template = match self.template(self.variables.len() - before) {
            Some(template) => template,
            None => {
                self.variables.truncate(before);
                self.variables.push(Variable::whole(text));
                self.whole()
            }
        };
        self.rows.push(template);
        let (template, variables) = (&mut self.templates[template as usize], &self.variables[before..]);
        if template.row_count == 0 {
            template.first.extend(variables.iter().map(|variable| variable.of(text)));
        } else {
            template
                .constant
                .retain(|&slot| variables[slot as usize].of(text) == template.first[slot as usize]);
        }
        template.row_count += 1;
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
        self.templates.push(Template::new(text, slots));
        Some(template)
    }

    fn whole(&mut self) -> u32 {
        *self.whole.get_or_insert_with(|| {
            let context = self.context_of.len() as u32;
            self.context_of.push(Box::default());
            self.templates.push(Template::new([SLOT].into(), vec![context]));
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

    fn finish(mut self, effort: Effort, mut grams: Option<&mut Grams>, out: &mut Vec<u8>) {
        self.fix_constants();
        let (column_of, column_count) = self.columns();
        write_u64(out, self.templates.len() as u64);
        let texts: Vec<String> = self.templates.iter().map(Template::final_text).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let mut bytes = Vec::new();
        joined::encode(&texts, effort, &mut bytes);
        put_bytes(out, &bytes);
        if let Some(grams) = &mut grams {
            grams.add_all(&texts);
        }

        write_u64(out, column_count as u64);
        out.push(u8::from(self.whole.is_some()));
        // Of each template the slots that stay, and their columns.
        let slots: Vec<Vec<(usize, u32)>> =
            self.templates.iter().map(|t| t.final_slots(&column_of)).collect();
        let columns: Vec<u32> = slots.iter().flatten().map(|&(_, column)| column).collect();
        bytes.clear();
        numbers::encode(&columns, column_count, effort.zstd_level(), &mut bytes);
        put_bytes(out, &bytes);
        bytes.clear();
        numbers::encode(&self.rows, self.templates.len(), effort.zstd_level(), &mut bytes);
        put_bytes(out, &bytes);

        let mut columns = vec![Vec::new(); column_count];
        let mut next = 0;
        for (&template, text) in self.rows.iter().zip(self.texts) {
            for &(slot, column) in &slots[template as usize] {
                columns[column as usize].push(self.variables[next + slot].of(text));
            }
            next += self.templates[template as usize].slots.len();
        }
        for column in columns {
            write_u64(out, column.iter().map(|value| value.len()).max().unwrap_or(0) as u64);
            bytes.clear();
            plain::encode(&column, effort, &mut bytes);
            put_bytes(out, &bytes);
            // Letters in a row are all of one variable or all of the template, see `split`.
            if let Some(grams) = grams.as_mut().filter(|_| Alphabet::of(&bytes) == Alphabet::Any) {
                grams.add_all(&column);
            }
        }
    }

    /// Makes variables that do not vary part of their templates: it saves a column's values, and readers time.
    fn fix_constants(&mut self) {
        // In fewer rows it may be chance, and the text of a template is not packed as well as a column.
        const ROWS_MIN: usize = 8;
        // The value that all variables of a context have.
        let mut value_of: Vec<Option<&str>> = vec![None; self.context_of.len()];
        let mut varies = vec![false; self.context_of.len()];
        for template in &self.templates {
            for (slot, (&context, &value)) in template.slots.iter().zip(&template.first).enumerate() {
                let is_same =
                    template.is_constant(slot) && *value_of[context as usize].get_or_insert(value) == value;
                varies[context as usize] |= !is_same;
            }
        }
        let whole = self.whole;
        for (at, template) in self.templates.iter_mut().enumerate() {
            let (slots, is_frequent) = (&template.slots, template.row_count >= ROWS_MIN);
            let is_fixed = |slot: u16| is_frequent || !varies[slots[slot as usize] as usize];
            let holds_slot =
                |slot: u16| memchr::memchr(SLOT, template.first[slot as usize].as_bytes()).is_some();
            template.constant.retain(|&slot| is_fixed(slot) && Some(at as u32) != whole && !holds_slot(slot));
        }
    }

    /// The column of each context, and how many there are. Contexts with few values share one; texts that are not
    /// split have the last one.
    fn columns(&self) -> (Vec<u32>, usize) {
        let mut value_count = vec![0; self.context_of.len()];
        for template in &self.templates {
            for (slot, &context) in template.slots.iter().enumerate() {
                value_count[context as usize] +=
                    if template.is_constant(slot) { 0 } else { template.row_count };
            }
        }
        let whole = self.whole.map(|template| self.templates[template as usize].slots[0]);
        let is_few = |context: usize| value_count[context] < COLUMN_VALUES_MIN;
        let is_shared = |context: usize| is_few(context) && value_count[context] > 0;
        let has_few = (0..value_count.len()).any(|at| is_shared(at) && Some(at as u32) != whole);
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

impl<'a> Template<'a> {
    fn new(text: Box<[u8]>, slots: Vec<u32>) -> Template<'a> {
        let constant = (0..slots.len() as u16).collect();
        Template { text, slots, row_count: 0, first: Vec::new(), constant }
    }

    fn is_constant(&self, slot: usize) -> bool {
        self.constant.binary_search(&(slot as u16)).is_ok()
    }

    /// The text with its constants in their places.
    fn final_text(&self) -> String {
        let text = std::str::from_utf8(&self.text).expect("whole characters were taken out of a text");
        let mut pieces = text.split(char::from(SLOT));
        let mut text = pieces.next().unwrap_or_default().to_owned();
        for (slot, piece) in pieces.enumerate() {
            if self.is_constant(slot) {
                text.push_str(self.first[slot]);
            } else {
                text.push(char::from(SLOT));
            }
            text.push_str(piece);
        }
        text
    }

    /// The slots that stay, and the columns of their contexts.
    fn final_slots(&self, column_of: &[u32]) -> Vec<(usize, u32)> {
        let slots = self.slots.iter().enumerate().filter(|&(slot, _)| !self.is_constant(slot));
        slots.map(|(slot, &context)| (slot, column_of[context as usize])).collect()
    }
}
