//! Tokens to nodes. Variables become places on a stack, functions are found and their arguments counted, regular
//! expressions are compiled: what can go wrong for every line goes wrong here.

use std::sync::Arc;

use crate::model::line_regex::line_regex;

use super::TemplateError;
use super::functions::{self, Builtin};
use super::lexer::{Kind, Token, tokens};
use super::node::{Branch, Call, Command, Node, Operand, Pipeline, Slot, Target};

/// Blocks and parentheses inside each other.
const DEPTH_MAX: usize = 32;
const REGEXES_MAX: usize = 16;

pub(super) fn parse(text: &str) -> Result<Vec<Node>, TemplateError> {
    let mut parser =
        Parser { tokens: tokens(text)?, at: 0, variables: vec![""], depth: 0, ranges: 0, regexes: 0 };
    let (nodes, end) = parser.list()?;
    match end {
        ListEnd::Template => Ok(nodes),
        ListEnd::Else(at) => refuse(at, "unexpected {{else}}"),
        ListEnd::End(at) => refuse(at, "unexpected {{end}}"),
    }
}

fn refuse<T>(at: usize, message: impl Into<String>) -> Result<T, TemplateError> {
    Err(TemplateError { at, message: message.into() })
}

type Parsed<T> = Result<T, TemplateError>;

struct Parser<'t> {
    tokens: Vec<Token<'t>>,
    at: usize,
    /// The names in scope, one a place; the first is `$`.
    variables: Vec<&'t str>,
    depth: usize,
    /// How many loops are around.
    ranges: usize,
    regexes: usize,
}

/// What ended a list of nodes, with its place.
enum ListEnd {
    Template,
    /// Behind the word `else`, still inside of the action.
    Else(usize),
    End(usize),
}

