//! Executes nodes on a value.

use std::borrow::Cow;

use serde_json::Value;

use super::funcs::{self, Arg};
use super::lex::line_of;
use super::parse::{Command, Node, Operand, Pipeline, Term};
use super::{Shape, TemplateError};

/// The most text that a template may produce; more is a runaway `range`.
const OUTPUT_MAX: usize = 256 << 20;
/// The longest piece of the template that an error shows.
const CONTEXT_MAX: usize = 20;

/// A value, or nothing: a missing entry of a map, or `nil`.
pub(super) type Datum<'a> = Option<Cow<'a, Value>>;

/// Executes `nodes` on `root`.
pub(super) fn render(
    source: &str,
    nodes: &[Node],
    root: &Value,
    shape: &dyn Shape,
) -> Result<String, TemplateError> {
    let root_datum: Datum<'_> = Some(Cow::Borrowed(root));
    let variables = vec![("$".to_owned(), root_datum.clone())];
    let mut machine = Machine { source, root, shape, variables, out: String::new() };
    machine.nodes(nodes, &root_datum)?;
    Ok(machine.out)
}

/// How a body ended.
#[derive(PartialEq)]
enum Flow {
    On,
    Break,
    Continue,
}

struct Machine<'a> {
    source: &'a str,
    root: &'a Value,
    shape: &'a dyn Shape,
    variables: Vec<(String, Datum<'a>)>,
    out: String,
}

impl<'a> Machine<'a> {
    fn nodes(&mut self, nodes: &[Node], dot: &Datum<'a>) -> Result<Flow, TemplateError> {
        for node in nodes {
            match self.node(node, dot)? {
                Flow::On => {}
                other => return Ok(other),
            }
        }
        Ok(Flow::On)
    }

    fn node(&mut self, node: &Node, dot: &Datum<'a>) -> Result<Flow, TemplateError> {
        let scope = self.variables.len();
        let flow = match node {
            Node::Text(text) => {
                self.out.push_str(text);
                Flow::On
            }
            Node::Action(pipeline) => {
                let value = self.pipeline(pipeline, dot)?;
                if pipeline.names.is_empty() {
                    self.out.push_str(&funcs::print(value.as_deref()));
                }
                return Ok(Flow::On);
            }
            Node::If { condition, then, otherwise } => {
                let value = self.pipeline(condition, dot)?;
                self.nodes(if funcs::truth(value.as_deref()) { then } else { otherwise }, dot)?
            }
            Node::With { value, body, otherwise } => {
                let value = self.pipeline(value, dot)?;
                if funcs::truth(value.as_deref()) {
                    self.nodes(body, &value)?
                } else {
                    self.nodes(otherwise, dot)?
                }
            }
            Node::Range { over, body, otherwise } => self.range(over, body, otherwise, dot)?,
            Node::Break => Flow::Break,
            Node::Continue => Flow::Continue,
        };
        self.variables.truncate(scope);
        Ok(flow)
    }

