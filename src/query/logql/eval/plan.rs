//! What of a pipeline the storage does, what is left for each entry, and what of an entry must be read.

use crate::model::{Labels, LineFilter, Lookout, MatchOp, NanoRange, Nanos};
use crate::query::logql::ast::{
    LabelFilter, LabelFilterKind, LineFilterOp, LineFilterStage, LineTestKind, Stage, StageKind,
};
use crate::query::logql::stages::labels::{EXTRACTED, is_special};
use crate::query::logql::stages::{EntryState, Pipeline, Wanted};
use crate::storage::logs::{LogAsk, LogRowsBuffer, LogSelection};

/// The metadata that must be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MetadataUse {
    None,
    /// What has these names.
    Named(Vec<String>),
    All,
}

#[derive(Clone, Debug)]
pub struct Plan {
    line_filters: Vec<LineFilter>,
    metadata_equals: Vec<(String, String)>,
    /// The stages that storage does not do.
    pub pipeline: Pipeline,
    pub wants_lines: bool,
    pub metadata: MetadataUse,
    /// Stages may change the stream's own labels.
    pub changes_labels: bool,
    /// Stages may change lines.
    pub changes_lines: bool,
}

impl Plan {
    /// `wanted`: the labels that are looked at behind the last stage; `streams`: those that are read.
    pub fn new(stages: &[Stage], wanted: Wanted, streams: &[Labels], now: Nanos) -> Plan {
        let mut rest: Vec<Stage> = Vec::with_capacity(stages.len());
        let (mut line_filters, mut metadata_equals) = (Vec::new(), Vec::new());
        let (mut changes_lines, mut are_labels_stored) = (false, true);
        for stage in stages {
            match &stage.kind {
                StageKind::LineFilter(filter) if !changes_lines => {
                    let Some(filter) = filter.for_storage() else {
                        line_filters.extend(texts_of(filter));
                        rest.push(stage.clone());
                        continue;
                    };
                    line_filters.push(filter);
                }
                StageKind::LabelFilter(filter) if are_labels_stored => {
                    match equalities(filter, streams) {
                        Some(equalities) => metadata_equals.extend(equalities),
                        None => rest.push(stage.clone()),
                    };
                }
                kind => {
                    changes_lines |=
                        matches!(kind, StageKind::LineFormat(_) | StageKind::Unpack | StageKind::Decolorize);
                    are_labels_stored &= matches!(kind, StageKind::LineFilter(_));
                    rest.push(stage.clone());
                }
            }
        }
        let (pipeline, uses) = Pipeline::new(&rest, wanted, now);
        let changes_labels = rest.iter().any(|stage| {
            matches!(stage.kind, StageKind::Drop(_) | StageKind::Keep(_) | StageKind::LabelFormat(_))
        });
        Plan {
            line_filters,
            metadata_equals,
            pipeline,
            wants_lines: uses.line,
            metadata: metadata_use(&uses.labels, streams),
            changes_labels,
            changes_lines,
        }
    }

    /// What to read in a range.
    pub fn ask(&self, range: NanoRange) -> LogAsk<'_> {
        LogAsk {
            range,
            line_filters: &self.line_filters,
            metadata_equals: &self.metadata_equals,
            wants_lines: self.wants_lines,
            wants_line_bytes: false,
            wants_metadata: self.metadata != MetadataUse::None,
            metadata_names: match &self.metadata {
                MetadataUse::Named(names) => Some(names),
                MetadataUse::None | MetadataUse::All => None,
            },
        }
    }

    /// The same, and the bytes of lines where they are wanted.
    pub fn ask_with_line_bytes(&self, range: NanoRange, wants_line_bytes: bool) -> LogAsk<'_> {
        LogAsk { wants_line_bytes, ..self.ask(range) }
    }

    pub fn reads_metadata(&self) -> bool {
        self.metadata != MetadataUse::None
    }

    /// The line of a row as it was read; empty if lines were not asked for.
    pub fn line<'r>(&self, rows: &'r LogRowsBuffer, row: usize) -> &'r str {
        if self.wants_lines { rows.lines.get(row) } else { "" }
    }

    /// Whether a row passes the stages; the state then has its labels and line.
    pub fn pass(
        &self,
        selection: &LogSelection,
        rows: &LogRowsBuffer,
        row: usize,
        state: &mut EntryState,
        lookout: &Lookout<'_>,
    ) -> bool {
        let stream = rows.streams[row];
        state.begin(stream, &selection.streams[stream as usize]);
        if self.reads_metadata() {
            state.labels.add_metadata(rows.metadata.of(row));
        }
        self.pipeline.run(rows.timestamps[row], self.line(rows, row), state, lookout)
    }

    /// Whether every entry in the range passes.
    pub fn takes_all(&self) -> bool {
        self.line_filters.is_empty() && self.metadata_equals.is_empty() && self.pipeline.is_empty()
    }
}

/// Texts that every line holds which passes a filter that storage cannot apply.
fn texts_of(filter: &LineFilterStage) -> Vec<LineFilter> {
    match filter.alternatives.as_slice() {
        [test] if filter.op == LineFilterOp::Pattern => match &test.kind {
            LineTestKind::Wildcard(wildcard) => wildcard.literals().map(LineFilter::contains).collect(),
            LineTestKind::Text(_) | LineTestKind::Ip(_) => Vec::new(),
        },
        _ => Vec::new(),
    }
}

