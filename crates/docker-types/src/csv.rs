//! One line of comma-separated values with quotes, as in `--mount` and `--network`.
//!
//! Source: RFC 4180, as Go's `encoding/csv` reads one record.

/// Why a text is no such line. The words are Go's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CsvError {
    /// There is nothing.
    #[error("EOF")]
    Empty,
    /// A quote stands in a field that does not begin with one.
    #[error("parse error on line 1, column {0}: bare \" in non-quoted-field")]
    BareQuote(usize),
    /// A quoted field does not end, or goes on behind its end.
    #[error("parse error on line 1, column {0}: extraneous or missing \" in quoted-field")]
    Quote(usize),
}

/// Splits one line into its fields.
pub fn split(line: &str) -> Result<Vec<String>, CsvError> {
    if line.is_empty() {
        return Err(CsvError::Empty);
    }
    let mut fields = Vec::new();
    let mut rest = line;
    loop {
        let column = line.len() - rest.len() + 1;
        let (field, after) = match rest.strip_prefix('"') {
            Some(quoted) => take_quoted(quoted, line.len())?,
            None => {
                let end = rest.find(',').unwrap_or(rest.len());
                if let Some(at) = rest[..end].find('"') {
                    return Err(CsvError::BareQuote(column + at));
                }
                (rest[..end].to_owned(), &rest[end..])
            }
        };
        fields.push(field);
        match after.strip_prefix(',') {
            Some(next) => rest = next,
            None => return Ok(fields),
        }
    }
}

/// Takes a field whose opening quote is gone already; a doubled quote is one quote.
fn take_quoted(text: &str, line_len: usize) -> Result<(String, &str), CsvError> {
    let mut field = String::new();
    let mut rest = text;
    loop {
        let end = rest.find('"').ok_or(CsvError::Quote(line_len + 1))?;
        field.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        match rest.chars().next() {
            Some('"') => {
                field.push('"');
                rest = &rest[1..];
            }
            None | Some(',') => return Ok((field, rest)),
            Some(_) => return Err(CsvError::Quote(line_len - rest.len())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn fields_are_split() {
        assert_eq!(split("a,b=c"), Ok(vec!["a".into(), "b=c".into()]));
        assert_eq!(split("a,\"b,c\",d"), Ok(vec!["a".into(), "b,c".into(), "d".into()]));
        assert_eq!(split("\"a\"\"b\""), Ok(vec!["a\"b".into()]));
        assert_eq!(split("a,"), Ok(vec!["a".into(), String::new()]));
        assert_eq!(split(""), Err(CsvError::Empty));
        assert_eq!(split("a\"b"), Err(CsvError::BareQuote(2)));
        assert!(matches!(split("type=bind,\"src=/a"), Err(CsvError::Quote(18))));
    }

    proptest! {
        #[test]
        fn quoted_fields_come_back(fields in prop::collection::vec(".{0,6}", 1..4)) {
            let line = fields.iter().map(|f| format!("\"{}\"", f.replace('"', "\"\""))).collect::<Vec<_>>().join(",");
            prop_assert_eq!(split(&line), Ok(fields));
        }

        #[test]
        fn any_text_is_parsed_or_refused(text in ".{0,20}") {
            let _ = split(&text);
        }
    }
}