impl<'t> Parser<'t> {
    fn peek(&self) -> &Kind<'t> {
        &self.tokens[self.at].kind
    }

    fn position(&self) -> usize {
        self.tokens[self.at].at
    }

    fn advance(&mut self) {
        self.at = (self.at + 1).min(self.tokens.len() - 1);
    }

    fn accept(&mut self, kind: &Kind<'t>) -> bool {
        let is_there = self.peek() == kind;
        if is_there {
            self.advance();
        }
        is_there
    }

    fn close(&mut self, context: &str) -> Parsed<()> {
        if self.accept(&Kind::Close) {
            return Ok(());
        }
        refuse(self.position(), format!("unexpected {} in {context}", described(self.peek())))
    }

    fn nested<T>(&mut self, inner: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if self.depth >= DEPTH_MAX {
            return refuse(self.position(), format!("nested deeper than {DEPTH_MAX}"));
        }
        self.depth += 1;
        let parsed = inner(self);
        self.depth -= 1;
        parsed
    }

    /// Nodes up to `{{end}}`, `{{else` or the end of the template.
    fn list(&mut self) -> Parsed<(Vec<Node>, ListEnd)> {
        let mut nodes = Vec::new();
        loop {
            match *self.peek() {
                Kind::Text(text) => {
                    nodes.push(Node::Text(text.into()));
                    self.advance();
                }
                Kind::Open => {
                    self.advance();
                    if let Some(end) = self.action(&mut nodes)? {
                        return Ok((nodes, end));
                    }
                }
                _ => return Ok((nodes, ListEnd::Template)),
            }
        }
    }

    /// One action behind its `{{`; what it ends, if it ends something.
    fn action(&mut self, nodes: &mut Vec<Node>) -> Parsed<Option<ListEnd>> {
        let at = self.position();
        let word = match *self.peek() {
            Kind::Word(word) => word,
            _ => "",
        };
        let node = match word {
            "if" => Node::If(self.branch("if")?),
            "with" => Node::With(self.branch("with")?),
            "range" => Node::Range(self.branch("range")?),
            "else" => {
                self.advance();
                return Ok(Some(ListEnd::Else(at)));
            }
            "end" => {
                self.advance();
                self.close("end")?;
                return Ok(Some(ListEnd::End(at)));
            }
            "break" | "continue" => {
                if self.ranges == 0 {
                    return refuse(at, format!("{{{{{word}}}}} outside {{{{range}}}}"));
                }
                self.advance();
                self.close(word)?;
                if word == "break" { Node::Break } else { Node::Continue }
            }
            "define" | "template" | "block" => {
                return refuse(at, format!("{{{{{word}}}}} is not supported: a template stands alone"));
            }
            _ => {
                let pipeline = self.pipeline("command", false)?;
                self.close("command")?;
                label_of(&pipeline).map_or(Node::Action(pipeline), Node::Label)
            }
        };
        nodes.push(node);
        Ok(None)
    }

    /// `if pipeline}} … {{else}} … {{end}}`, and the same of `with` and `range`. Its variables end with it.
    fn branch(&mut self, context: &'static str) -> Parsed<Branch> {
        self.advance();
        self.nested(|parser| parser.branch_rest(context))
    }

    fn branch_rest(&mut self, context: &'static str) -> Parsed<Branch> {
        let scope = self.variables.len();
        let is_range = context == "range";
        let pipeline = self.pipeline(context, is_range)?;
        self.close(context)?;
        let inside = self.variables.len();
        self.ranges += usize::from(is_range);
        let body = self.list();
        self.ranges -= usize::from(is_range);
        let (body, end) = body?;
        self.variables.truncate(inside);
        let otherwise = match end {
            ListEnd::End(_) => Vec::new(),
            ListEnd::Template => {
                return refuse(self.position(), format!("missing {{{{end}}}} of {{{{{context}}}}}"));
            }
            ListEnd::Else(at) => self.otherwise(context, at)?,
        };
        self.variables.truncate(scope);
        Ok(Branch { pipeline, body, otherwise })
    }

    /// What follows `{{else`: a branch of the same kind, or nodes up to the end.
    fn otherwise(&mut self, context: &'static str, at: usize) -> Parsed<Vec<Node>> {
        match (context, self.peek().clone()) {
            ("if", Kind::Word("if")) => Ok(vec![Node::If(self.branch("if")?)]),
            ("with", Kind::Word("with")) => Ok(vec![Node::With(self.branch("with")?)]),
            _ => {
                self.close("else")?;
                match self.list()? {
                    (nodes, ListEnd::End(_)) => Ok(nodes),
                    (_, ListEnd::Else(again)) => refuse(again, "expected {{end}}; found {{else}}"),
                    (_, ListEnd::Template) => refuse(at, "missing {{end}} of {{else}}"),
                }
            }
        }
    }

    fn pipeline(&mut self, context: &str, is_range: bool) -> Parsed<Pipeline> {
        let (target, declared) = self.target(is_range)?;
        let mut commands = Vec::new();
        loop {
            let command = self.command(context, commands.len())?;
            commands.push(command);
            if !self.accept(&Kind::Pipe) {
                break;
            }
        }
        // A variable is not yet there in the pipeline that gives it its value.
        self.variables.extend(declared);
        Ok(Pipeline { target, commands })
    }

    /// `$x :=`, `$x =` or `$k, $v :=` at the start of a pipeline, and the names that come with it.
    fn target(&mut self, is_range: bool) -> Parsed<(Target, Vec<&'t str>)> {
        let Kind::Variable(first) = *self.peek() else {
            return Ok((Target::Value, Vec::new()));
        };
        match self.tokens[self.at + 1].kind {
            Kind::Declare => {
                self.at += 2;
                Ok((Target::Declare, vec![first]))
            }
            Kind::Assign if is_range => refuse(self.position(), "range declares its variables with :="),
            Kind::Assign => {
                let slot = self.variable(first)?;
                self.at += 2;
                Ok((Target::Assign(slot), Vec::new()))
            }
            Kind::Comma if is_range => {
                let ahead = self.tokens.get(self.at + 2..self.at + 4).unwrap_or_default();
                let [Token { kind: Kind::Variable(second), .. }, Token { kind: Kind::Declare, .. }] = ahead
                else {
                    return refuse(self.position(), "range can only initialize variables");
                };
                let names = vec![first, *second];
                self.at += 4;
                Ok((Target::DeclareTwo, names))
            }
            _ => Ok((Target::Value, Vec::new())),
        }
    }

    fn variable(&self, name: &str) -> Parsed<Slot> {
        match self.variables.iter().rposition(|known| *known == name) {
            Some(slot) => Ok(slot),
            None => refuse(self.position(), format!("undefined variable \"${name}\"")),
        }
    }

    /// The command number `stage` of a pipeline.
    fn command(&mut self, context: &str, stage: usize) -> Parsed<Command> {
        let at = self.position();
        let is_piped = stage > 0;
        if let Some(function) = self.function()? {
            return self.call(function, at, is_piped).map(Command::Call);
        }
        let Some(operand) = self.operand()? else {
            let message = match self.peek() {
                Kind::Close | Kind::RightParen | Kind::Pipe => format!("missing value for {context}"),
                other => format!("unexpected {} in {context}", described(other)),
            };
            return refuse(at, message);
        };
        if is_piped {
            return refuse(at, format!("non executable command in pipeline stage {}", stage + 1));
        }
        match self.peek() {
            Kind::Close | Kind::Pipe | Kind::RightParen => Ok(Command::Operand(operand)),
            _ => refuse(self.position(), "can't give argument to non-function"),
        }
    }

    /// A function's name, if one stands here.
    fn function(&mut self) -> Parsed<Option<&'static Builtin>> {
        let Kind::Word(word) = *self.peek() else {
            return Ok(None);
        };
        if matches!(word, "true" | "false" | "nil") {
            return Ok(None);
        }
        match functions::find(word) {
            Some(function) => {
                self.advance();
                Ok(Some(function))
            }
            None => refuse(self.position(), format!("function {word:?} not defined")),
        }
    }

    fn call(&mut self, function: &'static Builtin, at: usize, is_piped: bool) -> Parsed<Call> {
        let mut arguments = Vec::new();
        loop {
            let argument_at = self.position();
            let argument = match self.function()? {
                Some(function) => {
                    let call = Command::Call(self.check_call(function, argument_at, Vec::new(), 0)?);
                    Operand::Pipeline(
                        Box::new(Pipeline { target: Target::Value, commands: vec![call] }),
                        self.path_behind(),
                    )
                }
                None => match self.operand()? {
                    Some(operand) => operand,
                    None => break,
                },
            };
            arguments.push(argument);
        }
        self.check_call(function, at, arguments, usize::from(is_piped))
    }

    /// Counts the arguments, and compiles a regular expression among them.
    fn check_call(
        &mut self,
        function: &'static Builtin,
        at: usize,
        mut arguments: Vec<Operand>,
        piped: usize,
    ) -> Parsed<Call> {
        let given = arguments.len() + piped;
        if given < function.least || given > function.most {
            let wanted = match (function.least, function.most) {
                (least, usize::MAX) => format!("at least {least}"),
                (least, most) if least == most => format!("{least}"),
                (least, most) => format!("{least} to {most}"),
            };
            return refuse(
                at,
                format!("wrong number of args for {}: want {wanted} got {given}", function.name),
            );
        }
        if function.takes_regex
            && let Some(Operand::Text(pattern)) = arguments.first()
        {
            self.regexes += 1;
            if self.regexes > REGEXES_MAX {
                return refuse(at, format!("more than {REGEXES_MAX} regular expressions"));
            }
            let regex =
                line_regex(pattern).map_err(|error| TemplateError { at, message: error.to_string() })?;
            arguments[0] = Operand::Regex(Arc::new(regex));
        }
        Ok(Call { function, arguments })
    }

    /// A value that can be an argument, if one stands here.
    fn operand(&mut self) -> Parsed<Option<Operand>> {
        let token = self.tokens[self.at].kind.clone();
        let operand = match token {
            Kind::Word("true") => Operand::Bool(true),
            Kind::Word("false") => Operand::Bool(false),
            Kind::Word("nil") => Operand::Nil,
            Kind::Int(value) => Operand::Int(value),
            Kind::Float(value) => Operand::Float(value),
            Kind::String(text) => Operand::Text(text.into()),
            Kind::Field(_) => return Ok(Some(Operand::Dot(self.path()))),
            Kind::Dot => Operand::Dot(Vec::new()),
            Kind::Variable(name) => {
                let slot = self.variable(name)?;
                self.advance();
                return Ok(Some(Operand::Variable(slot, self.path_behind())));
            }
            Kind::LeftParen => {
                self.advance();
                let pipeline = self.nested(|parser| parser.pipeline("parenthesized pipeline", false))?;
                if pipeline.target != Target::Value {
                    return refuse(self.position(), "a declaration stands alone");
                }
                if !self.accept(&Kind::RightParen) {
                    let message = format!("unexpected {} in parenthesized pipeline", described(self.peek()));
                    return refuse(self.position(), message);
                }
                return Ok(Some(Operand::Pipeline(Box::new(pipeline), self.path_behind())));
            }
            _ => return Ok(None),
        };
        self.advance();
        Ok(Some(operand))
    }

    /// `.a.b`, whose parts stand together.
    fn path(&mut self) -> Vec<Box<str>> {
        let mut path = Vec::new();
        while let Kind::Field(name) = *self.peek() {
            if !path.is_empty() && self.tokens[self.at].is_apart {
                break;
            }
            path.push(name.into());
            self.advance();
        }
        path
    }

    /// Fields that follow without a blank.
    fn path_behind(&mut self) -> Vec<Box<str>> {
        if self.tokens[self.at].is_apart { Vec::new() } else { self.path() }
    }
}

