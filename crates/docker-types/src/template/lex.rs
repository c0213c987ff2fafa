//! Cuts a template into its text and the tokens of its actions.

use super::TemplateError;

/// A piece of a template.
#[derive(Debug)]
pub(super) enum Piece<'a> {
    /// Text that is copied.
    Text(&'a str),
    /// The tokens between `{{` and `}}`; `at` is the offset of the first byte inside.
    Action { tokens: Vec<Token>, at: usize },
}

/// A token of an action.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    /// Offset of its first byte in the template.
    pub(super) at: usize,
    /// Whether a space stands before it, which separates `.A .B` from `.A.B`.
    pub(super) spaced: bool,
}

/// What a token is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    Dot,
    Field(String),
    Variable(String),
    Word(String),
    Text(String),
    Integer(i64),
    Float(f64),
    Pipe,
    Open,
    Close,
    Assign,
    Declare,
    Comma,
}

/// Returns the number of the line that byte `at` of `source` is on.
pub(super) fn line_of(source: &str, at: usize) -> usize {
    source.as_bytes()[..at.min(source.len())].iter().filter(|byte| **byte == b'\n').count() + 1
}

pub(super) fn fail<T>(source: &str, at: usize, why: impl Into<String>) -> Result<T, TemplateError> {
    Err(TemplateError::Parse { line: line_of(source, at), why: why.into() })
}

/// Cuts `source` into pieces.
pub(super) fn lex(source: &str) -> Result<Vec<Piece<'_>>, TemplateError> {
    let mut pieces = Vec::new();
    let mut at = 0;
    let mut trim_next = false;
    while at < source.len() {
        let open = source[at..].find("{{").map_or(source.len(), |found| at + found);
        let after = open + 2;
        let trims = source[open..].starts_with("{{-") && starts_with_space(&source[after + 1..]);
        let mut text = &source[at..open];
        if trim_next {
            text = text.trim_start();
        }
        if trims {
            text = text.trim_end();
        }
        if !text.is_empty() {
            pieces.push(Piece::Text(text));
        }
        if open == source.len() {
            break;
        }
        let inside = if trims { after + 1 } else { after };
        (at, trim_next) = match skip_comment(source, inside)? {
            Some(end) => end,
            None => {
                let mut lexer = Lexer { source, at: inside, tokens: Vec::new() };
                let end = lexer.run()?;
                pieces.push(Piece::Action { tokens: lexer.tokens, at: inside });
                end
            }
        };
    }
    Ok(pieces)
}

fn starts_with_space(text: &str) -> bool {
    text.starts_with([' ', '\t', '\r', '\n'])
}

/// Skips `/* … */` and the closing braces; returns where the text goes on and whether it is trimmed.
fn skip_comment(source: &str, at: usize) -> Result<Option<(usize, bool)>, TemplateError> {
    let begin = at + (source[at..].len() - source[at..].trim_start().len());
    if !source[begin..].starts_with("/*") {
        return Ok(None);
    }
    let Some(end) = source[begin..].find("*/") else { return fail(source, at, "unclosed comment") };
    let rest = &source[begin + end + 2..];
    let offset = source.len() - rest.len();
    if rest.starts_with("}}") {
        return Ok(Some((offset + 2, false)));
    }
    match rest.trim_start().strip_prefix("-}}") {
        Some(after) if starts_with_space(rest) => Ok(Some((source.len() - after.len(), true))),
        _ => fail(source, at, "comment ends before closing delimiter"),
    }
}

struct Lexer<'a> {
    source: &'a str,
    at: usize,
    tokens: Vec<Token>,
}

