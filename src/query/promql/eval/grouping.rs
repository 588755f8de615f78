//! Which input series belong to which group of an aggregation; computed once per query, from labels alone.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use crate::model::Labels;
use crate::model::labels::METRIC_NAME;
use crate::query::QueryError;

use super::announced::Announced;
use super::context::Context;
use super::row::OutputSeries;

/// The `by (…)` or `without (…)` of an aggregation.
pub struct Grouping {
    without: bool,
    labels: Vec<String>,
}

/// Groups in the order of their labels: that in which their first series came would depend on all steps.
pub struct Groups<'q> {
    pub of_series: Vec<usize>,
    pub announced: Announced<'q>,
}

impl Grouping {
    pub fn new(labels: &[String], without: bool) -> Grouping {
        let mut labels = labels.to_vec();
        if without {
            labels.push(METRIC_NAME.to_owned());
        }
        Grouping { without, labels }
    }

    /// The labels of the group that a series with these labels belongs to.
    pub fn key(&self, labels: &Labels) -> Labels {
        if !self.without && self.labels.is_empty() {
            return Labels::empty();
        }
        let named = |name: &str| self.labels.iter().any(|l| l == name);
        Labels::from_sorted(labels.iter().filter(|(name, _)| named(name) != self.without))
    }

    pub fn groups<'q>(
        &self,
        context: &'q Context<'q>,
        series: &[OutputSeries],
    ) -> Result<Groups<'q>, QueryError> {
        let mut index: HashMap<Labels, usize, RandomState> = HashMap::default();
        let mut announced = Announced::none(context);
        announced.hold(size_of_val(series))?;
        let mut of_series = Vec::with_capacity(series.len());
        for (i, member) in series.iter().enumerate() {
            context.check_every(i)?;
            let key = self.key(&member.labels);
            let group = match index.get(&key) {
                Some(&group) => group,
                None => {
                    announced.hold(size_of::<(Labels, usize)>())?;
                    index.insert(key.clone(), announced.len());
                    announced.push(OutputSeries::new(key))?;
                    announced.len() - 1
                }
            };
            if member.drop_name {
                announced.drop_name(group);
            }
            of_series.push(group);
        }
        let places = announced.sort()?;
        of_series.iter_mut().for_each(|group| *group = places[*group]);
        Ok(Groups { of_series, announced })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        Labels::from_pairs(pairs.iter().copied()).unwrap()
    }

    #[test]
    fn by_keeps_what_is_listed_and_without_drops_it_and_the_name() {
        let series = labels(&[("__name__", "m"), ("a", "1"), ("b", "2")]);
        let key = |names: &[&str], without| {
            Grouping::new(&names.iter().map(|n| n.to_string()).collect::<Vec<_>>(), without).key(&series)
        };
        assert_eq!(key(&["a", "absent"], false), labels(&[("a", "1")]));
        assert_eq!(key(&["__name__"], false), labels(&[("__name__", "m")]));
        assert_eq!(key(&["a"], true), labels(&[("b", "2")]));
        assert_eq!(key(&[], false), Labels::empty());
    }
}
