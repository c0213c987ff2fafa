//! Makes nodes of tokens.

use serde_json::Value;

use super::TemplateError;
use super::funcs;
use super::lex::{self, Kind, Piece, Token, fail};

/// How deep parentheses and blocks may nest; more would overflow the stack.
const DEPTH_MAX: usize = 100;

/// A part of a template.
#[derive(Debug, Clone)]
pub(super) enum Node {
    Text(String),
    Action(Pipeline),
    If { condition: Pipeline, then: Vec<Node>, otherwise: Vec<Node> },
    With { value: Pipeline, body: Vec<Node>, otherwise: Vec<Node> },
    Range { over: Pipeline, body: Vec<Node>, otherwise: Vec<Node> },
    Break,
    Continue,
}

/// Commands, each given the result of the one before as its last argument.
#[derive(Debug, Clone)]
pub(super) struct Pipeline {
    /// `$x := …` or `$x = …`; two names in `range $i, $x := …`.
    pub(super) names: Vec<String>,
    /// Whether the names are new.
    pub(super) declares: bool,
    pub(super) commands: Vec<Command>,
}

/// A function or field with its arguments, or one operand alone.
#[derive(Debug, Clone)]
pub(super) struct Command {
    pub(super) operands: Vec<Operand>,
}

/// An operand and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Operand {
    pub(super) term: Term,
    /// Fields behind it: `.A.B`.
    pub(super) fields: Vec<String>,
    /// Offset that errors name.
    pub(super) at: usize,
}

/// What an operand is.
#[derive(Debug, Clone)]
pub(super) enum Term {
    Dot,
    Variable(String),
    Literal(Value),
    Nil,
    Function(String),
    Group(Box<Pipeline>),
}

/// Parses a template.
pub(super) fn parse(source: &str) -> Result<Vec<Node>, TemplateError> {
    let pieces = lex::lex(source)?;
    let mut parser =
        Parser { source, pieces: pieces.into_iter(), names: vec!["$".to_owned()], depth: 0, loops: 0 };
    match parser.body()? {
        (nodes, End::File) => Ok(nodes),
        (_, End::Else { at, .. }) => fail(source, at, "unexpected {{else}}"),
        (_, End::Closed { at }) => fail(source, at, "unexpected {{end}}"),
    }
}

/// Collects the first names of all field chains on the dot.
pub(super) fn collect_fields<'a>(nodes: &'a [Node], found: &mut Vec<&'a str>) {
    for node in nodes {
        match node {
            Node::Text(_) | Node::Break | Node::Continue => {}
            Node::Action(pipeline) => pipeline_fields(pipeline, found),
            Node::If { condition: pipeline, then: body, otherwise }
            | Node::With { value: pipeline, body, otherwise }
            | Node::Range { over: pipeline, body, otherwise } => {
                pipeline_fields(pipeline, found);
                collect_fields(body, found);
                collect_fields(otherwise, found);
            }
        }
    }
}

fn pipeline_fields<'a>(pipeline: &'a Pipeline, found: &mut Vec<&'a str>) {
    for operand in pipeline.commands.iter().flat_map(|command| &command.operands) {
        match &operand.term {
            Term::Dot => found.extend(operand.fields.first().map(String::as_str)),
            Term::Group(inner) => pipeline_fields(inner, found),
            _ => {}
        }
    }
}

/// What ended a body.
enum End {
    File,
    Closed {
        at: usize,
    },
    /// `{{else}}`, with the tokens that follow in `{{else if …}}`.
    Else {
        at: usize,
        rest: Vec<Token>,
    },
}

struct Parser<'a> {
    source: &'a str,
    pieces: std::vec::IntoIter<Piece<'a>>,
    /// Variables in scope.
    names: Vec<String>,
    depth: usize,
    loops: usize,
}

