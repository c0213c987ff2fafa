//! The functions that templates may call, and how values print.

use serde_json::{Map, Value};

use super::printf::printf;

/// An argument; none is `nil` or a missing entry.
pub(super) type Arg<'a> = Option<&'a Value>;

/// What a function returns; the error is the message.
type Outcome = Result<Option<Value>, String>;

const NAMES: [&str; 26] = [
    "and", "eq", "ge", "gt", "html", "index", "join", "json", "le", "len", "lower", "lt", "ne", "not", "or",
    "pad", "print", "printf", "println", "slice", "split", "title", "truncate", "upper", "urlquery", "js",
];

/// Says whether there is a function `name`.
pub(super) fn is_known(name: &str) -> bool {
    NAMES.contains(&name) && !matches!(name, "html" | "js" | "urlquery")
}

/// Calls the function `name`.
pub(super) fn call(name: &str, args: &[Arg<'_>]) -> Outcome {
    let (least, most) = match name {
        "json" | "lower" | "upper" | "title" | "len" | "not" => (1, 1),
        "split" | "join" | "truncate" | "ne" | "lt" | "le" | "gt" | "ge" => (2, 2),
        "pad" => (3, 3),
        "printf" | "index" | "slice" | "and" | "or" | "eq" => (1, usize::MAX),
        _ => (0, usize::MAX),
    };
    if args.len() < least || args.len() > most {
        let want = if least == most { least.to_string() } else { format!("at least {least}") };
        return Err(format!("wrong number of args for {name}: want {want} got {}", args.len()));
    }
    match name {
        "json" => Ok(Some(Value::from(json(args[0])))),
        "lower" => text_map(args[0], str::to_lowercase),
        "upper" => text_map(args[0], str::to_uppercase),
        "title" => text_map(args[0], title),
        "split" => split(args[0], args[1]),
        "join" => join(args[0], args[1]),
        "truncate" => truncate(args[0], args[1]),
        "pad" => pad(args[0], args[1], args[2]),
        "print" => Ok(Some(Value::from(print_all(args)))),
        "println" => {
            let words: Vec<String> = args.iter().map(|arg| print(*arg)).collect();
            Ok(Some(Value::from(words.join(" ") + "\n")))
        }
        "printf" => match args[0] {
            Some(Value::String(format)) => Ok(Some(Value::from(printf(format, &args[1..])))),
            other => Err(format!("wrong type for value; expected string; got {}", type_of(other))),
        },
        "len" => length(args[0]),
        "index" => index(args[0], &args[1..]),
        "slice" => slice(args[0], &args[1..]),
        "not" => Ok(Some(Value::Bool(!truth(args[0])))),
        "and" => Ok(args.iter().find(|arg| !truth(**arg)).or(args.last()).and_then(|arg| arg.cloned())),
        "or" => Ok(args.iter().find(|arg| truth(**arg)).or(args.last()).and_then(|arg| arg.cloned())),
        "eq" => equal_any(args),
        "ne" => Ok(Some(Value::Bool(!equal(args[0], args[1])?))),
        "lt" | "le" | "gt" | "ge" => order(name, args[0], args[1]),
        _ => Err(format!("function {name:?} not defined")),
    }
}

/// Says whether a value counts as true: not false, zero, empty or nothing.
pub(super) fn truth(value: Arg<'_>) -> bool {
    match value {
        None | Some(Value::Null) => false,
        Some(Value::Bool(value)) => *value,
        Some(Value::Number(number)) => number.as_f64() != Some(0.0),
        Some(Value::String(text)) => !text.is_empty(),
        Some(Value::Array(items)) => !items.is_empty(),
        Some(Value::Object(map)) => !map.is_empty(),
    }
}

/// Prints a value as Go's `%v` does: `[a b]`, `map[k:v]`, `<no value>`.
pub(super) fn print(value: Arg<'_>) -> String {
    match value {
        None | Some(Value::Null) => "<no value>".to_owned(),
        Some(value) => print_inner(value),
    }
}

fn print_inner(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(print_inner).collect::<Vec<_>>().join(" ")),
        Value::Object(map) => {
            let pairs: Vec<String> =
                sorted(map).into_iter().map(|(key, value)| format!("{key}:{}", print_inner(value))).collect();
            format!("map[{}]", pairs.join(" "))
        }
    }
}

