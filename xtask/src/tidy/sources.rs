//! What every Rust file must look like: a module comment, a bearable length, nothing left to do, honest tests.

use super::{Finding, Source};

/// A file that passes this many lines is a folder that was not made.
const MOST_LINES: usize = 1000;

/// What the name of a test begins with when it needs more than a plain user on a plain machine.
const NEEDS: &[&str] = &["root_", "userns_", "kvm_", "peer_"];

/// What a test calls that asks for root, in halves like [`BANNED`].
const ROOT: &[&str] = &[
    concat!("is_", "root()"),
    concat!("needs::", "root("),
    concat!("World::", "root("),
    concat!("World::plain", "_user("),
];

/// Text that may not occur, and why. Spelled in two halves, so that this file does not name them.
const BANNED: &[(&str, &str)] = &[
    (concat!("todo", "!("), "nothing is left to do in a commit; say in an error what is not there"),
    (concat!("unimpl", "emented!("), "say in an error what is not there"),
    (concat!("#[ig", "nore"), "a test runs or says SKIP with its reason"),
    (concat!("#[should", "_panic"), "assert the error"),
];

/// Checks one file.
pub(super) fn check(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut find = |line: Option<usize>, what: String| {
        let place = line.map_or(source.path.clone(), |line| format!("{}:{line}", source.path));
        findings.push(Finding { place, what });
    };
    if !source.text.starts_with("//!") {
        find(None, "begins with a module comment: //! what it is, what it is not".to_owned());
    }
    let lines = source.text.lines().count();
    if lines > MOST_LINES {
        find(None, format!("{lines} lines; past {MOST_LINES} it is a folder"));
    }
    for (index, line) in source.text.lines().enumerate() {
        for (banned, why) in BANNED.iter().filter(|(banned, _)| line.contains(banned)) {
            find(Some(index + 1), format!("{banned}…: {why}"));
        }
    }
    for test in tests(&source.text).iter().filter(|test| test.needs_root) {
        if !NEEDS.iter().any(|prefix| test.name.starts_with(prefix)) {
            let wanted = NEEDS.join(", ");
            find(
                Some(test.line),
                format!("the test {} asks for root: its name says what it needs ({wanted})", test.name),
            );
        }
    }
    findings
}

/// A test function.
#[derive(Debug, PartialEq, Eq)]
struct Test<'a> {
    name: &'a str,
    line: usize,
    /// Its own body asks whether it runs as root.
    needs_root: bool,
}

/// Finds the test functions in formatted source: a `#[test]` line, then `fn name`, to the brace of the same depth.
fn tests(text: &str) -> Vec<Test<'_>> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (index, line) in lines.iter().enumerate().filter(|(_, line)| line.trim() == "#[test]") {
        let indent = line.len() - line.trim_start().len();
        let Some(head) = (index..lines.len()).find(|at| lines[*at].trim_start().starts_with("fn ")) else {
            continue;
        };
        let name = lines[head].trim_start().trim_start_matches("fn ").split('(').next().unwrap_or_default();
        let end_of_body = format!("{}}}", " ".repeat(indent));
        let body = lines[head..].iter().take_while(|line| **line != end_of_body);
        found.push(Test {
            name,
            line: head + 1,
            needs_root: body.into_iter().any(|line| ROOT.iter().any(|word| line.contains(word))),
        });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(text: &str) -> Vec<String> {
        check(&Source { path: "x.rs".to_owned(), text: text.to_owned() })
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn a_file_says_what_it_is() {
        assert!(findings("//! Fine.\n").is_empty());
        assert_eq!(
            findings("use x;\n"),
            ["x.rs: begins with a module comment: //! what it is, what it is not"]
        );
    }

    #[test]
    fn long_files_and_things_to_do_are_found() {
        assert!(findings(&format!("//! Long.\n{}", "\n".repeat(1000)))[0].contains("1001 lines"));
        let left = format!("//! X.\nfn f() {{\n    {}\n}}\n", concat!("todo", "!()"));
        assert!(findings(&left)[0].starts_with("x.rs:3: "));
    }

    #[test]
    fn a_test_that_needs_root_says_so_in_its_name() {
        let body = format!("() {{\n    if !{} {{\n        return;\n    }}\n}}\n", ROOT[0]);
        assert!(findings(&format!("//! X.\n#[test]\nfn root_mounts{body}")).is_empty());
        let found = findings(&format!("//! X.\n#[test]\nfn mounts{body}"));
        assert!(found[0].starts_with("x.rs:3: the test mounts asks for root"), "{found:?}");
    }
}