    fn range(
        &mut self,
        over: &Pipeline,
        body: &[Node],
        otherwise: &[Node],
        dot: &Datum<'a>,
    ) -> Result<Flow, TemplateError> {
        let plain = Pipeline { names: Vec::new(), declares: false, commands: over.commands.clone() };
        let value = self.pipeline(&plain, dot)?;
        let items = match value.as_deref() {
            None | Some(Value::Null) => Vec::new(),
            Some(value) => match funcs::items(value) {
                Some(items) => items,
                None => {
                    return self.fail_command(
                        &over.commands,
                        format!("range can't iterate over {}", funcs::print(Some(value))),
                    );
                }
            },
        };
        if items.is_empty() {
            return self.nodes(otherwise, dot);
        }
        for (key, item) in items {
            let scope = self.variables.len();
            let item: Datum<'a> = Some(Cow::Owned(item));
            let bound: Vec<Datum<'a>> = match over.names.len() {
                2 => vec![Some(Cow::Owned(key)), item.clone()],
                1 => vec![item.clone()],
                _ => Vec::new(),
            };
            for (name, value) in over.names.iter().zip(bound) {
                self.set(name, value, over.declares);
            }
            let flow = self.nodes(body, &item)?;
            self.variables.truncate(scope);
            if flow == Flow::Break {
                break;
            }
            if self.out.len() > OUTPUT_MAX {
                return self.fail_command(&over.commands, "output is too large".to_owned());
            }
        }
        Ok(Flow::On)
    }

    fn set(&mut self, name: &str, value: Datum<'a>, declares: bool) {
        if !declares && let Some(slot) = self.variables.iter_mut().rev().find(|(known, _)| known == name) {
            slot.1 = value;
            return;
        }
        self.variables.push((name.to_owned(), value));
    }

    fn pipeline(&mut self, pipeline: &Pipeline, dot: &Datum<'a>) -> Result<Datum<'a>, TemplateError> {
        let mut value: Option<Datum<'a>> = None;
        for command in &pipeline.commands {
            value = Some(self.command(command, dot, value)?);
        }
        let value = value.unwrap_or(None);
        for name in &pipeline.names {
            self.set(name, value.clone(), pipeline.declares);
        }
        Ok(value)
    }

    fn command(
        &mut self,
        command: &Command,
        dot: &Datum<'a>,
        last: Option<Datum<'a>>,
    ) -> Result<Datum<'a>, TemplateError> {
        let Some((head, rest)) = command.operands.split_first() else { return Ok(None) };
        if let Term::Function(name) = &head.term {
            let value = self.function(name, command, rest, dot, last)?;
            return self.walk(value, &head.fields, head);
        }
        if matches!(head.term, Term::Nil) {
            return self.fail(head, "nil is not a command".to_owned());
        }
        if rest.is_empty() && last.is_none() {
            return self.operand(head, dot);
        }
        // A field with arguments is a method of the root.
        if let (Term::Dot, [name]) = (&head.term, &head.fields[..]) {
            let mut args = Vec::new();
            for operand in rest {
                args.push(self.operand(operand, dot)?.map_or(Value::Null, Cow::into_owned));
            }
            args.extend(last.map(|last| last.map_or(Value::Null, Cow::into_owned)));
            if let Some(value) = self.shape.call(name, &args) {
                return Ok(Some(Cow::Owned(value)));
            }
            return self.fail(head, format!("{name} is not a method but has arguments"));
        }
        self.fail(head, format!("can't give argument to non-function {}", head.describe()))
    }

    fn function(
        &mut self,
        name: &str,
        command: &Command,
        rest: &[Operand],
        dot: &Datum<'a>,
        last: Option<Datum<'a>>,
    ) -> Result<Datum<'a>, TemplateError> {
        let mut args: Vec<Datum<'a>> = Vec::new();
        let lazy = matches!(name, "and" | "or");
        for operand in rest {
            let value = self.operand(operand, dot)?;
            let decided = lazy && funcs::truth(value.as_deref()) == (name == "or");
            args.push(value);
            if decided {
                return Ok(args.pop().unwrap_or(None));
            }
        }
        args.extend(last);
        let refs: Vec<Arg<'_>> = args.iter().map(|arg| arg.as_deref()).collect();
        match funcs::call(name, &refs) {
            Ok(value) => Ok(value.map(Cow::Owned)),
            Err(why) => {
                let at = command.operands.first().map_or(0, |operand| operand.at);
                match command.operands.last() {
                    Some(last) if why.starts_with("wrong type") => self.fail(last, why),
                    _ if why.starts_with("wrong number") => Err(self.error(at, command.describe(), why)),
                    _ => Err(self.error(at, command.describe(), format!("error calling {name}: {why}"))),
                }
            }
        }
    }

    fn operand(&mut self, operand: &Operand, dot: &Datum<'a>) -> Result<Datum<'a>, TemplateError> {
        let start = match &operand.term {
            Term::Dot => match (&operand.fields[..], dot) {
                ([name], Some(value)) if value.get(name).is_none() => match self.method(value, name) {
                    Some(result) => return Ok(Some(Cow::Owned(result))),
                    None => dot.clone(),
                },
                _ => dot.clone(),
            },
            Term::Variable(name) => self
                .variables
                .iter()
                .rev()
                .find(|(known, _)| known == name)
                .and_then(|(_, value)| value.clone()),
            Term::Literal(value) => Some(Cow::Owned(value.clone())),
            Term::Nil => None,
            Term::Group(pipeline) => self.pipeline(pipeline, dot)?,
            Term::Function(name) => {
                let command = Command { operands: vec![operand.clone()] };
                self.function(name, &command, &[], dot, None)?
            }
        };
        self.walk(start, &operand.fields, operand)
    }

    /// A method without arguments, on the root only.
    fn method(&self, value: &Value, name: &str) -> Option<Value> {
        if std::ptr::eq(value, self.root) { self.shape.call(name, &[]) } else { None }
    }

    /// Follows `fields` from `start`.
    fn walk(
        &self,
        start: Datum<'a>,
        fields: &[String],
        operand: &Operand,
    ) -> Result<Datum<'a>, TemplateError> {
        let mut value = start;
        let mut parent = "";
        for name in fields {
            let Some(current) = value else {
                return self.fail(operand, format!("nil data; no entry for key {name:?}"));
            };
            value = match &*current {
                Value::Object(map) if map.contains_key(name) => take(current, name),
                Value::Object(_) if self.shape.is_map(parent) => None,
                Value::Object(map) if self.shape.alias(map, name).is_some() => {
                    let alias = self.shape.alias(map, name).unwrap_or_default();
                    take(current, &alias)
                }
                Value::Object(_) => return self.fail(operand, self.shape.missing(name)),
                Value::Null => {
                    return self.fail(operand, format!("nil pointer evaluating interface {{}}.{name}"));
                }
                _ => {
                    return self.fail(operand, format!("can't evaluate field {name} in type interface {{}}"));
                }
            };
            parent = name;
        }
        Ok(value)
    }

    fn fail<T>(&self, operand: &Operand, why: String) -> Result<T, TemplateError> {
        Err(self.error(operand.at, operand.describe(), why))
    }

    fn fail_command<T>(&self, commands: &[Command], why: String) -> Result<T, TemplateError> {
        let at =
            commands.first().and_then(|command| command.operands.first()).map_or(0, |operand| operand.at);
        let text = commands.iter().map(Command::describe).collect::<Vec<_>>().join(" | ");
        Err(self.error(at, text, why))
    }

    fn error(&self, at: usize, node: String, why: String) -> TemplateError {
        let line_begin = self.source[..at].rfind('\n').map_or(0, |found| found + 1);
        let node = match node.char_indices().nth(CONTEXT_MAX) {
            Some((end, _)) => format!("{}...", &node[..end]),
            None => node,
        };
        TemplateError::Execute { line: line_of(self.source, at), column: at - line_begin, node, why }
    }
}

/// Takes the entry `name` of an object, borrowed when the object is.
fn take<'a>(object: Cow<'a, Value>, name: &str) -> Datum<'a> {
    match object {
        Cow::Borrowed(value) => value.get(name).map(Cow::Borrowed),
        Cow::Owned(mut value) => value.get_mut(name).map(|entry| Cow::Owned(entry.take())),
    }
}
