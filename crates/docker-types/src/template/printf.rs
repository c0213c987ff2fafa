//! Go's `printf` for the values that JSON has.

use serde_json::Value;

use super::funcs::{Arg, print, type_name};
use crate::size::significant;

/// The widest field; a larger width is cut, so that a template cannot ask for gigabytes of spaces.
const WIDTH_MAX: usize = 10_000;

/// Flags, width and precision of one verb.
#[derive(Default)]
struct Spec {
    left: bool,
    zero: bool,
    plus: bool,
    sharp: bool,
    width: usize,
    precision: Option<usize>,
}

/// Formats `args` by `format`; what does not fit is said in the text, as Go does: `%!d(string=x)`.
pub(super) fn printf(format: &str, args: &[Arg<'_>]) -> String {
    let mut out = String::new();
    let mut next = 0;
    let mut chars = format.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut spec = Spec::default();
        while let Some(flag) = chars.next_if(|c| "+-# 0".contains(*c)) {
            match flag {
                '-' => spec.left = true,
                '0' => spec.zero = true,
                '+' => spec.plus = true,
                '#' => spec.sharp = true,
                _ => {}
            }
        }
        spec.width = digits(&mut chars);
        if chars.next_if_eq(&'.').is_some() {
            spec.precision = Some(digits(&mut chars));
        }
        match chars.next() {
            None => out += "%!(NOVERB)",
            Some('%') => out.push('%'),
            Some(verb) => match args.get(next) {
                None => out += &format!("%!{verb}(MISSING)"),
                Some(arg) => {
                    next += 1;
                    let text = one(verb, &spec, *arg);
                    out += &pad(text, &spec, arg.is_some_and(Value::is_number));
                }
            },
        }
    }
    if next < args.len() {
        let extra: Vec<String> = args[next..].iter().map(|arg| typed(*arg)).collect();
        out += &format!("%!(EXTRA {})", extra.join(", "));
    }
    out
}

fn digits(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> usize {
    let mut value: usize = 0;
    while let Some(digit) = chars.next_if(char::is_ascii_digit) {
        value = (value * 10 + digit.to_digit(10).map_or(0, |d| d as usize)).min(WIDTH_MAX);
    }
    value
}

fn one(verb: char, spec: &Spec, arg: Arg<'_>) -> String {
    let bad = || format!("%!{verb}({})", typed(arg));
    let cut = |text: String| match spec.precision {
        Some(length) => text.chars().take(length).collect(),
        None => text,
    };
    match (verb, arg) {
        ('v', None | Some(Value::Null)) => "<nil>".to_owned(),
        ('v', Some(Value::String(text))) if spec.sharp => format!("{text:?}"),
        ('v', Some(Value::Number(number))) => signed(number.to_string(), spec),
        ('v', arg) => print(arg),
        ('s', Some(Value::String(text))) => cut(text.clone()),
        ('s', Some(Value::Array(items))) if items.iter().all(Value::is_string) => print(arg),
        ('q', Some(Value::String(text))) => format!("{:?}", cut(text.clone())),
        ('q', Some(Value::Array(items))) if items.iter().all(Value::is_string) => {
            let words: Vec<String> =
                items.iter().filter_map(Value::as_str).map(|word| format!("{word:?}")).collect();
            format!("[{}]", words.join(" "))
        }
        ('t', Some(Value::Bool(value))) => value.to_string(),
        ('d' | 'x' | 'X' | 'o' | 'b' | 'c', Some(Value::Number(number))) => match number.as_i64() {
            Some(number) => integer(verb, number, spec),
            None => bad(),
        },
        ('x', Some(Value::String(text))) => text.bytes().map(|byte| format!("{byte:02x}")).collect(),
        ('X', Some(Value::String(text))) => text.bytes().map(|byte| format!("{byte:02X}")).collect(),
        ('f' | 'F' | 'g' | 'e', Some(Value::Number(number))) if number.is_f64() => {
            float(verb, number.as_f64().unwrap_or(0.0), spec)
        }
        _ => bad(),
    }
}

fn integer(verb: char, number: i64, spec: &Spec) -> String {
    let magnitude = number.unsigned_abs();
    let sign = if number < 0 { "-" } else { "" };
    match verb {
        'x' => format!("{sign}{magnitude:x}"),
        'X' => format!("{sign}{magnitude:X}"),
        'o' => format!("{sign}{magnitude:o}"),
        'b' => format!("{sign}{magnitude:b}"),
        'c' => u32::try_from(number).ok().and_then(char::from_u32).unwrap_or('\u{fffd}').to_string(),
        _ => signed(number.to_string(), spec),
    }
}

fn float(verb: char, number: f64, spec: &Spec) -> String {
    let text = match verb {
        'g' => spec.precision.map_or_else(|| number.to_string(), |digits| significant(number, digits)),
        'e' => {
            let text = format!("{:.*e}", spec.precision.unwrap_or(6), number);
            match text.split_once('e') {
                Some((mantissa, exponent)) => {
                    let exponent: i32 = exponent.parse().unwrap_or(0);
                    let sign = if exponent < 0 { '-' } else { '+' };
                    format!("{mantissa}e{sign}{:02}", exponent.abs())
                }
                None => text,
            }
        }
        _ => format!("{number:.*}", spec.precision.unwrap_or(6)),
    };
    signed(text, spec)
}

fn signed(text: String, spec: &Spec) -> String {
    if spec.plus && !text.starts_with('-') { format!("+{text}") } else { text }
}

fn pad(text: String, spec: &Spec, numeric: bool) -> String {
    let missing = spec.width.saturating_sub(text.chars().count());
    if missing == 0 {
        return text;
    }
    if spec.left {
        return text + &" ".repeat(missing);
    }
    if spec.zero {
        let (sign, rest) = match text.strip_prefix(['-', '+']) {
            Some(rest) if numeric => (&text[..1], rest),
            _ => ("", text.as_str()),
        };
        return format!("{sign}{}{rest}", "0".repeat(missing));
    }
    " ".repeat(missing) + &text
}

/// `string=x`, the form in which Go shows what does not fit a verb.
fn typed(arg: Arg<'_>) -> String {
    match arg {
        None | Some(Value::Null) => "<nil>".to_owned(),
        Some(value) => format!("{}={}", type_name(value), print(Some(value))),
    }
}
