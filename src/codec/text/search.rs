//! Which rows hold a literal, told from templates and columns of variables without putting texts together.
//!
//! A template whose own text holds the literal decides for all its rows. Otherwise the literal may lie over one or
//! more variables in one or more ways; each way is a list of conditions on variables. A condition is tried on a
//! whole column at once, and only if the structure allows for it.

use memchr::memmem::Finder;

use super::anchor;
use super::slots::{Columns, Slots};
use super::split::SLOT;
use super::templates::Templates;
use crate::codec::Malformed;
use crate::codec::rows::RowSet;

/// Looking for more ways would cost more than putting the texts together.
const STEPS_MAX: usize = 4096;

/// What the literal's part `from..to` must be to a variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Condition {
    column: u32,
    relation: Relation,
    from: usize,
    to: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Relation {
    All,
    Start,
    End,
    Inside,
}

/// A slot of the template, and the number of the condition that its variable must meet.
type Demand = (usize, usize);

enum Verdict {
    Never,
    Always,
    /// If all demands of one way are met.
    If(Vec<Vec<Demand>>),
    Unsure,
}

pub struct Search<'s, 'a> {
    templates: &'s Templates<'a>,
    slots: &'s Slots,
    columns: &'s Columns<'a>,
    needle: &'s Finder<'s>,
    literal: &'s [u8],
    /// Of each column, how many bytes of the literal, from its start, a value may hold.
    starts: Vec<usize>,
    is_in_literal: [bool; 256],
    /// Conditions that came up, and for which values of the column each holds; nothing: for none.
    conditions: Vec<(Condition, Option<Vec<bool>>)>,
    /// The numbers of the conditions on each column.
    of_column: Vec<Vec<usize>>,
}

impl<'s, 'a> Search<'s, 'a> {
    /// Leaves the rows that hold the literal, and those that may; gives the latter.
    pub fn run(
        templates: &'s Templates<'a>,
        needle: &'s Finder<'s>,
        rows: &mut RowSet,
    ) -> Result<RowSet, Malformed> {
        let (texts, literal) = (templates.texts(), needle.needle());
        let candidates = match templates.has_wholes() {
            true => None,
            false => anchor::templates_that_may_hold(templates, literal)?,
        };
        let candidates = candidates.unwrap_or_else(|| RowSet::all(texts.count()));
        if candidates.is_empty() {
            rows.clear();
            return Ok(RowSet::none(rows.row_count()));
        }
        let (columns, slots) = (templates.columns()?, templates.slots()?);
        let of_column = vec![Vec::new(); templates.column_count()];
        let starts = columns.all().iter().map(|column| column.may_hold(literal)).collect();
        let mut is_in_literal = [false; 256];
        literal.iter().for_each(|&byte| is_in_literal[byte as usize] = true);
        let conditions = Vec::new();
        Search { templates, slots, columns, needle, literal, starts, is_in_literal, conditions, of_column }
            .run_in(&candidates, rows)
    }

    fn run_in(mut self, candidates: &RowSet, rows: &mut RowSet) -> Result<RowSet, Malformed> {
        let mut verdicts: Vec<Verdict> =
            (0..self.templates.texts().count()).map(|_| Verdict::Never).collect();
        for template in candidates.iter() {
            verdicts[template] = self.verdict(template)?;
        }
        let has = |of: fn(&Verdict) -> bool| verdicts.iter().any(of);
        let mut unsure = RowSet::none(rows.row_count());
        if has(|verdict| matches!(verdict, Verdict::If(_))) {
            self.try_rows(&verdicts, rows, &mut unsure)?;
        } else if !has(|verdict| !matches!(verdict, Verdict::Never)) {
            rows.clear();
        } else if has(|verdict| !matches!(verdict, Verdict::Always)) {
            let of_rows = self.templates.of_rows()?;
            let may_hold: Vec<bool> =
                verdicts.iter().map(|verdict| !matches!(verdict, Verdict::Never)).collect();
            rows.retain_values(of_rows, |template| may_hold[*template as usize]);
            if has(|verdict| matches!(verdict, Verdict::Unsure)) {
                unsure = rows.clone();
                unsure.retain(|row| matches!(verdicts[of_rows[row] as usize], Verdict::Unsure));
            }
        }
        Ok(unsure)
    }

