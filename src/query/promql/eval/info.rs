//! `info(v, {…})`: labels of info series (`target_info` and its like) added to those of other series that come
//! from the same instance and job. Which info series is the right one may change from step to step.

use std::collections::{BTreeSet, HashMap};

use crate::model::labels::METRIC_NAME;
use crate::model::{Labels, LabelsBuilder, MatchOp, Matcher};
use crate::query::QueryError;
use crate::query::promql::ast::{Call, Expr, ExprKind, PositionRange};

use super::build::Builder;
use super::context::Context;
use super::row::{Grid, OutputSeries, Row};
use super::select::{DataTime, InstantSelector, Yield};
use super::source::{BoxedSource, Rows, same_labelset};

const IDENTIFYING: [&str; 2] = ["instance", "job"];

/// The second argument of `info`, taken apart.
struct InfoSelector {
    /// Which metrics are info metrics.
    names: Vec<Matcher>,
    /// Which of their labels are added; all if there is none.
    data: Vec<Matcher>,
}

/// Info series by what they have in common with others: `(name, instance, job)`.
struct InfoSeries<'q> {
    rows: Rows<'q>,
    group_of: Vec<usize>,
    groups: HashMap<(String, [String; 2]), usize>,
}

impl<'q> Builder<'q> {
    pub fn info(&self, call: &Call, grid: Grid) -> Result<BoxedSource<'q>, QueryError> {
        let selector = InfoSelector::new(call.args.get(1));
        let time = self.first_data_time(&call.args[0], DataTime::default())?.unwrap_or_default();
        let base = Rows::collect(self.context, self.vector(&call.args[0], grid)?, grid.len)?;
        let infos = self.info_series(&selector, &base.series, time, grid, call.args[0].position)?;
        let choices = grid.len * infos.groups.len() * size_of::<Option<usize>>();
        let mut held = self.context.hold(choices as u64)?;
        let mut place_of: HashMap<Labels, usize> = HashMap::new();
        let (mut series, mut rows): (Vec<OutputSeries>, Vec<Row>) = (Vec::new(), Vec::new());
        let chosen: Vec<Vec<Option<usize>>> =
            (0..grid.len).map(|step| infos.chosen(self.context, step)).collect::<Result<_, _>>()?;
        for (announced, row) in base.series.iter().zip(&base.rows) {
            self.context.budget.check()?;
            let groups = if selector.is_info(announced) { None } else { Some(infos.groups_for(announced)) };
            // The same info series give the same labels: they are put together once.
            let mut known: HashMap<Vec<usize>, Option<Labels>> = HashMap::new();
            for (step, chosen) in chosen.iter().enumerate() {
                self.context.check_every(step)?;
                let Some(cell) = row.cell(step) else { continue };
                let partners: Vec<usize> = match &groups {
                    Some(groups) => groups.iter().filter_map(|&g| chosen[g]).collect(),
                    None => Vec::new(),
                };
                let labels = match (&groups, known.get(&partners)) {
                    (None, _) => Some(announced.labels.clone()),
                    (Some(_), Some(labels)) => labels.clone(),
                    (Some(_), None) => {
                        let labels = selector.enriched(&announced.labels, &infos, &partners)?;
                        known.insert(partners, labels.clone());
                        labels
                    }
                };
                let Some(labels) = labels else { continue };
                let place = match place_of.get(&labels) {
                    Some(&place) => place,
                    None => {
                        let entry = size_of::<OutputSeries>() + size_of::<(Labels, usize)>();
                        held.grow((size_of::<Row>() + grid.len * 8 + entry + labels.text_len()) as u64)?;
                        place_of.insert(labels.clone(), rows.len());
                        series.push(OutputSeries { labels, drop_name: announced.drop_name });
                        rows.push(Row::new(grid.len));
                        rows.len() - 1
                    }
                };
                if rows[place].has(step) {
                    return Err(same_labelset());
                }
                rows[place].set(step, Some(cell));
            }
        }
        Ok(Box::new(Rows::new(series, rows, Some(held))))
    }

    /// The time modifiers of the first selector below, with those of the subqueries around it: info series are
    /// looked up at the same time.
    fn first_data_time(&self, expr: &Expr, around: DataTime) -> Result<Option<DataTime>, QueryError> {
        let within = |inner: DataTime| DataTime {
            // What is pinned inside is not moved from outside.
            pinned: inner.pinned.or(around.pinned),
            offset_ms: inner.offset_ms + if inner.pinned.is_some() { 0 } else { around.offset_ms },
        };
        match &expr.kind {
            ExprKind::VectorSelector(s) => Ok(Some(within(self.data_time(s.at, &s.offset)?))),
            ExprKind::MatrixSelector(m) => {
                Ok(Some(within(self.data_time(m.selector.at, &m.selector.offset)?)))
            }
            ExprKind::Subquery(s) => self.first_data_time(&s.expr, within(self.data_time(s.at, &s.offset)?)),
            _ => {
                for child in expr.children() {
                    if let Some(found) = self.first_data_time(child, around)? {
                        return Ok(Some(found));
                    }
                }
                Ok(None)
            }
        }
    }

    fn info_series(
        &self,
        selector: &InfoSelector,
        base: &[OutputSeries],
        time: DataTime,
        grid: Grid,
        position: PositionRange,
    ) -> Result<InfoSeries<'q>, QueryError> {
        let mut matchers = Vec::new();
        for name in IDENTIFYING {
            let others = base.iter().filter(|series| !selector.is_info(series));
            let values: BTreeSet<&str> =
                others.map(|series| series.labels.get(name)).filter(|v| !v.is_empty()).collect();
            if values.is_empty() {
                continue;
            }
            let list: Vec<String> = values.into_iter().map(regex::escape).collect();
            let matcher = Matcher::new(name, MatchOp::Regex, list.join("|"));
            matchers.push(matcher.map_err(|error| QueryError::Execution(error.to_string()))?);
        }
        if matchers.is_empty() {
            return Ok(InfoSeries::group(Rows::empty()));
        }
        matchers.extend(selector.data.iter().chain(&selector.names).cloned());
        let found =
            InstantSelector::new(self.context, &matchers, time, grid, Yield::FloatTimestamp, position)?;
        let rows = Rows::collect(self.context, Box::new(found), grid.len)?;
        if rows.rows.iter().any(|row| (0..grid.len).any(|step| row.histogram(step).is_some())) {
            return Err(QueryError::Execution("info sample should be float".into()));
        }
        Ok(InfoSeries::group(rows))
    }
}

