//! Operators between two vectors: which series belong together is settled once; then the "one" side is held and the
//! "many" side streams past it.
//!
//! Several series of the "one" side may share a signature as long as they take turns. Where some do, that side is read
//! before anything is announced: if two of them have a value at a step at which the "many" side has any, there is no
//! result at all, and otherwise there are at most as many pairs as series that do have values.

use std::collections::HashMap;

use crate::model::Labels;
use crate::query::QueryError;
use crate::query::promql::ast::{Cardinality, VectorMatching};

use super::announced::Announced;
use super::binary::{Operator, cells};
use super::context::{Context, Held};
use super::matching::{Signature, Signatures, result_labels};
use super::row::{Cell, OutputSeries, Row};
use super::source::{BoxedSource, Rows, Source};
use super::step_set::StepSet;
use super::turns::{Met, Turns, first_met};

/// The series of both sides that share a signature.
struct MatchGroup {
    labels: Labels,
    partners: Vec<usize>,
    /// Steps at which the "one" side has a value; only kept where a fill value may stand in for it.
    present: StepSet,
    /// Steps at which something of the "many" side met something of the "one" side.
    matched: StepSet,
}

/// Series of the "one" side with which a series of the "many" side makes one result, as one row.
struct Partner {
    group: usize,
    labels: Labels,
    ones: Vec<usize>,
    row: Row,
    /// Where the group has none of the "one" side, the fill value is met instead.
    stands_in: bool,
}

/// One announced output; the series of the "many" side may be missing where a fill value stands in for it.
#[derive(Clone, Copy)]
struct Output {
    many: Option<usize>,
    partner: usize,
    /// Which of the claims it shares with others of the same labels.
    claim: Option<usize>,
}

/// `left op on(…) group_left(…) right`.
pub struct Join<'q> {
    context: &'q Context<'q>,
    operator: Operator,
    matching: VectorMatching,
    many: BoxedSource<'q>,
    many_groups: Vec<usize>,
    /// `None` as soon as it is read.
    ones: Option<BoxedSource<'q>>,
    groups: Vec<MatchGroup>,
    partners: Vec<Partner>,
    outputs: Vec<Output>,
    announced: Announced<'q>,
    /// For results whose labels come more than once in a match group: the steps that have one already.
    claims: Vec<StepSet>,
    many_row: Row,
    many_at: Option<usize>,
    steps: usize,
    given: usize,
    held: Held<'q>,
    one_rows: Option<Held<'q>>,
}

