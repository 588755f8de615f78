//! The parsed template.

use std::sync::Arc;

use super::functions::Builtin;
use crate::model::bounded_regex::BoundedRegex;

/// A place on the stack of variables; the entry's labels, `$`, are the first.
pub(super) type Slot = usize;

#[derive(Clone, Debug)]
pub(super) enum Node {
    Text(Box<str>),
    /// `{{.name}}`, which most templates are made of.
    Label(Box<str>),
    /// `{{pipeline}}`
    Action(Pipeline),
    If(Branch),
    With(Branch),
    Range(Branch),
    Break,
    Continue,
}

#[derive(Clone, Debug)]
pub(super) struct Branch {
    pub pipeline: Pipeline,
    pub body: Vec<Node>,
    pub otherwise: Vec<Node>,
}

/// `$x := command | command`.
#[derive(Clone, Debug)]
pub(super) struct Pipeline {
    pub target: Target,
    /// At least one; each gets what the one before gave as its last argument.
    pub commands: Vec<Command>,
}

/// Where the value of a pipeline goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// To whoever asked.
    Value,
    /// `$x :=` puts it on the stack.
    Declare,
    /// `$k, $v :=`, of a range.
    DeclareTwo,
    /// `$x =`
    Assign(Slot),
}

#[derive(Clone, Debug)]
pub(super) enum Command {
    Operand(Operand),
    Call(Call),
}

#[derive(Clone, Debug)]
pub(super) struct Call {
    pub function: &'static Builtin,
    pub arguments: Vec<Operand>,
}

#[derive(Clone, Debug)]
pub(super) enum Operand {
    Nil,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Box<str>),
    Regex(Arc<BoundedRegex>),
    /// `.`, `.a.b`
    Dot(Vec<Box<str>>),
    /// `$x`, `$x.a`
    Variable(Slot, Vec<Box<str>>),
    /// `(pipeline)`, `(pipeline).a`
    Pipeline(Box<Pipeline>, Vec<Box<str>>),
}
