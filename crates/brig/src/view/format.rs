//! `--format` of lists: a table, a table by template, a template for each row, or JSON.

use std::borrow::Cow;
use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use docker_types::table;
use docker_types::template::{Shape, Template};
use serde_json::{Map, Value};

/// A list's columns and its normal table.
#[derive(Debug)]
pub(crate) struct Columns {
    /// Name of each field and its heading.
    pub(crate) headings: &'static [(&'static str, &'static str)],
    /// How Go's errors call a row.
    pub(crate) type_name: &'static str,
}

/// One row of a list.
#[derive(Debug, Clone, Default)]
pub(crate) struct Row {
    /// Fields by name.
    pub(crate) fields: Map<String, Value>,
    /// Labels, for `{{.Label "name"}}`.
    pub(crate) labels: BTreeMap<String, String>,
}

impl Row {
    /// Makes a row of texts.
    pub(crate) fn new<const N: usize>(fields: [(&str, String); N]) -> Self {
        let fields = fields.into_iter().map(|(name, value)| (name.to_owned(), Value::from(value))).collect();
        Self { fields, labels: BTreeMap::new() }
    }
}

/// Renders `rows`. `format` is what the user gave, `normal` the template of the normal table.
pub(crate) fn render(columns: &Columns, format: Option<&str>, normal: &str, rows: &[Row]) -> Result<String> {
    let format = format.map(|text| text.trim_matches(' ')).filter(|text| !text.is_empty());
    match format {
        None | Some("table") => as_table(columns, normal, rows),
        Some("json") => as_lines(columns, "{{json .}}", rows),
        Some(text) => match text.strip_prefix("table ") {
            Some(template) => as_table(columns, &unescape(template), rows),
            None => as_lines(columns, &unescape(text), rows),
        },
    }
}

/// Turns the two characters `\t` and `\n` into what they mean, as Docker does for lists.
fn unescape(template: &str) -> String {
    template.trim_matches(' ').replace("\\t", "\t").replace("\\n", "\n")
}

fn parse(template: &str) -> Result<Template> {
    Template::parse(template).context("template parsing error")
}

fn as_table(columns: &Columns, template: &str, rows: &[Row]) -> Result<String> {
    let template = parse(template)?;
    let header: Map<String, Value> =
        columns.headings.iter().map(|(name, heading)| ((*name).to_owned(), Value::from(*heading))).collect();
    let header = Row { fields: header, labels: BTreeMap::new() };
    let mut text = one(&template, &header, &HeaderShape(columns))?;
    for row in rows {
        text.push('\n');
        text += &one(&template, row, &RowShape { columns, row })?;
    }
    Ok(table::layout(&text))
}

fn as_lines(columns: &Columns, template: &str, rows: &[Row]) -> Result<String> {
    let template = parse(template)?;
    let mut text = String::new();
    for row in rows {
        text += &one(&template, row, &RowShape { columns, row })?;
        text.push('\n');
    }
    Ok(text)
}

fn one(template: &Template, row: &Row, shape: &dyn Shape) -> Result<String> {
    template.render(&Value::Object(row.fields.clone()), shape).context("failed to execute template")
}

struct RowShape<'a> {
    columns: &'a Columns,
    row: &'a Row,
}

impl Shape for RowShape<'_> {
    fn missing(&self, key: &str) -> String {
        format!("can't evaluate field {key} in type *{}", self.columns.type_name)
    }

    fn call(&self, name: &str, args: &[Value]) -> Option<Value> {
        let label = args.first()?.as_str()?;
        (name == "Label").then(|| Value::from(self.row.labels.get(label).cloned().unwrap_or_default()))
    }
}

struct HeaderShape<'a>(&'a Columns);

impl Shape for HeaderShape<'_> {
    fn missing(&self, key: &str) -> String {
        format!("can't evaluate field {key} in type *{}", self.0.type_name)
    }

    fn call(&self, name: &str, args: &[Value]) -> Option<Value> {
        let label = args.first()?.as_str()?;
        let last = label.rsplit('.').next().unwrap_or(label);
        (name == "Label").then(|| Value::from(last.replace(['-', '_'], " ")))
    }
}

/// Says whether the template that the user gave needs the field `name`.
pub(crate) fn uses(format: Option<&str>, name: &str) -> bool {
    match format {
        None | Some("table") => false,
        Some("json") => true,
        Some(text) => text.contains(&format!(".{name}")) || text.contains("json ."),
    }
}

/// `--format` of what comes one by one: JSON lines, or a line for each by template.
#[derive(Debug)]
pub(crate) struct Stream(Option<Template>);