impl<'q> Join<'q> {
    pub fn new(
        context: &'q Context<'q>,
        operator: Operator,
        matching: &VectorMatching,
        left: BoxedSource<'q>,
        right: BoxedSource<'q>,
        steps: usize,
    ) -> Result<Join<'q>, QueryError> {
        let swapped = matching.cardinality == Cardinality::OneToMany;
        let (many, ones) = if swapped { (right, left) } else { (left, right) };
        let mut signatures = Signatures::new(context, matching);
        let many_groups = signatures.number(many.series())?;
        let one_groups = signatures.number(ones.series())?;
        let mut seen = vec![false; signatures.len()];
        let is_shared = one_groups.iter().any(|&group| std::mem::replace(&mut seen[group], true));
        let (signatures, held) = signatures.into_labels();
        let mut join = Join {
            context,
            operator,
            matching: matching.clone(),
            many,
            many_groups,
            ones: None,
            groups: Vec::new(),
            partners: Vec::new(),
            outputs: Vec::new(),
            announced: Announced::none(context),
            claims: Vec::new(),
            many_row: Row::default(),
            many_at: None,
            steps,
            given: 0,
            held,
            one_rows: None,
        };
        join.make_groups(signatures)?;
        if is_shared {
            let rows = Rows::collect(context, ones, steps)?;
            join.refuse_ambiguity(&Turns { context, ones: &rows, groups: &one_groups, steps })?;
            join.find_partners(&rows.series, &one_groups, |one| !rows.rows[one].is_empty())?;
            join.take_rows(rows)?;
        } else {
            join.find_partners(ones.series(), &one_groups, |_| true)?;
            join.ones = Some(ones);
        }
        join.announce()?;
        join.find_claims()?;
        Ok(join)
    }

    fn is_swapped(&self) -> bool {
        self.matching.cardinality == Cardinality::OneToMany
    }

    /// What stands in for a missing element of the "one" side and of the "many" side. With `group_right`, too,
    /// Prometheus takes `fill_left` for the "many" side, which then is the right one.
    fn fills(&self) -> (Option<f64>, Option<f64>) {
        (self.matching.fill_right.map(|n| n.value), self.matching.fill_left.map(|n| n.value))
    }

    fn make_groups(&mut self, signatures: Vec<Labels>) -> Result<(), QueryError> {
        let present_steps = if self.fills().0.is_some() { self.steps } else { 0 };
        let bytes = size_of::<MatchGroup>() + (self.steps + present_steps) / 8;
        self.held.grow((signatures.len() * bytes) as u64)?;
        self.groups.reserve(signatures.len());
        for (i, labels) in signatures.into_iter().enumerate() {
            self.context.check_every(i)?;
            self.groups.push(MatchGroup {
                labels,
                partners: Vec::new(),
                present: StepSet::new(present_steps),
                matched: StepSet::new(self.steps),
            });
        }
        Ok(())
    }

    /// Refuses what has two series of one signature at a step where both sides have series. With a fill value the
    /// sides are compared even where the "many" side is empty.
    fn refuse_ambiguity(&mut self, turns: &Turns<'_, 'q>) -> Result<(), QueryError> {
        let ambiguous = turns.ambiguous_steps()?;
        let Some(first) = ambiguous.first() else { return Ok(()) };
        let step = if self.fills() == (None, None) {
            let many = std::mem::replace(&mut self.many, Box::new(Rows::empty()));
            match first_met(self.context, many, &ambiguous, self.steps)? {
                Met::At(step) => step,
                Met::Never(rows) => {
                    self.many = Box::new(rows);
                    return Ok(());
                }
            }
        } else {
            first
        };
        let side = if self.is_swapped() { "left" } else { "right" };
        Err(turns.error(step, side, &Signature::new(&self.matching)))
    }

    /// Groups the series of the "one" side that have values by what of their labels shows in results.
    fn find_partners(
        &mut self,
        ones: &[OutputSeries],
        groups: &[usize],
        has_values: impl Fn(usize) -> bool,
    ) -> Result<(), QueryError> {
        let fills = self.fills().0.is_some();
        let count = ones.len() + if fills { self.groups.len() } else { 0 };
        self.held.grow((count * (size_of::<Partner>() + 2 * size_of::<usize>())) as u64)?;
        let mut keys = PartnerKeys { numbers: HashMap::new(), held: self.context.hold_nothing() };
        for (one, series) in ones.iter().enumerate() {
            self.context.check_every(one)?;
            if has_values(one) {
                let partner = self.partner(groups[one], &series.labels, &mut keys)?;
                self.partners[partner].ones.push(one);
            }
        }
        for group in (0..self.groups.len()).filter(|_| fills) {
            self.context.check_every(group)?;
            let labels = self.groups[group].labels.clone();
            let partner = self.partner(group, &labels, &mut keys)?;
            self.partners[partner].stands_in = true;
        }
        Ok(())
    }

    fn partner(
        &mut self,
        group: usize,
        labels: &Labels,
        keys: &mut PartnerKeys<'q>,
    ) -> Result<usize, QueryError> {
        let include: Vec<&str> = self.matching.include.iter().map(String::as_str).collect();
        let key = (group, labels.keep(&include));
        if let Some(&known) = keys.numbers.get(&key) {
            return Ok(known);
        }
        keys.held.grow((size_of_val(&key) + size_of::<usize>() + key.1.text_len()) as u64)?;
        let number = self.partners.len();
        keys.numbers.insert(key, number);
        self.groups[group].partners.push(number);
        self.partners.push(Partner {
            group,
            labels: labels.clone(),
            ones: Vec::new(),
            row: Row::default(),
            stands_in: false,
        });
        Ok(number)
    }

    /// The results there may be: each series of the "many" side with each of its partners, and last, where a fill
    /// value may stand in for that side, the partners alone.
    fn announce(&mut self) -> Result<(), QueryError> {
        let many_series = self.many.series().to_vec();
        for (many, series) in many_series.iter().enumerate() {
            self.context.check_every(many)?;
            let group = self.many_groups[many];
            for i in 0..self.groups[group].partners.len() {
                let partner = self.groups[group].partners[i];
                self.push(Output { many: Some(many), partner, claim: None }, &series.labels)?;
            }
        }
        let fills = self.fills().1.is_some();
        for partner in (0..self.partners.len()).filter(|_| fills) {
            if !self.partners[partner].ones.is_empty() {
                let labels = self.groups[self.partners[partner].group].labels.clone();
                self.push(Output { many: None, partner, claim: None }, &labels)?;
            }
        }
        Ok(())
    }

    fn push(&mut self, output: Output, many: &Labels) -> Result<(), QueryError> {
        let one = &self.partners[output.partner].labels;
        let labels = result_labels(self.context, &self.operator, &self.matching, many, one);
        self.held.grow(size_of::<Output>() as u64)?;
        self.outputs.push(output);
        let drop_name = self.operator.return_bool;
        self.announced.push_made_from(many, OutputSeries { labels, drop_name })
    }

    /// With `group_left`, two results of one match group may get the same labels; only those are watched.
    fn find_claims(&mut self) -> Result<(), QueryError> {
        if self.matching.cardinality == Cardinality::OneToOne {
            return Ok(());
        }
        let entry_bytes = size_of::<((usize, &Labels), usize)>();
        let _firsts = self.context.hold((self.outputs.len() * entry_bytes) as u64)?;
        let mut firsts: HashMap<(usize, &Labels), usize> = HashMap::with_capacity(self.outputs.len());
        for i in 0..self.outputs.len() {
            self.context.check_every(i)?;
            let group = self.partners[self.outputs[i].partner].group;
            let first = *firsts.entry((group, &self.announced[i].labels)).or_insert(i);
            if first == i {
                continue;
            }
            let claim = match self.outputs[first].claim {
                Some(claim) => claim,
                None => {
                    self.held.grow((size_of::<StepSet>() + self.steps / 8) as u64)?;
                    self.claims.push(StepSet::new(self.steps));
                    self.claims.len() - 1
                }
            };
            self.outputs[first].claim = Some(claim);
            self.outputs[i].claim = Some(claim);
        }
        Ok(())
    }

    /// Gives each partner its row: they take turns, so the rows of its series are one.
    fn take_rows(&mut self, ones: Rows<'q>) -> Result<(), QueryError> {
        let (_, mut rows, held) = ones.into_parts();
        self.one_rows = held;
        let needs_present = self.fills().0.is_some();
        for partner in &mut self.partners {
            self.context.budget.check()?;
            let group = &mut self.groups[partner.group];
            for (i, &one) in partner.ones.iter().enumerate() {
                let row = std::mem::take(&mut rows[one]);
                for step in (0..self.steps).filter(|&step| row.has(step)) {
                    if needs_present {
                        group.present.insert(step);
                    }
                    if i > 0 {
                        partner.row.set(step, row.cell(step));
                    }
                }
                if i == 0 {
                    partner.row = row;
                }
            }
        }
        Ok(())
    }

    /// Moves the "many" side to the series of the output.
    fn load_many(&mut self, many: usize) -> Result<(), QueryError> {
        while self.many_at.is_none_or(|at| at < many) {
            self.context.budget.check()?;
            self.many.next(&mut self.many_row)?;
            self.many_at = Some(self.many_at.map_or(0, |at| at + 1));
        }
        Ok(())
    }

    /// The two values of an output at a step, the "many" side first.
    fn values(&self, output: Output, step: usize) -> Option<(Cell, Cell)> {
        let (fill_one, fill_many) = self.fills();
        let partner = &self.partners[output.partner];
        let group = &self.groups[partner.group];
        let one = if partner.ones.is_empty() { None } else { partner.row.cell(step) };
        match (output.many, one) {
            (Some(_), Some(one)) => Some((self.many_row.cell(step)?, one)),
            (Some(_), None) => {
                let alone = partner.stands_in && !group.present.contains(step);
                Some((self.many_row.cell(step)?, Cell::Float(fill_one.filter(|_| alone)?)))
            }
            (None, one) => {
                let alone = !group.matched.contains(step);
                Some((Cell::Float(fill_many.filter(|_| alone)?), one?))
            }
        }
    }

    /// Refuses a second result of a match group where there may be only one.
    fn claim(&mut self, output: Output, step: usize) -> Result<(), QueryError> {
        let is_first = self.groups[self.partners[output.partner].group].matched.insert(step);
        let (is_fine, problem) = match self.matching.cardinality {
            Cardinality::OneToOne => {
                (is_first, "many-to-one matching must be explicit (group_left/group_right)")
            }
            _ => {
                let claim = output.claim.map(|claim| &mut self.claims[claim]);
                (claim.is_none_or(|steps| steps.insert(step)), "grouping labels must ensure unique matches")
            }
        };
        if is_fine {
            return Ok(());
        }
        Err(QueryError::Execution(format!("multiple matches for labels: {problem}")))
    }
}

