//! The part of Go's template language that Docker's users write after `--format`, over JSON values.
//!
//! `{{.Field}}` and chains, `{{json .}}`, `index`, `range … else … end` with variables, `if / else if / else`, `with`,
//! pipelines, the comparison and logic functions, `printf`, and docker's own functions. `define`, `template` and `block`
//! are refused. Source: Go's `text/template`; the words of the errors are Go's.
//!
//! ```text
//! text ──lex──▶ tokens ──parse──▶ nodes ──eval(value)──▶ text
//! ```

mod eval;
mod funcs;
mod lex;
mod parse;
mod printf;

use base::{ErrorKind, Kinded};
use serde_json::Value;

/// Why a template cannot be read or executed. The words are Go's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// The text is no template.
    #[error("template: :{line}: {why}")]
    Parse {
        /// Line, from 1.
        line: usize,
        /// What is wrong.
        why: String,
    },
    /// The template does not fit the value.
    #[error("template: :{line}:{column}: executing \"\" at <{node}>: {why}")]
    Execute {
        /// Line, from 1.
        line: usize,
        /// Byte in the line, from 0.
        column: usize,
        /// The piece of the template.
        node: String,
        /// What is wrong.
        why: String,
    },
}

impl Kinded for TemplateError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }
}

/// A parsed template.
#[derive(Debug, Clone)]
pub struct Template {
    source: String,
    nodes: Vec<parse::Node>,
}

/// What the value that a template is executed on is like, beyond its JSON.
pub trait Shape {
    /// Returns the message for a field that `key` names but the value does not have.
    fn missing(&self, key: &str) -> String;

    /// Says whether the field `name` holds a map, whose missing entries are no error but `<no value>`.
    fn is_map(&self, name: &str) -> bool {
        let _ = name;
        false
    }

    /// Returns the key of `map` that the field `name` means, when it is written differently.
    fn alias(&self, map: &serde_json::Map<String, Value>, name: &str) -> Option<String> {
        let _ = (map, name);
        None
    }

    /// Calls the method `name` of the root with `args`, such as `.Label "x"`; none when there is no such method.
    fn call(&self, name: &str, args: &[Value]) -> Option<Value> {
        let _ = (name, args);
        None
    }
}

/// Values whose fields are all known; the text names the type in errors, `*formatter.ContainerContext`.
#[derive(Debug, Clone, Copy)]
pub struct Struct(pub &'static str);

impl Shape for Struct {
    fn missing(&self, key: &str) -> String {
        format!("can't evaluate field {key} in type {}", self.0)
    }
}

/// Names of the fields of inspect's answers that hold maps.
const MAPS: [&str; 17] = [
    "Attributes",
    "Labels",
    "Ports",
    "Networks",
    "ExposedPorts",
    "PortBindings",
    "Sysctls",
    "Tmpfs",
    "Annotations",
    "Volumes",
    "Config",
    "Options",
    "DriverOpts",
    "Data",
    "Containers",
    "Runtimes",
    "EndpointsConfig",
];

/// The answers of `inspect`.
#[derive(Debug, Clone, Copy)]
pub struct Inspected;

impl Shape for Inspected {
    fn missing(&self, key: &str) -> String {
        format!("map has no entry for key {key:?}")
    }

    fn is_map(&self, name: &str) -> bool {
        MAPS.contains(&name)
    }

    /// Docker's templates know the fields by their names in Go, which differ in case: `.ID` is `Id`.
    fn alias(&self, map: &serde_json::Map<String, Value>, name: &str) -> Option<String> {
        map.keys().find(|key| key.eq_ignore_ascii_case(name)).cloned()
    }
}

impl Template {
    /// Parses `source`.
    pub fn parse(source: &str) -> Result<Self, TemplateError> {
        let nodes = parse::parse(source)?;
        Ok(Self { source: source.to_owned(), nodes })
    }

    /// Executes the template on `root`.
    pub fn render(&self, root: &Value, shape: &dyn Shape) -> Result<String, TemplateError> {
        eval::render(&self.source, &self.nodes, root, shape)
    }

    /// Returns the names of the fields that the template takes from its root, in their order.
    pub fn fields(&self) -> Vec<&str> {
        let mut found = Vec::new();
        parse::collect_fields(&self.nodes, &mut found);
        found
    }
}

#[cfg(test)]
mod tests;