/// The filter as equalities of metadata, if it is nothing else: no stream has labels of these names.
fn equalities(filter: &LabelFilter, streams: &[Labels]) -> Option<Vec<(String, String)>> {
    match &filter.kind {
        LabelFilterKind::Matcher(matcher) => {
            let is_stored = matcher.op == MatchOp::Equal
                && !matcher.value.is_empty()
                && !is_special(&matcher.name)
                && !matcher.name.ends_with(EXTRACTED)
                && streams.iter().all(|labels| labels.get(&matcher.name).is_empty());
            is_stored.then(|| vec![(matcher.name.clone(), matcher.value.clone())])
        }
        LabelFilterKind::All(filters) => {
            let parts = filters.iter().map(|filter| equalities(filter, streams));
            Some(parts.collect::<Option<Vec<_>>>()?.concat())
        }
        LabelFilterKind::Any(_) | LabelFilterKind::Compare(_) | LabelFilterKind::Ip(_) => None,
    }
}

/// What metadata has a say in the wanted labels. Labels that all streams have are the streams'.
fn metadata_use(wanted: &Wanted, streams: &[Labels]) -> MetadataUse {
    let Wanted::These(wanted) = wanted else {
        return MetadataUse::All;
    };
    let mut names = Vec::new();
    for name in wanted.iter().filter(|name| !is_special(name)) {
        if streams.iter().any(|labels| labels.get(name).is_empty()) {
            names.push(name.clone());
        }
        // Who is called so may be called so because another has the plain name.
        names.extend(name.strip_suffix(EXTRACTED).map(str::to_owned));
    }
    if names.is_empty() { MetadataUse::None } else { MetadataUse::Named(names) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{LinePattern, Matcher, StopSign};
    use crate::query::logql::ast::{JsonExtraction, LineTest, PositionRange};
    use crate::query::logql::json_path::JsonPath;
    use crate::query::logql::pattern::WildcardText;

    fn stage(kind: StageKind) -> Stage {
        Stage { position: PositionRange::default(), kind }
    }

    fn text(op: LineFilterOp, text: &str) -> Stage {
        let kind = match op {
            LineFilterOp::Pattern => LineTestKind::Wildcard(WildcardText::parse(text).unwrap()),
            _ => LineTestKind::Text(vec![LinePattern::Literal(text.into())]),
        };
        let alternatives = vec![LineTest { text: text.to_owned(), kind }];
        stage(StageKind::LineFilter(LineFilterStage { op, alternatives }))
    }

    fn equal(name: &str, value: &str) -> Stage {
        let kind = LabelFilterKind::Matcher(Matcher::equal(name, value));
        stage(StageKind::LabelFilter(LabelFilter { position: PositionRange::default(), kind }))
    }

    fn json() -> Stage {
        let extraction = JsonExtraction { label: "level".to_owned(), path: JsonPath::key("level") };
        stage(StageKind::Json(vec![extraction]))
    }

    fn plan(stages: &[Stage], wanted: Wanted) -> Plan {
        let streams =
            [Labels::from_sorted([("app", "a"), ("pod", "p")]), Labels::from_sorted([("app", "b")])];
        Plan::new(stages, wanted, &streams, 0)
    }

    #[test]
    fn storage_filters_lines_up_to_the_first_change_of_lines() {
        let contains = |word| text(LineFilterOp::Contains, word);
        let stages = [contains("a"), json(), contains("b"), stage(StageKind::Decolorize), contains("c")];
        let plan = plan(&stages, Wanted::these(["level"]));
        assert_eq!(plan.ask(NanoRange::ALL).line_filters.len(), 2);
        assert!(plan.wants_lines && plan.changes_lines);
    }

    #[test]
    fn patterns_are_looked_for_by_their_texts_first() {
        let plan = plan(&[text(LineFilterOp::Pattern, "<_> took <_>ms")], Wanted::none());
        assert!(
            plan.ask(NanoRange::ALL)
                .line_filters
                .iter()
                .all(|f| f.matches("x took 12ms", &Lookout::new(&StopSign::never())))
        );
        assert_eq!(plan.ask(NanoRange::ALL).line_filters.len(), 2);
        assert!(plan.wants_lines, "the pattern itself is still to be tried");
    }

    #[test]
    fn storage_finds_metadata_that_no_stream_hides() {
        let stored = |stages: &[Stage]| {
            plan(stages, Wanted::none())
                .ask(NanoRange::ALL)
                .metadata_equals
                .iter()
                .map(|(n, _)| n.clone())
                .collect::<Vec<_>>()
        };
        assert_eq!(stored(&[equal("trace_id", "x"), equal("span_id", "y")]), ["trace_id", "span_id"]);
        assert!(stored(&[equal("app", "x"), equal("pod", "x"), equal("none", "")]).is_empty());
        assert!(stored(&[json(), equal("level", "x")]).is_empty());
    }

    #[test]
    fn a_query_of_stream_labels_reads_neither_lines_nor_metadata() {
        let by_app = plan(&[text(LineFilterOp::Contains, "a")], Wanted::these(["app"]));
        assert!(!by_app.wants_lines && by_app.pipeline.is_empty());
        assert_eq!(by_app.metadata, MetadataUse::None);
        let by_pod = plan(&[], Wanted::these(["pod"]));
        assert_eq!(by_pod.metadata, MetadataUse::Named(vec!["pod".to_owned()]), "one stream has no pod");
        assert_eq!(plan(&[], Wanted::All).metadata, MetadataUse::All);
        let unused = plan(&[json()], Wanted::none());
        assert!(unused.pipeline.is_empty(), "nobody looks at what the parser would find");
    }
}
