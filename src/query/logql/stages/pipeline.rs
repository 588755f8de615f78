//! A pipeline: its stages in order, over one entry at a time.

use crate::model::bounded_regex::Groups;
use crate::model::{Labels, Lookout, Nanos};
use crate::query::logql::ast::{
    LabelChoice, LabelFilter, LabelFilterKind, LabelFormatValue, Stage, StageKind,
};

use super::decolorize::{decolorize, has_escapes};
use super::filter::passes;
use super::format::{Seen, drop, keep, label_format, line_format};
use super::json::{JsonScratch, all_keys, extractions, unpack};
use super::labels::{ERROR, ERROR_DETAILS, EntryLabels};
use super::logfmt::{LogfmtScratch, logfmt};
use super::texts::{RegexpScratch, pattern, regexp};
use super::wanted::Wanted;

#[derive(Clone, Debug)]
pub struct Pipeline {
    steps: Vec<Step>,
    /// When the query runs, for templates.
    pub now: Nanos,
}

#[derive(Clone, Debug)]
struct Step {
    kind: StageKind,
    /// What is looked at behind this stage.
    wanted: Wanted,
}

/// What a pipeline needs of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uses {
    pub line: bool,
    /// Labels that the entry has before the first stage.
    pub labels: Wanted,
}

/// One entry at work, with the buffers that all entries of a scan share, and what stages remember of those before: a state
/// is for one pipeline.
#[derive(Debug, Default)]
pub struct EntryState {
    pub labels: EntryLabels,
    /// The line, once a stage has changed it.
    changed: String,
    is_changed: bool,
    next: String,
    ends: Vec<usize>,
    /// Of each step that reads JSON.
    json: Vec<JsonScratch>,
    logfmt: LogfmtScratch,
    /// Of each step that is a `regexp`.
    groups: Vec<Option<Groups>>,
}

impl EntryState {
    /// Begins an entry of the stream with this number; its metadata is added next.
    pub fn begin(&mut self, stream: u32, labels: &Labels) {
        self.labels.begin(stream, labels);
        self.is_changed = false;
    }

    /// The line as the stages so far have left it.
    pub fn line<'a>(&'a self, original: &'a str) -> &'a str {
        if self.is_changed { &self.changed } else { original }
    }

    fn change_line(&mut self) {
        std::mem::swap(&mut self.changed, &mut self.next);
        self.is_changed = true;
    }
}

impl Pipeline {
    /// `wanted`: the labels that are looked at behind the last stage. Parsers that find nothing anybody looks at
    /// are left out, and with them what they would have said of lines they cannot parse.
    pub fn new(stages: &[Stage], wanted: Wanted, now: Nanos) -> (Pipeline, Uses) {
        let mut steps: Vec<Step> = Vec::with_capacity(stages.len());
        let mut wanted = wanted;
        for stage in stages.iter().rev() {
            let is_parser = matches!(
                stage.kind,
                StageKind::Json(_) | StageKind::Logfmt(_) | StageKind::Regexp(_) | StageKind::Pattern(_)
            );
            if is_parser && wanted.is_empty() {
                continue;
            }
            let behind = wanted.clone();
            add_wanted(&stage.kind, &mut wanted);
            steps.push(Step { kind: stage.kind.clone(), wanted: behind });
        }
        steps.reverse();
        let uses = Uses { line: steps.iter().any(Step::reads_line), labels: wanted };
        (Pipeline { steps, now }, uses)
    }

    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Whether the entry passes; the state then has its labels and its line. Once the lookout has given up, all that
    /// means nothing.
    pub fn run(
        &self,
        timestamp: Nanos,
        original: &str,
        state: &mut EntryState,
        lookout: &Lookout<'_>,
    ) -> bool {
        let seen = Seen { line: original, timestamp, now: self.now, lookout };
        self.steps.iter().enumerate().all(|(i, step)| step.run(i, seen, state))
    }
}