    /// Goes through the rows, as the values of the columns lie, and tries the demands of each.
    fn try_rows(
        &self,
        verdicts: &[Verdict],
        rows: &mut RowSet,
        unsure: &mut RowSet,
    ) -> Result<(), Malformed> {
        let mut is_asked = vec![false; self.templates.column_count()];
        self.conditions.iter().for_each(|(condition, _)| is_asked[condition.column as usize] = true);
        // The columns that conditions are about, slot by slot, without the others.
        let asked: Vec<Vec<u32>> = (0..verdicts.len())
            .map(|template| {
                let slots = self.slots.columns_of(template).iter().copied();
                slots.filter(|&column| is_asked[column as usize]).collect()
            })
            .collect();
        let mut nexts = vec![0usize; self.templates.column_count()];
        for (row, &template) in self.templates.of_rows()?.iter().enumerate() {
            let template = template as usize;
            if rows.contains(row) {
                let holds = match &verdicts[template] {
                    Verdict::Always => true,
                    Verdict::Never => false,
                    Verdict::Unsure => {
                        unsure.insert(row);
                        true
                    }
                    Verdict::If(ways) => ways.iter().any(|demands| self.are_met(demands, template, &nexts)),
                };
                if !holds {
                    rows.remove(row);
                }
            }
            asked[template].iter().for_each(|&column| nexts[column as usize] += 1);
        }
        Ok(())
    }

    fn are_met(&self, demands: &[Demand], template: usize, nexts: &[usize]) -> bool {
        let slots = self.slots.columns_of(template);
        demands.iter().all(|&(slot, condition)| {
            let column = slots[slot];
            let before = slots[..slot].iter().filter(|&&other| other == column).count();
            let (_, holds) = &self.conditions[condition];
            holds.as_ref().is_some_and(|holds| holds[nexts[column as usize] + before])
        })
    }

    fn verdict(&mut self, template: usize) -> Result<Verdict, Malformed> {
        let mut ways = Ways { template, found: Vec::new(), demands: Vec::new(), steps: 0 };
        // A slot is no part of the text.
        let text = self.templates.texts().get(template).as_bytes();
        if !self.literal.contains(&SLOT) && self.needle.find(text).is_some() {
            return Ok(Verdict::Always);
        }
        let (columns, pieces) = (self.slots.columns_of(template), self.slots.pieces_of(template));
        let texts = self.templates.texts().bytes();
        for (slot, (&column, piece)) in columns.iter().zip(pieces).enumerate() {
            let last = texts[piece.range()].last();
            if last.is_some_and(|&last| self.is_in_literal[last as usize]) {
                self.start_in_piece(slot, &mut ways)?;
            }
            if self.starts[column as usize] > 0 {
                self.start_in_variable(slot, &mut ways)?;
            }
            if ways.steps > STEPS_MAX {
                return Ok(Verdict::Unsure);
            }
        }
        Ok(if ways.found.is_empty() { Verdict::Never } else { Verdict::If(ways.found) })
    }