/// The partners of a group by what is included of their labels.
struct PartnerKeys<'q> {
    numbers: HashMap<(usize, Labels), usize>,
    held: Held<'q>,
}

impl Source for Join<'_> {
    fn series(&self) -> &[OutputSeries] {
        &self.announced
    }

    fn next(&mut self, row: &mut Row) -> Result<(), QueryError> {
        if let Some(ones) = self.ones.take() {
            let rows = Rows::collect(self.context, ones, self.steps)?;
            self.take_rows(rows)?;
        }
        let output = self.outputs[self.given];
        self.given += 1;
        row.reset(self.steps);
        // The results for elements missing on the "many" side come last, when all of it is read: it may have none.
        if let Some(many) = output.many.or(self.many_groups.len().checked_sub(1)) {
            self.load_many(many)?;
        }
        let Operator { op, return_bool, position } = self.operator;
        let context = self.context;
        for steps in context.pieces(self.steps) {
            for step in steps? {
                let Some((many, one)) = self.values(output, step) else { continue };
                let (a, b) = if self.is_swapped() { (&one, &many) } else { (&many, &one) };
                let Some(outcome) = cells(op, a, b, &mut |note| context.note(note, position)) else {
                    continue;
                };
                self.claim(output, step)?;
                if return_bool {
                    row.set_float(step, f64::from(u8::from(outcome.keep)));
                } else if outcome.keep {
                    row.set(step, Some(outcome.value));
                }
            }
        }
        Ok(())
    }
}