impl InfoSelector {
    fn new(argument: Option<&Expr>) -> InfoSelector {
        let matchers = match argument.map(|arg| &arg.unwrap_parens().kind) {
            Some(ExprKind::VectorSelector(selector)) => selector.matchers.clone(),
            _ => Vec::new(),
        };
        let (mut names, data): (Vec<Matcher>, Vec<Matcher>) =
            matchers.into_iter().partition(|m| m.name == METRIC_NAME);
        if names.is_empty() {
            names.push(Matcher::equal(METRIC_NAME, "target_info"));
        } else if names.iter().all(|m| matches!(m.op, MatchOp::NotEqual | MatchOp::NotRegex)) {
            let any = Matcher::new(METRIC_NAME, MatchOp::Regex, ".+_info");
            names.push(any.expect("the pattern is valid"));
        }
        InfoSelector { names, data }
    }

    /// Info series are not enriched themselves.
    fn is_info(&self, series: &OutputSeries) -> bool {
        self.names.iter().all(|m| m.matches(series.labels.metric_name()))
    }

    /// The labels with those of the partners; `None` if there should be a partner and is none.
    fn enriched(
        &self,
        base: &Labels,
        infos: &InfoSeries<'_>,
        partners: &[usize],
    ) -> Result<Option<Labels>, QueryError> {
        if partners.is_empty() && !self.data.iter().all(Matcher::matches_empty) {
            return Ok(None);
        }
        let mut added = LabelsBuilder::default();
        for &partner in partners {
            for (name, value) in &infos.rows.series[partner].labels {
                let is_wanted = self.data.is_empty() || self.data.iter().any(|m| m.name == name);
                if name == METRIC_NAME || !is_wanted {
                    continue;
                }
                let known = added.get(name);
                if !known.is_empty() && known != value {
                    return Err(QueryError::Execution(format!("conflicting label: {name}")));
                }
                if base.get(name).is_empty() {
                    added.set(name, value);
                }
            }
        }
        let mut builder = LabelsBuilder::from_labels(base);
        added.build().iter().for_each(|(name, value)| {
            builder.set(name, value);
        });
        Ok(Some(builder.build()))
    }
}

impl<'q> InfoSeries<'q> {
    fn group(rows: Rows<'q>) -> InfoSeries<'q> {
        let mut groups: HashMap<(String, [String; 2]), usize> = HashMap::new();
        let number = |series: &OutputSeries| {
            let next = groups.len();
            let key = (series.labels.metric_name().to_owned(), identity(&series.labels));
            *groups.entry(key).or_insert(next)
        };
        let group_of = rows.series.iter().map(number).collect();
        InfoSeries { rows, group_of, groups }
    }

    /// For each group the series whose sample is the newest at a step.
    fn chosen(&self, context: &Context<'q>, step: usize) -> Result<Vec<Option<usize>>, QueryError> {
        context.budget.check()?;
        let mut chosen: Vec<Option<usize>> = vec![None; self.groups.len()];
        let time_of = |series: usize| self.rows.rows[series].float(step);
        for (series, &group) in self.group_of.iter().enumerate() {
            let Some(time) = time_of(series) else { continue };
            match chosen[group].map(|other| (other, time_of(other))) {
                Some((other, Some(known))) if known == time => {
                    let [a, b] = [other, series].map(|s| &self.rows.series[s].labels);
                    let at = (time * 1000.0) as i64;
                    return Err(QueryError::Execution(format!(
                        "found duplicate series for info metric: existing {a} @ {at}, new {b} @ {at}"
                    )));
                }
                Some((_, Some(known))) if known > time => {}
                _ => chosen[group] = Some(series),
            }
        }
        Ok(chosen)
    }

    /// The groups of the same instance and job, one for each info metric, by their names.
    fn groups_for(&self, series: &OutputSeries) -> Vec<usize> {
        let identity = identity(&series.labels);
        let mut fitting: Vec<(&String, usize)> =
            self.groups.iter().filter(|((_, i), _)| *i == identity).map(|((n, _), g)| (n, *g)).collect();
        fitting.sort_unstable();
        fitting.into_iter().map(|(_, group)| group).collect()
    }
}

fn identity(labels: &Labels) -> [String; 2] {
    IDENTIFYING.map(|name| labels.get(name).to_owned())
}