    /// The text before a template's slot of this number, or after its last one.
    fn piece(&self, template: usize, slot: usize) -> &'s [u8] {
        &self.templates.texts().padded()[self.slots.pieces_of(template)[slot].range()]
    }

    /// The literal begins in the text before the slot and goes on in it.
    fn start_in_piece(&mut self, slot: usize, ways: &mut Ways) -> Result<(), Malformed> {
        let piece = self.piece(ways.template, slot);
        let Some(&last) = piece.last() else {
            return Ok(());
        };
        for len in 1..self.literal.len().min(piece.len() + 1) {
            if self.literal[len - 1] == last && piece.ends_with(&self.literal[..len]) {
                self.variable_at(slot, len, ways)?;
            }
        }
        Ok(())
    }

    /// The literal begins in the variable.
    fn start_in_variable(&mut self, slot: usize, ways: &mut Ways) -> Result<(), Malformed> {
        let column = self.slots.columns_of(ways.template)[slot];
        let after = self.piece(ways.template, slot + 1).first().copied();
        for len in 1..=self.starts[column as usize] {
            if len == self.literal.len() {
                self.demand(slot, Relation::Inside, 0, len, ways, Self::take)?;
            } else if after.is_none_or(|after| after == self.literal[len]) {
                self.demand(slot, Relation::End, 0, len, ways, |search, ways| {
                    search.piece_at(slot + 1, len, ways)
                })?;
            }
        }
        Ok(())
    }

    /// The literal goes on at `at` with the start of the variable.
    fn variable_at(&mut self, slot: usize, at: usize, ways: &mut Ways) -> Result<(), Malformed> {
        let column = self.slots.columns_of(ways.template)[slot];
        let after = self.piece(ways.template, slot + 1).first().copied();
        for to in at + 1..=at + self.columns.get(column).may_hold(&self.literal[at..]) {
            if to == self.literal.len() {
                self.demand(slot, Relation::Start, at, to, ways, Self::take)?;
            } else if after.is_none_or(|after| after == self.literal[to]) {
                self.demand(slot, Relation::All, at, to, ways, |search, ways| {
                    search.piece_at(slot + 1, to, ways)
                })?;
            }
        }
        Ok(())
    }

    /// The literal goes on at `at` with the start of the text before the slot, or after the last one.
    fn piece_at(&mut self, slot: usize, at: usize, ways: &mut Ways) -> Result<(), Malformed> {
        let (piece, rest) = (self.piece(ways.template, slot), &self.literal[at..]);
        if piece.starts_with(rest) {
            return self.take(ways);
        }
        if rest.starts_with(piece) && slot < self.slots.columns_of(ways.template).len() {
            return self.variable_at(slot, at + piece.len(), ways);
        }
        Ok(())
    }

    /// Goes on with `then` where the variable is to meet a condition, if any value of its column does.
    fn demand(
        &mut self,
        slot: usize,
        relation: Relation,
        from: usize,
        to: usize,
        ways: &mut Ways,
        then: impl FnOnce(&mut Self, &mut Ways) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        ways.steps += 1;
        if ways.steps > STEPS_MAX {
            return Ok(());
        }
        let column = self.slots.columns_of(ways.template)[slot];
        ways.demands.push((slot, Condition { column, relation, from, to }));
        then(self, ways)?;
        ways.demands.pop();
        Ok(())
    }

    /// A way was found: it is taken if each of its conditions holds for some value.
    fn take(&mut self, ways: &mut Ways) -> Result<(), Malformed> {
        let mut demands = Vec::with_capacity(ways.demands.len());
        for &(slot, condition) in &ways.demands {
            let number = self.condition(condition)?;
            if self.conditions[number].1.is_none() {
                return Ok(());
            }
            demands.push((slot, number));
        }
        ways.found.push(demands);
        Ok(())
    }

    /// The number of the condition, tried on its column.
    fn condition(&mut self, condition: Condition) -> Result<usize, Malformed> {
        let known = &self.of_column[condition.column as usize];
        if let Some(&known) = known.iter().find(|&&known| self.conditions[known].0 == condition) {
            return Ok(known);
        }
        let holds = self.values_that_meet(condition)?;
        self.of_column[condition.column as usize].push(self.conditions.len());
        self.conditions.push((condition, holds));
        Ok(self.conditions.len() - 1)
    }

    /// For which values of the column the condition holds; nothing: for none.
    fn values_that_meet(&self, condition: Condition) -> Result<Option<Vec<bool>>, Malformed> {
        let part = &self.literal[condition.from..condition.to];
        let finder = Finder::new(part);
        if !self.templates.may_find(condition.column, &finder)? {
            return Ok(None);
        }
        let plain = self.templates.plain(condition.column)?;
        if finder.find(plain.texts().bytes()).is_none() {
            return Ok(None);
        }
        let mut values = RowSet::all(plain.count());
        plain.retain(&mut values, |text| match condition.relation {
            Relation::All => text.as_bytes() == part,
            Relation::Start => text.as_bytes().starts_with(part),
            Relation::End => text.as_bytes().ends_with(part),
            Relation::Inside => finder.find(text.as_bytes()).is_some(),
        });
        let holds = || (0..plain.count()).map(|value| values.contains(value)).collect();
        Ok((!values.is_empty()).then(holds))
    }
}

/// The ways in which a literal may lie over the variables of one template.
struct Ways {
    template: usize,
    found: Vec<Vec<Demand>>,
    /// Of the way being looked for.
    demands: Vec<(usize, Condition)>,
    steps: usize,
}
