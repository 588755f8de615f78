//! Nodes to text, for one line, within a budget.

use std::cell::Cell;
use std::ops::ControlFlow;
use std::sync::Arc;

use super::functions::{Arguments, Evaluation};
use super::node::{Branch, Call, Command, Node, Operand, Pipeline, Target};
use super::value::Value;
use super::{RenderError, TemplateInput};

/// What a template may make of one line: four times the longest line that is taken in.
const OUT_BYTES_MAX: usize = 1 << 20;
/// What the values on the way there may take together.
const VALUE_BYTES_MAX: usize = 4 << 20;
/// What an item of a map or of a list takes that is walked.
const ITEM_BYTES: usize = 64;
/// Nodes and calls; the labels of an entry are some dozens.
const STEPS_MAX: usize = 20_000;

/// What one line may still cost.
pub(super) struct Budget {
    steps: Cell<usize>,
    bytes: Cell<usize>,
}

impl Budget {
    pub fn step(&self) -> Result<(), RenderError> {
        let left = self.steps.get().checked_sub(1);
        self.steps.set(left.ok_or_else(|| RenderError::new("more than 20000 steps"))?);
        Ok(())
    }

    /// To be called before so many bytes of a value are made.
    pub fn take(&self, bytes: usize) -> Result<(), RenderError> {
        let left = self.bytes.get().checked_sub(bytes);
        self.bytes.set(left.ok_or_else(|| RenderError::new("values take more than 4 MiB"))?);
        Ok(())
    }
}

pub(super) fn check_output(bytes: usize) -> Result<(), RenderError> {
    if bytes > OUT_BYTES_MAX { Err(RenderError::new("output longer than 1 MiB")) } else { Ok(()) }
}

/// Whether a list of nodes ended early.
type Flow = Result<ControlFlow<Jump>, RenderError>;

pub(super) enum Jump {
    Break,
    Continue,
}

pub(super) struct Run<'v, 'i, 'o> {
    input: &'v TemplateInput<'i>,
    out: &'o mut String,
    /// Where the output of this template starts in `out`.
    start: usize,
    variables: Vec<Value<'v>>,
    budget: Budget,
}