impl Parser<'_> {
    fn body(&mut self) -> Result<(Vec<Node>, End), TemplateError> {
        self.depth += 1;
        let mut nodes = Vec::new();
        let end = loop {
            let Some(piece) = self.pieces.next() else { break End::File };
            match piece {
                Piece::Text(text) => nodes.push(Node::Text(text.to_owned())),
                Piece::Action { tokens, at } => match self.action(tokens, at)? {
                    Step::Node(node) => nodes.push(node),
                    Step::End(end) => break end,
                },
            }
        };
        self.depth -= 1;
        Ok((nodes, end))
    }

    fn action(&mut self, tokens: Vec<Token>, at: usize) -> Result<Step, TemplateError> {
        if self.depth > DEPTH_MAX {
            return fail(self.source, at, "max depth exceeded");
        }
        let keyword = match tokens.first() {
            Some(Token { kind: Kind::Word(word), .. }) => word.clone(),
            Some(_) => String::new(),
            None => return fail(self.source, at, "missing value for command"),
        };
        let rest = tokens.get(1..).unwrap_or_default().to_vec();
        let node = match keyword.as_str() {
            "end" if rest.is_empty() => return Ok(Step::End(End::Closed { at })),
            "else" => return Ok(Step::End(End::Else { at, rest })),
            "if" => self.branch(&rest, at, "if")?,
            "with" => self.branch(&rest, at, "with")?,
            "range" => self.range(&rest, at)?,
            "break" | "continue" if self.loops == 0 => {
                return fail(self.source, at, format!("{{{{{keyword}}}}} outside {{{{range}}}}"));
            }
            "break" if rest.is_empty() => Node::Break,
            "continue" if rest.is_empty() => Node::Continue,
            "define" | "template" | "block" | "end" | "break" | "continue" => {
                return fail(
                    self.source,
                    at,
                    format!("unexpected {{{{{keyword}}}}}: it is not supported here"),
                );
            }
            _ => Node::Action(self.pipeline(&tokens, at, "command")?),
        };
        Ok(Step::Node(node))
    }

    fn branch(&mut self, tokens: &[Token], at: usize, keyword: &'static str) -> Result<Node, TemplateError> {
        let scope = self.names.len();
        let pipeline = self.pipeline(tokens, at, keyword)?;
        let (body, end) = self.body()?;
        let otherwise = self.otherwise(end, at, Some(keyword))?;
        self.names.truncate(scope);
        Ok(match keyword {
            "if" => Node::If { condition: pipeline, then: body, otherwise },
            _ => Node::With { value: pipeline, body, otherwise },
        })
    }

    fn range(&mut self, tokens: &[Token], at: usize) -> Result<Node, TemplateError> {
        let scope = self.names.len();
        let over = self.pipeline(tokens, at, "range")?;
        self.loops += 1;
        let (body, end) = self.body()?;
        self.loops -= 1;
        let otherwise = self.otherwise(end, at, None)?;
        self.names.truncate(scope);
        Ok(Node::Range { over, body, otherwise })
    }

    /// Parses what stands behind `{{else}}`, if that is what ended the body. `chain` allows `{{else if}}` or `{{else with}}`.
    fn otherwise(
        &mut self,
        end: End,
        begin: usize,
        chain: Option<&'static str>,
    ) -> Result<Vec<Node>, TemplateError> {
        let (at, rest) = match end {
            End::Closed { .. } => return Ok(Vec::new()),
            End::File => return fail(self.source, begin.max(self.source.len()), "unexpected EOF"),
            End::Else { at, rest } => (at, rest),
        };
        if let Some(Token { kind: Kind::Word(word), .. }) = rest.first()
            && let Some(keyword) = chain.filter(|keyword| keyword == word)
        {
            self.depth += 1;
            if self.depth > DEPTH_MAX {
                return fail(self.source, at, "max depth exceeded");
            }
            let node = self.branch(&rest[1..], at, keyword)?;
            self.depth -= 1;
            return Ok(vec![node]);
        }
        if !rest.is_empty() {
            return fail(self.source, at, "unexpected token in else");
        }
        match self.body()? {
            (nodes, End::Closed { .. }) => Ok(nodes),
            (_, End::Else { at, .. }) => fail(self.source, at, "expected end; found {{else}}"),
            (_, End::File) => fail(self.source, self.source.len(), "unexpected EOF"),
        }
    }

    fn pipeline(&mut self, tokens: &[Token], at: usize, context: &str) -> Result<Pipeline, TemplateError> {
        let (names, declares, rest) = self.declaration(tokens, context == "range")?;
        let mut cursor = Cursor { tokens: rest, at: 0 };
        let commands = self.commands(&mut cursor, at, context)?;
        if let Some(token) = cursor.peek() {
            return fail(self.source, token.at, format!("unexpected {} in {context}", describe(&token.kind)));
        }
        if declares {
            self.names.extend(names.iter().cloned());
        }
        Ok(Pipeline { names, declares, commands })
    }

    fn declaration<'t>(
        &self,
        tokens: &'t [Token],
        in_range: bool,
    ) -> Result<(Vec<String>, bool, &'t [Token]), TemplateError> {
        let kind = |nth: usize| tokens.get(nth).map(|token| &token.kind);
        let (names, operator, len) = match (kind(0), kind(1), kind(2), kind(3)) {
            (Some(Kind::Variable(first)), Some(Kind::Comma), Some(Kind::Variable(second)), operator) => {
                (vec![first.clone(), second.clone()], operator, 4)
            }
            (Some(Kind::Variable(name)), operator, ..) => (vec![name.clone()], operator, 2),
            _ => return Ok((Vec::new(), false, tokens)),
        };
        let declares = match operator {
            Some(Kind::Declare) => true,
            Some(Kind::Assign) => false,
            _ => return Ok((Vec::new(), false, tokens)),
        };
        let at = tokens.first().map_or(0, |token| token.at);
        if names.len() == 2 && !in_range {
            return fail(self.source, at, "too many declarations in command");
        }
        if !declares && let Some(name) = names.iter().find(|name| !self.names.contains(name)) {
            return fail(self.source, at, format!("undefined variable {name:?}"));
        }
        Ok((names, declares, &tokens[len..]))
    }

    fn commands(
        &mut self,
        cursor: &mut Cursor<'_>,
        at: usize,
        context: &str,
    ) -> Result<Vec<Command>, TemplateError> {
        let mut commands = Vec::new();
        loop {
            let mut operands = Vec::new();
            while let Some(operand) = self.operand(cursor)? {
                operands.push(operand);
            }
            if operands.is_empty() {
                let why = match cursor.peek() {
                    Some(token) if commands.is_empty() || !matches!(token.kind, Kind::Pipe | Kind::Close) => {
                        format!("unexpected {} in {context}", describe(&token.kind))
                    }
                    _ if commands.is_empty() => format!("missing value for {context}"),
                    _ => "missing value for command".to_owned(),
                };
                return fail(self.source, at, why);
            }
            if !commands.is_empty() && matches!(operands[0].term, Term::Literal(_) | Term::Nil) {
                return fail(self.source, at, "non executable command in pipeline");
            }
            commands.push(Command { operands });
            if !matches!(cursor.peek(), Some(Token { kind: Kind::Pipe, .. })) {
                return Ok(commands);
            }
            cursor.at += 1;
        }
    }

    fn operand(&mut self, cursor: &mut Cursor<'_>) -> Result<Option<Operand>, TemplateError> {
        let Some(token) = cursor.peek().cloned() else { return Ok(None) };
        let mut fields = Vec::new();
        let term = match token.kind {
            Kind::Dot => Term::Dot,
            Kind::Field(name) => {
                fields.push(name);
                Term::Dot
            }
            Kind::Variable(name) if self.names.contains(&name) => Term::Variable(name),
            Kind::Variable(name) => {
                return fail(self.source, token.at, format!("undefined variable {name:?}"));
            }
            Kind::Text(text) => Term::Literal(Value::from(text)),
            Kind::Integer(number) => Term::Literal(Value::from(number)),
            Kind::Float(number) => Term::Literal(Value::from(number)),
            Kind::Word(word) => self.word(word, token.at)?,
            Kind::Open => return self.group(cursor, token.at).map(Some),
            _ => return Ok(None),
        };
        cursor.at += 1;
        let at = self.chain(cursor, &mut fields).unwrap_or(token.at);
        Ok(Some(Operand { term, fields, at }))
    }

    fn word(&self, word: String, at: usize) -> Result<Term, TemplateError> {
        match word.as_str() {
            "true" => Ok(Term::Literal(Value::Bool(true))),
            "false" => Ok(Term::Literal(Value::Bool(false))),
            "nil" => Ok(Term::Nil),
            _ if funcs::is_known(&word) => Ok(Term::Function(word)),
            _ => fail(self.source, at, format!("function {word:?} not defined")),
        }
    }

    fn group(&mut self, cursor: &mut Cursor<'_>, at: usize) -> Result<Operand, TemplateError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return fail(self.source, at, "max expression depth exceeded");
        }
        cursor.at += 1;
        let commands = self.commands(cursor, at, "parenthesized pipeline")?;
        if !matches!(cursor.peek(), Some(Token { kind: Kind::Close, .. })) {
            return fail(self.source, at, "unclosed left paren");
        }
        cursor.at += 1;
        self.depth -= 1;
        let mut fields = Vec::new();
        let at = self.chain(cursor, &mut fields).unwrap_or(at);
        let pipeline = Pipeline { names: Vec::new(), declares: false, commands };
        Ok(Operand { term: Term::Group(Box::new(pipeline)), fields, at })
    }

    /// Takes the fields that follow without a space; returns where the first of them stands, which Go's errors name.
    fn chain(&self, cursor: &mut Cursor<'_>, fields: &mut Vec<String>) -> Option<usize> {
        let mut first = None;
        while let Some(Token { kind: Kind::Field(name), at, spaced: false }) = cursor.peek() {
            fields.push(name.clone());
            first = first.or(Some(*at));
            cursor.at += 1;
        }
        first
    }
}