/// The label that a pipeline is, if it is nothing else.
fn label_of(pipeline: &Pipeline) -> Option<Box<str>> {
    match (pipeline.target, pipeline.commands.as_slice()) {
        (Target::Value, [Command::Operand(Operand::Dot(path))]) if path.len() == 1 => Some(path[0].clone()),
        _ => None,
    }
}

fn described(kind: &Kind<'_>) -> String {
    match kind {
        Kind::Text(_) | Kind::Open | Kind::End => "end of action".to_owned(),
        Kind::Close => "\"}}\"".to_owned(),
        Kind::Word(word) => format!("<{word}>"),
        Kind::Field(name) => format!("<.{name}>"),
        Kind::Dot => "<.>".to_owned(),
        Kind::Variable(name) => format!("<${name}>"),
        Kind::String(text) => format!("{text:?}"),
        Kind::Int(value) => format!("<{value}>"),
        Kind::Float(value) => format!("<{value}>"),
        Kind::Pipe => "\"|\"".to_owned(),
        Kind::Declare => "\":=\"".to_owned(),
        Kind::Assign => "\"=\"".to_owned(),
        Kind::Comma => "\",\"".to_owned(),
        Kind::LeftParen => "\"(\"".to_owned(),
        Kind::RightParen => "\")\"".to_owned(),
    }
}