impl Stream {
    /// Reads the format; none means that the caller prints its own text.
    pub(crate) fn parse(format: Option<&str>) -> Result<Option<Self>> {
        match format.map(|text| text.trim_matches(' ')).filter(|text| !text.is_empty()) {
            None => Ok(None),
            Some("json" | "{{json .}}") => Ok(Some(Self(None))),
            Some(text) => Ok(Some(Self(Some(parse(&unescape(text))?)))),
        }
    }

    /// Renders one value.
    pub(crate) fn line(&self, value: &impl serde::Serialize) -> Result<String> {
        match &self.0 {
            None => serde_json::to_string(value).context("cannot render the answer as JSON"),
            Some(template) => {
                let value = serde_json::to_value(value).context("cannot render the answer as JSON")?;
                let shape = docker_types::template::Inspected;
                template.render(&value, &shape).context("failed to execute template")
            }
        }
    }
}

/// Renders the answers of `inspect`: an array of JSON, or a line for each by template.
pub(crate) fn inspected(format: Option<&str>, values: &[Value]) -> Result<String> {
    match format.filter(|text| !text.is_empty()) {
        None => {
            let mut out = Vec::new();
            let pretty = serde_json::ser::PrettyFormatter::with_indent(b"    ");
            let mut serializer = serde_json::Serializer::with_formatter(&mut out, pretty);
            serde::Serialize::serialize(values, &mut serializer)
                .context("cannot render the answer as JSON")?;
            Ok(String::from_utf8_lossy(&out).into_owned() + "\n")
        }
        Some("json") => Ok(serde_json::to_string(values).context("cannot render the answer as JSON")? + "\n"),
        Some(template) => {
            let template = parse(template)?;
            let mut text = String::new();
            for value in values {
                let shape = docker_types::template::Inspected;
                text += &template.render(&with_optional(value), &shape).context("template parsing error")?;
                text.push('\n');
            }
            Ok(text)
        }
    }
}

/// What JSON leaves out when it is not there, a template may ask for, as of Docker's structures.
fn with_optional(value: &Value) -> Cow<'_, Value> {
    match value.get("State").and_then(Value::as_object) {
        Some(state) if !state.contains_key("Health") => {
            let mut whole = value.clone();
            whole["State"]["Health"] = Value::Null;
            Cow::Owned(whole)
        }
        _ => Cow::Borrowed(value),
    }
}

/// Renders one object by `--format` of `info` and `version`; none means that the caller prints its own text.
pub(crate) fn single(format: Option<&str>, value: &Value) -> Result<Option<String>> {
    match format.filter(|text| !text.is_empty()) {
        None => Ok(None),
        Some("json") => Ok(Some(value.to_string() + "\n")),
        Some(template) => {
            let shape = docker_types::template::Inspected;
            Ok(Some(parse(template)?.render(value, &shape).context("template parsing error")? + "\n"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: Columns = Columns {
        headings: &[("ID", "CONTAINER ID"), ("Names", "NAMES")],
        type_name: "formatter.ContainerContext",
    };

    fn rows() -> Vec<Row> {
        let mut row = Row::new([("ID", "0123456789ab".to_owned()), ("Names", "web".to_owned())]);
        row.labels.insert("com.x.a-b".to_owned(), "v".to_owned());
        vec![row]
    }

    fn check(format: Option<&str>, text: &str) {
        assert_eq!(render(&COLUMNS, format, "{{.ID}}\t{{.Names}}", &rows()).unwrap(), text, "{format:?}");
    }

    #[test]
    fn lists_render_in_every_form() {
        check(None, "CONTAINER ID   NAMES\n0123456789ab   web\n");
        check(Some("table"), "CONTAINER ID   NAMES\n0123456789ab   web\n");
        check(Some("table {{.Names}}\\t{{.Label \"com.x.a-b\"}}"), "NAMES     a b\nweb       v\n");
        check(Some("{{.Names}}|{{upper .Names}}"), "web|WEB\n");
        check(Some("json"), "{\"ID\":\"0123456789ab\",\"Names\":\"web\"}\n");
        check(Some("{{.ID | printf \"%q\"}}"), "\"0123456789ab\"\n");
    }

    #[test]
    fn unknown_fields_are_refused_in_dockers_words() {
        let error = render(&COLUMNS, Some("{{.Foo}}"), "", &rows()).unwrap_err();
        assert_eq!(
            format!("{error:#}"),
            "failed to execute template: template: :1:2: executing \"\" at <.Foo>: can't evaluate field Foo in type *formatter.ContainerContext"
        );
    }
}