enum Step {
    Node(Node),
    End(End),
}

struct Cursor<'a> {
    tokens: &'a [Token],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn peek(&self) -> Option<&'a Token> {
        self.tokens.get(self.at)
    }
}

fn describe(kind: &Kind) -> String {
    match kind {
        Kind::Dot => "<.>".to_owned(),
        Kind::Field(name) => format!("<.{name}>"),
        Kind::Variable(name) | Kind::Word(name) => format!("<{name}>"),
        Kind::Text(text) => format!("{text:?}"),
        Kind::Integer(number) => format!("\"{number}\""),
        Kind::Float(number) => format!("\"{number}\""),
        Kind::Pipe => "\"|\"".to_owned(),
        Kind::Open => "\"(\"".to_owned(),
        Kind::Close => "\")\"".to_owned(),
        Kind::Assign => "\"=\"".to_owned(),
        Kind::Declare => "\":=\"".to_owned(),
        Kind::Comma => "\",\"".to_owned(),
    }
}

impl Operand {
    /// Renders the operand as Go's errors name it.
    pub(super) fn describe(&self) -> String {
        let head = match &self.term {
            Term::Dot if self.fields.is_empty() => ".".to_owned(),
            Term::Dot => String::new(),
            Term::Variable(name) | Term::Function(name) => name.clone(),
            Term::Literal(value) => value.to_string(),
            Term::Nil => "nil".to_owned(),
            Term::Group(inner) => format!("({})", inner.describe()),
        };
        self.fields.iter().fold(head, |text, field| format!("{text}.{field}"))
    }
}

impl Command {
    /// Renders the command as Go's errors name it.
    pub(super) fn describe(&self) -> String {
        self.operands.iter().map(Operand::describe).collect::<Vec<_>>().join(" ")
    }
}

impl Pipeline {
    fn describe(&self) -> String {
        self.commands.iter().map(Command::describe).collect::<Vec<_>>().join(" | ")
    }
}