impl Step {
    /// What is seen of the entry is its line as it was before the first stage.
    fn run(&self, place: usize, seen: Seen<'_>, state: &mut EntryState) -> bool {
        let (wanted, lookout) = (&self.wanted, seen.lookout);
        let line = if state.is_changed { state.changed.as_str() } else { seen.line };
        let seen = Seen { line, ..seen };
        let labels = &mut state.labels;
        if matches!(self.kind, StageKind::Json(_) | StageKind::Unpack) && state.json.len() <= place {
            state.json.resize_with(place + 1, JsonScratch::default);
        }
        match &self.kind {
            StageKind::LineFilter(filter) => return filter.matches(line, lookout),
            StageKind::LabelFilter(filter) => return passes(filter, labels, lookout),
            StageKind::Json(asked) if asked.is_empty() => {
                all_keys(line, wanted, labels, &mut state.json[place])
            }
            StageKind::Json(asked) => extractions(line, wanted, asked, labels, &mut state.json[place]),
            StageKind::Logfmt(stage) => logfmt(stage, line, wanted, labels, &mut state.logfmt),
            StageKind::Regexp(stage) => {
                if state.groups.len() <= place {
                    state.groups.resize(place + 1, None);
                }
                let groups = state.groups[place].get_or_insert_with(|| Groups::new(&stage.regex));
                let scratch = RegexpScratch { groups, name: &mut state.next };
                regexp(stage, line, wanted, labels, scratch, lookout);
            }
            StageKind::Pattern(stage) => pattern(stage, line, wanted, labels, &mut state.next),
            StageKind::Unpack => {
                if unpack(line, wanted, labels, &mut state.json[place], &mut state.next) {
                    state.change_line();
                }
            }
            StageKind::LineFormat(template) => {
                if line_format(template, seen, labels, &mut state.next) {
                    state.change_line();
                }
            }
            StageKind::LabelFormat(formats) => {
                label_format(formats, seen, labels, &mut state.next, &mut state.ends);
            }
            StageKind::Decolorize => {
                if has_escapes(line) {
                    state.next.clear();
                    decolorize(line, &mut state.next);
                    state.change_line();
                }
            }
            StageKind::Drop(choices) => drop(choices, labels, lookout),
            StageKind::Keep(choices) => keep(choices, labels, lookout),
        }
        true
    }

    fn reads_line(&self) -> bool {
        !matches!(self.kind, StageKind::LabelFilter(_) | StageKind::Drop(_) | StageKind::Keep(_))
    }
}

/// Makes what is wanted behind a stage into what is wanted before it.
fn add_wanted(stage: &StageKind, wanted: &mut Wanted) {
    match stage {
        StageKind::LabelFilter(filter) => add_filter_names(filter, wanted),
        StageKind::LineFormat(_) => *wanted = Wanted::All,
        StageKind::LabelFormat(formats) => {
            for format in formats {
                match &format.value {
                    LabelFormatValue::Rename(from) => wanted.add(from),
                    LabelFormatValue::Template(_) => *wanted = Wanted::All,
                }
            }
        }
        StageKind::Drop(choices) | StageKind::Keep(choices) => {
            for choice in choices {
                if let LabelChoice::Matcher(matcher) = choice {
                    wanted.add(&matcher.name);
                }
            }
        }
        StageKind::LineFilter(_)
        | StageKind::Json(_)
        | StageKind::Logfmt(_)
        | StageKind::Regexp(_)
        | StageKind::Pattern(_)
        | StageKind::Unpack
        | StageKind::Decolorize => {}
    }
}

/// Adds the labels that a filter looks at.
pub fn add_filter_names(filter: &LabelFilter, wanted: &mut Wanted) {
    for_each_name(filter, &mut |name| wanted.add(name));
}

/// Calls `visit` with the name of each label that a filter looks at.
fn for_each_name(filter: &LabelFilter, visit: &mut impl FnMut(&str)) {
    match &filter.kind {
        LabelFilterKind::All(filters) | LabelFilterKind::Any(filters) => {
            filters.iter().for_each(|filter| for_each_name(filter, visit));
        }
        LabelFilterKind::Matcher(matcher) => visit(&matcher.name),
        LabelFilterKind::Compare(comparison) => visit(&comparison.name),
        LabelFilterKind::Ip(filter) => visit(&filter.name),
    }
}

/// Whether a filter asks what went wrong with an entry.
pub fn asks_for_errors(filter: &LabelFilter) -> bool {
    let mut asks = false;
    for_each_name(filter, &mut |name| asks |= matches!(name, ERROR | ERROR_DETAILS));
    asks
}