impl Lexer<'_> {
    /// Reads tokens up to `}}`; returns the offset behind it and whether the text behind is trimmed.
    fn run(&mut self) -> Result<(usize, bool), TemplateError> {
        let begin = self.at;
        loop {
            let rest = &self.source[self.at..];
            let spaced = starts_with_space(rest);
            let trimmed = rest.trim_start_matches([' ', '\t', '\r', '\n']);
            self.at = self.source.len() - trimmed.len();
            if trimmed.starts_with("}}") {
                return Ok((self.at + 2, false));
            }
            if spaced && trimmed.starts_with("-}}") {
                return Ok((self.at + 3, true));
            }
            let Some(first) = trimmed.chars().next() else {
                return fail(self.source, begin, "unclosed action");
            };
            let at = self.at;
            let kind = self.token(first, trimmed)?;
            self.tokens.push(Token { kind, at, spaced });
        }
    }

    fn token(&mut self, first: char, rest: &str) -> Result<Kind, TemplateError> {
        let simple = match first {
            '|' => Some(Kind::Pipe),
            '(' => Some(Kind::Open),
            ')' => Some(Kind::Close),
            ',' => Some(Kind::Comma),
            '=' => Some(Kind::Assign),
            _ => None,
        };
        if let Some(kind) = simple {
            self.at += 1;
            return Ok(kind);
        }
        match first {
            ':' if rest.starts_with(":=") => {
                self.at += 2;
                Ok(Kind::Declare)
            }
            ':' => fail(self.source, self.at, "expected :="),
            '"' => self.quoted(rest),
            '`' => self.raw(rest),
            '\'' => self.character(rest),
            '.' if !rest[1..].starts_with(|c: char| c.is_ascii_digit()) => {
                let name = word(&rest[1..]);
                self.at += 1 + name.len();
                Ok(if name.is_empty() { Kind::Dot } else { Kind::Field(name.to_owned()) })
            }
            '$' => {
                let name = word(&rest[1..]);
                self.at += 1 + name.len();
                Ok(Kind::Variable(format!("${name}")))
            }
            '+' | '-' | '.' | '0'..='9' => self.number(rest),
            c if c == '_' || c.is_alphabetic() => {
                let name = word(rest);
                self.at += name.len();
                Ok(Kind::Word(name.to_owned()))
            }
            c => fail(self.source, self.at, format!("unexpected {:?} in command", c.to_string())),
        }
    }

    fn quoted(&mut self, rest: &str) -> Result<Kind, TemplateError> {
        let mut text = String::new();
        let mut chars = rest.char_indices().skip(1);
        while let Some((offset, c)) = chars.next() {
            match c {
                '"' => {
                    self.at += offset + 1;
                    return Ok(Kind::Text(text));
                }
                '\n' => break,
                '\\' => {
                    let Some((_, escaped)) = chars.next() else { break };
                    match unescape(escaped) {
                        Some(c) => text.push(c),
                        None => return fail(self.source, self.at, "invalid syntax"),
                    }
                }
                c => text.push(c),
            }
        }
        fail(self.source, self.at, "unterminated quoted string")
    }

    fn raw(&mut self, rest: &str) -> Result<Kind, TemplateError> {
        let Some(end) = rest[1..].find('`') else {
            return fail(self.source, self.at, "unterminated raw quoted string");
        };
        self.at += end + 2;
        Ok(Kind::Text(rest[1..=end].to_owned()))
    }

    fn character(&mut self, rest: &str) -> Result<Kind, TemplateError> {
        let mut chars = rest.chars().skip(1);
        let (value, len) = match (chars.next(), chars.next(), chars.next()) {
            (Some('\\'), Some(escaped), Some('\'')) => (unescape(escaped), 3 + escaped.len_utf8()),
            (Some(c), Some('\''), _) if c != '\'' => (Some(c), 2 + c.len_utf8()),
            _ => (None, 0),
        };
        let Some(value) = value else { return fail(self.source, self.at, "unterminated character constant") };
        self.at += len;
        Ok(Kind::Integer(i64::from(u32::from(value))))
    }

    fn number(&mut self, rest: &str) -> Result<Kind, TemplateError> {
        let sign = usize::from(rest.starts_with(['+', '-']));
        let len = sign
            + rest[sign..]
                .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_')))
                .unwrap_or(rest.len() - sign);
        let text = rest[..len].replace('_', "");
        self.at += len;
        let bare = text.trim_start_matches(['+', '-']);
        let integer = match bare.strip_prefix("0x").or_else(|| bare.strip_prefix("0X")) {
            Some(digits) => {
                i64::from_str_radix(digits, 16).ok().map(|n| if text.starts_with('-') { -n } else { n })
            }
            None => text.parse().ok(),
        };
        match (integer, text.parse::<f64>()) {
            (Some(integer), _) => Ok(Kind::Integer(integer)),
            (None, Ok(float)) if bare.starts_with(|c: char| c.is_ascii_digit() || c == '.') => {
                Ok(Kind::Float(float))
            }
            _ => fail(self.source, self.at, format!("bad number syntax: {:?}", &rest[..len])),
        }
    }
}

fn word(text: &str) -> &str {
    let end = text.find(|c: char| !(c == '_' || c.is_alphanumeric())).unwrap_or(text.len());
    &text[..end]
}

fn unescape(c: char) -> Option<char> {
    Some(match c {
        'n' => '\n',
        't' => '\t',
        'r' => '\r',
        '0' => '\0',
        'a' => '\x07',
        'b' => '\x08',
        'f' => '\x0c',
        'v' => '\x0b',
        '\\' | '"' | '\'' => c,
        _ => return None,
    })
}