fn sorted(map: &Map<String, Value>) -> Vec<(&String, &Value)> {
    let mut entries: Vec<_> = map.iter().collect();
    entries.sort_by_key(|(key, _)| *key);
    entries
}

/// Go's `print`: a space stands between two arguments when neither is a text.
fn print_all(args: &[Arg<'_>]) -> String {
    let mut out = String::new();
    let is_text = |arg: Arg<'_>| matches!(arg, Some(Value::String(_)));
    for (nth, arg) in args.iter().enumerate() {
        if nth > 0 && !is_text(*arg) && !is_text(args[nth - 1]) {
            out.push(' ');
        }
        out += &print(*arg);
    }
    out
}

/// Returns keys and values of what `range` may go over; none when it may not.
pub(super) fn items(value: &Value) -> Option<Vec<(Value, Value)>> {
    match value {
        Value::Array(items) => {
            Some(items.iter().enumerate().map(|(nth, item)| (Value::from(nth), item.clone())).collect())
        }
        Value::Object(map) => Some(
            sorted(map).into_iter().map(|(key, value)| (Value::from(key.as_str()), value.clone())).collect(),
        ),
        Value::Number(number) => {
            let count = number.as_u64().filter(|count| *count <= 1_000_000)?;
            Some((0..count).map(|nth| (Value::from(nth), Value::from(nth))).collect())
        }
        _ => None,
    }
}

/// Names the type of a value as Go would.
pub(super) fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "nil",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

fn type_of(arg: Arg<'_>) -> &'static str {
    arg.map_or("nil", type_name)
}

/// Renders as Go's `encoding/json` does without HTML escapes.
fn json(arg: Arg<'_>) -> String {
    arg.map_or_else(|| "null".to_owned(), Value::to_string)
}

fn text(arg: Arg<'_>) -> Result<&str, String> {
    match arg {
        Some(Value::String(text)) => Ok(text),
        other => Err(format!("wrong type for value; expected string; got {}", type_of(other))),
    }
}

fn number(arg: Arg<'_>) -> Result<i64, String> {
    arg.and_then(Value::as_i64)
        .ok_or_else(|| format!("wrong type for value; expected int; got {}", type_of(arg)))
}

fn text_map(arg: Arg<'_>, map: impl Fn(&str) -> String) -> Outcome {
    Ok(Some(Value::from(map(text(arg)?))))
}

fn title(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut begins = true;
    for c in text.chars() {
        if begins {
            out.extend(c.to_uppercase())
        } else {
            out.push(c)
        }
        begins = c.is_whitespace();
    }
    out
}

fn split(whole: Arg<'_>, separator: Arg<'_>) -> Outcome {
    let (whole, separator) = (text(whole)?, text(separator)?);
    let parts: Vec<Value> = match separator {
        "" => whole.chars().map(|c| Value::from(c.to_string())).collect(),
        separator => whole.split(separator).map(Value::from).collect(),
    };
    Ok(Some(Value::from(parts)))
}

fn join(items: Arg<'_>, separator: Arg<'_>) -> Outcome {
    let separator = text(separator)?;
    match items {
        Some(Value::Array(items)) => Ok(Some(Value::from(
            items.iter().map(|item| print(Some(item))).collect::<Vec<_>>().join(separator),
        ))),
        Some(Value::Null) | None => Ok(Some(Value::from(""))),
        other => Err(format!("wrong type for value; expected []string; got {}", type_of(other))),
    }
}

fn truncate(whole: Arg<'_>, length: Arg<'_>) -> Outcome {
    let (whole, length) = (text(whole)?, usize::try_from(number(length)?).unwrap_or(0));
    let end = whole.char_indices().nth(length).map_or(whole.len(), |(end, _)| end);
    Ok(Some(Value::from(&whole[..end])))
}

fn pad(whole: Arg<'_>, before: Arg<'_>, after: Arg<'_>) -> Outcome {
    let whole = text(whole)?;
    if whole.is_empty() {
        return Ok(Some(Value::from("")));
    }
    let spaces = |count: i64| " ".repeat(usize::try_from(count).unwrap_or(0).min(10_000));
    Ok(Some(Value::from(format!("{}{whole}{}", spaces(number(before)?), spaces(number(after)?)))))
}

fn length(arg: Arg<'_>) -> Outcome {
    let length = match arg {
        Some(Value::String(text)) => text.len(),
        Some(Value::Array(items)) => items.len(),
        Some(Value::Object(map)) => map.len(),
        None | Some(Value::Null) => return Err("len of nil pointer".to_owned()),
        other => return Err(format!("len of type {}", type_of(other))),
    };
    Ok(Some(Value::from(length)))
}

fn index(start: Arg<'_>, keys: &[Arg<'_>]) -> Outcome {
    let Some(mut value) = start else { return Err("index of untyped nil".to_owned()) };
    for key in keys {
        value = match value {
            Value::Object(map) => match map.get(text(*key)?) {
                Some(entry) => entry,
                // Go gives the zero value, which prints as nothing for the texts that these maps hold.
                None => return Ok(Some(Value::from(""))),
            },
            Value::Array(items) => {
                let nth = number(*key)
                    .map_err(|_| format!("cannot index slice/array with type {}", type_of(*key)))?;
                usize::try_from(nth)
                    .ok()
                    .and_then(|nth| items.get(nth))
                    .ok_or_else(|| format!("index out of range: {nth}"))?
            }
            Value::String(text) => {
                let nth = usize::try_from(number(*key)?).unwrap_or(usize::MAX);
                let byte = text.as_bytes().get(nth).ok_or_else(|| format!("index out of range: {nth}"))?;
                return Ok(Some(Value::from(*byte)));
            }
            Value::Null => return Err("index of nil pointer".to_owned()),
            other => return Err(format!("can't index item of type {}", type_name(other))),
        };
    }
    Ok(Some(value.clone()))
}

fn slice(value: Arg<'_>, bounds: &[Arg<'_>]) -> Outcome {
    let length = match value {
        Some(Value::String(text)) => text.len(),
        Some(Value::Array(items)) => items.len(),
        other => return Err(format!("can't slice item of type {}", type_of(other))),
    };
    let bound = |nth: usize, default: usize| -> Result<usize, String> {
        let Some(arg) = bounds.get(nth) else { return Ok(default) };
        let wanted = number(*arg)?;
        usize::try_from(wanted)
            .ok()
            .filter(|n| *n <= length)
            .ok_or_else(|| format!("index out of range: {wanted}"))
    };
    let (begin, end) = (bound(0, 0)?, bound(1, length)?);
    if begin > end {
        return Err(format!("invalid slice index: {begin} > {end}"));
    }
    Ok(Some(match value {
        Some(Value::String(text)) => Value::from(text.get(begin..end).ok_or("slice splits a character")?),
        Some(Value::Array(items)) => Value::from(items[begin..end].to_vec()),
        _ => Value::Null,
    }))
}