impl<'v, 'i, 'o> Run<'v, 'i, 'o> {
    pub fn new(input: &'v TemplateInput<'i>, out: &'o mut String, start: usize) -> Run<'v, 'i, 'o> {
        let budget = Budget { steps: Cell::new(STEPS_MAX), bytes: Cell::new(VALUE_BYTES_MAX) };
        Run { input, out, start, variables: vec![Value::Labels], budget }
    }

    pub fn nodes(mut self, nodes: &'v [Node]) -> Result<(), RenderError> {
        self.list(nodes, &Value::Labels).map(|_| ())
    }

    fn list(&mut self, nodes: &'v [Node], dot: &Value<'v>) -> Flow {
        for node in nodes {
            if let ControlFlow::Break(jump) = self.node(node, dot)? {
                return Ok(ControlFlow::Break(jump));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn node(&mut self, node: &'v Node, dot: &Value<'v>) -> Flow {
        self.budget.step()?;
        match node {
            Node::Text(text) => self.print(text)?,
            Node::Label(name) => {
                let value = self.field(dot.clone(), name)?;
                self.print_value(&value)?;
            }
            Node::Action(pipeline) => {
                let value = self.pipeline(pipeline, dot)?;
                match pipeline.target {
                    Target::Value => self.print_value(&value)?,
                    Target::Declare | Target::DeclareTwo => self.variables.push(value),
                    Target::Assign(slot) => self.variables[slot] = value,
                }
            }
            Node::If(branch) => return self.branch(branch, dot, false),
            Node::With(branch) => return self.branch(branch, dot, true),
            Node::Range(branch) => return self.range(branch, dot),
            Node::Break => return Ok(ControlFlow::Break(Jump::Break)),
            Node::Continue => return Ok(ControlFlow::Break(Jump::Continue)),
        }
        Ok(ControlFlow::Continue(()))
    }

    fn print(&mut self, text: &str) -> Result<(), RenderError> {
        check_output(self.out.len() - self.start + text.len())?;
        self.out.push_str(text);
        Ok(())
    }

    fn print_value(&mut self, value: &Value<'v>) -> Result<(), RenderError> {
        match value {
            Value::Text(text) => self.print(text),
            Value::Nil => self.print("<no value>"),
            Value::Labels => {
                let all = self.all_labels()?;
                all.print(self.out);
                check_output(self.out.len() - self.start)
            }
            value => {
                value.print(self.out);
                check_output(self.out.len() - self.start)
            }
        }
    }

    /// The labels as a map of their own.
    fn all_labels(&self) -> Result<Value<'v>, RenderError> {
        let pairs = (self.input.labels)();
        self.budget.take(pairs.len() * ITEM_BYTES)?;
        let entries = pairs.into_iter().map(|(name, value)| (name.to_owned(), Value::borrowed(value)));
        Ok(Value::Map(Arc::new(entries.collect())))
    }

    /// Either list of an `if` or `with`; a `with` has the value as its dot.
    fn branch(&mut self, branch: &'v Branch, dot: &Value<'v>, is_with: bool) -> Flow {
        let scope = self.variables.len();
        let value = self.pipeline(&branch.pipeline, dot)?;
        match branch.pipeline.target {
            Target::Assign(slot) => self.variables[slot] = value.clone(),
            Target::Declare | Target::DeclareTwo => self.variables.push(value.clone()),
            Target::Value => {}
        }
        let flow = match (value.is_true(), is_with) {
            (true, true) => self.list(&branch.body, &value),
            (true, false) => self.list(&branch.body, dot),
            (false, _) => self.list(&branch.otherwise, dot),
        };
        self.variables.truncate(scope);
        flow
    }

    fn range(&mut self, branch: &'v Branch, dot: &Value<'v>) -> Flow {
        let scope = self.variables.len();
        let over = match self.pipeline(&branch.pipeline, dot)? {
            Value::Labels => self.all_labels()?,
            value => value,
        };
        let pairs = self.pairs(&over)?;
        if pairs.is_empty() {
            // The variables of the range are not seen there, but have their places.
            self.declare(branch.pipeline.target, &Value::Nil, &Value::Nil);
            let flow = self.list(&branch.otherwise, dot);
            self.variables.truncate(scope);
            return flow;
        }
        for (key, value) in pairs {
            self.budget.step()?;
            self.declare(branch.pipeline.target, &key, &value);
            let flow = self.list(&branch.body, &value)?;
            self.variables.truncate(scope);
            if let ControlFlow::Break(Jump::Break) = flow {
                break;
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// The keys and values that a range walks over.
    fn pairs(&self, over: &Value<'v>) -> Result<Vec<(Value<'v>, Value<'v>)>, RenderError> {
        self.budget.take(over.item_count() * ITEM_BYTES)?;
        Ok(match over {
            Value::List(items) => (0..).map(Value::Int).zip(items.iter().cloned()).collect(),
            Value::Map(entries) => {
                let shared = |key: &String| Value::shared(key.as_str());
                entries.iter().map(|(key, value)| (shared(key), value.clone())).collect()
            }
            Value::Nil => Vec::new(),
            other => return Err(RenderError::new(format!("range can't iterate over {}", other.type_name()))),
        })
    }

    fn declare(&mut self, target: Target, key: &Value<'v>, value: &Value<'v>) {
        match target {
            Target::DeclareTwo => self.variables.extend([key.clone(), value.clone()]),
            Target::Declare => self.variables.push(value.clone()),
            Target::Value | Target::Assign(_) => {}
        }
    }

    fn pipeline(&mut self, pipeline: &'v Pipeline, dot: &Value<'v>) -> Result<Value<'v>, RenderError> {
        let mut value = None;
        for command in &pipeline.commands {
            value = Some(match command {
                Command::Operand(operand) => self.operand(operand, dot)?,
                Command::Call(call) => self.call(call, value, dot)?,
            });
        }
        Ok(value.expect("a pipeline has a command"))
    }

    fn call(
        &mut self,
        call: &'v Call,
        piped: Option<Value<'v>>,
        dot: &Value<'v>,
    ) -> Result<Value<'v>, RenderError> {
        self.budget.step()?;
        let run = match call.function.evaluation {
            Evaluation::Values(run) => run,
            Evaluation::UntilFalse => return self.until(false, call, piped, dot),
            Evaluation::UntilTrue => return self.until(true, call, piped, dot),
        };
        let mut arguments = Vec::with_capacity(call.arguments.len() + 1);
        for operand in &call.arguments {
            arguments.push(match self.operand(operand, dot)? {
                Value::Labels => self.all_labels()?,
                value => value,
            });
        }
        arguments.extend(piped);
        let bytes = arguments.iter().map(Value::text_bytes).sum::<usize>();
        if self.input.lookout.gives_up_before(bytes) {
            return Err(RenderError::new("nobody waits for it"));
        }
        // Reading costs an eighth of making.
        self.budget.take(bytes / 8)?;
        let value = run(&Arguments::new(arguments, self.input, &self.budget));
        value.map_err(|error| {
            RenderError::new(format!("error calling {}: {}", call.function.name, error.message))
        })
    }

    /// `and`, `or`: the first value that decides, or the last.
    fn until(
        &mut self,
        decides: bool,
        call: &'v Call,
        piped: Option<Value<'v>>,
        dot: &Value<'v>,
    ) -> Result<Value<'v>, RenderError> {
        let mut last = Value::Nil;
        for operand in &call.arguments {
            last = self.operand(operand, dot)?;
            if last.is_true() == decides {
                return Ok(last);
            }
        }
        Ok(piped.unwrap_or(last))
    }

    fn operand(&mut self, operand: &'v Operand, dot: &Value<'v>) -> Result<Value<'v>, RenderError> {
        let (value, path) = match operand {
            Operand::Nil => return Ok(Value::Nil),
            Operand::Bool(value) => return Ok(Value::Bool(*value)),
            Operand::Int(value) => return Ok(Value::Int(*value)),
            Operand::Float(value) => return Ok(Value::Float(*value)),
            Operand::Text(text) => return Ok(Value::borrowed(text)),
            Operand::Regex(regex) => return Ok(Value::Regex(regex.clone())),
            Operand::Dot(path) => (dot.clone(), path),
            Operand::Variable(slot, path) => (self.variables[*slot].clone(), path),
            Operand::Pipeline(pipeline, path) => (self.pipeline(pipeline, dot)?, path),
        };
        path.iter().try_fold(value, |value, name| self.field(value, name))
    }

    fn field(&self, value: Value<'v>, name: &str) -> Result<Value<'v>, RenderError> {
        match value {
            Value::Labels => Ok(Value::borrowed((self.input.label)(name).unwrap_or_default())),
            Value::Map(entries) => Ok(entries.get(name).cloned().unwrap_or(Value::Nil)),
            Value::Nil => Err(RenderError::new(format!("nil pointer evaluating interface {{}}.{name}"))),
            other => {
                Err(RenderError::new(format!("can't evaluate field {name} in type {}", other.type_name())))
            }
        }
    }
}