fn equal_any(args: &[Arg<'_>]) -> Outcome {
    if args.len() < 2 {
        return Err("missing argument for comparison".to_owned());
    }
    for other in &args[1..] {
        if equal(args[0], *other)? {
            return Ok(Some(Value::Bool(true)));
        }
    }
    Ok(Some(Value::Bool(false)))
}

fn equal(a: Arg<'_>, b: Arg<'_>) -> Result<bool, String> {
    match (a, b) {
        (None | Some(Value::Null), None | Some(Value::Null)) => Ok(true),
        (None | Some(Value::Null), _) | (_, None | Some(Value::Null)) => Ok(false),
        (Some(Value::Number(a)), Some(Value::Number(b))) if a.is_f64() == b.is_f64() => Ok(a == b),
        (Some(Value::Number(_)), Some(Value::Number(_))) => {
            Err("incompatible types for comparison".to_owned())
        }
        (Some(a), Some(b)) if std::mem::discriminant(a) == std::mem::discriminant(b) => Ok(a == b),
        _ => Err("incompatible types for comparison".to_owned()),
    }
}

fn order(name: &str, a: Arg<'_>, b: Arg<'_>) -> Outcome {
    let ordering = match (a, b) {
        (Some(Value::Number(a)), Some(Value::Number(b))) => match (a.as_i64(), b.as_i64()) {
            (Some(a), Some(b)) => Some(a.cmp(&b)),
            _ => a.as_f64().partial_cmp(&b.as_f64()),
        },
        (Some(Value::String(a)), Some(Value::String(b))) => Some(a.cmp(b)),
        _ => return Err("incompatible types for comparison".to_owned()),
    };
    let holds = ordering.is_some_and(|ordering| match name {
        "lt" => ordering.is_lt(),
        "le" => ordering.is_le(),
        "gt" => ordering.is_gt(),
        _ => ordering.is_ge(),
    });
    Ok(Some(Value::Bool(holds)))
}
