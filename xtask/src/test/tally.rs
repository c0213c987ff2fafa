//! Counts tests from the output of Rust's test programs (libtest, run with `--show-output`).

use std::fmt::Write as _;

/// What a test prints at the start of a line when it cannot run here.
const SKIP: &str = "SKIP";

/// The counts so far, and the place in the output.
#[derive(Debug, Default)]
pub(super) struct Tally {
    passed: usize,
    failures: Vec<String>,
    skips: Vec<String>,
    flaky: Vec<String>,
    section: Section,
    /// The test whose captured output is being read.
    test: String,
}

/// Where in a test program's output the reader stands.
#[derive(Debug, Default, PartialEq, Eq)]
enum Section {
    /// One line per test, and whatever cargo prints between programs.
    #[default]
    Results,
    /// The captured output of tests that passed.
    Successes,
    /// The captured output of tests that failed.
    Failures,
}

impl Tally {
    /// Reads one line of output; returns whether it is worth showing to people.
    pub(super) fn read(&mut self, line: &str) -> bool {
        match line {
            "successes:" => self.section = Section::Successes,
            "failures:" => self.section = Section::Failures,
            _ if line.starts_with("test result: ") => self.section = Section::Results,
            _ => return self.read_within(line),
        }
        self.section != Section::Successes
    }

    fn read_within(&mut self, line: &str) -> bool {
        match self.section {
            Section::Results => self.read_result(line),
            Section::Failures => {}
            Section::Successes => return self.read_success(line),
        }
        true
    }

    fn read_result(&mut self, line: &str) {
        let Some((name, result)) = line.strip_prefix("test ").and_then(|rest| rest.rsplit_once(" ... "))
        else {
            return;
        };
        match result.split(' ').next().unwrap_or_default().trim_end_matches(',') {
            "ok" => self.passed += 1,
            "FAILED" => self.failures.push(name.to_owned()),
            "ignored" => self.skips.push(format!("{name}: ignored")),
            _ => {}
        }
    }

    fn read_success(&mut self, line: &str) -> bool {
        if let Some(test) = line.strip_prefix("---- ").and_then(|rest| rest.strip_suffix(" stdout ----")) {
            test.clone_into(&mut self.test);
        } else if line.starts_with(SKIP) && !self.test.is_empty() {
            // Only the first line counts: the test passed once.
            let test = std::mem::take(&mut self.test);
            self.passed = self.passed.saturating_sub(1);
            self.skip(&test, line.trim_start_matches(SKIP).trim());
            return true;
        }
        false
    }

    /// Counts a test that passed.
    pub(super) fn pass(&mut self) {
        self.passed += 1;
    }

    /// Counts a test that failed.
    pub(super) fn fail(&mut self, name: &str) {
        self.failures.push(name.to_owned());
    }

    /// Counts a test that was skipped.
    pub(super) fn skip(&mut self, name: &str, why: &str) {
        self.skips.push(format!("{name}: {why}"));
    }

    /// Returns how many failed.
    pub(super) fn failed(&self) -> usize {
        self.failures.len()
    }

    /// Names of the tests that failed.
    pub(super) fn failures(&self) -> &[String] {
        &self.failures
    }

    /// Counts the failed test `name`, which passed when it was repeated alone, as passed and as flaky.
    pub(super) fn passed_alone(&mut self, name: &str) {
        self.failures.retain(|failure| failure != name);
        self.passed += 1;
        self.flaky.push(name.to_owned());
    }

    /// Returns how many passed.
    pub(super) fn passed(&self) -> usize {
        self.passed
    }

    /// Renders what was skipped and what failed, then the counts on a line of their own.
    pub(super) fn render(&self) -> String {
        let mut text = String::from("\n");
        for skip in &self.skips {
            let _ = writeln!(text, "SKIPPED {skip}");
        }
        for failure in &self.failures {
            let _ = writeln!(text, "FAILED {failure}");
        }
        for name in &self.flaky {
            let _ = writeln!(text, "FLAKY {name}: it failed, and passed when it was repeated alone");
        }
        let (passed, failed, skipped) = (self.passed, self.failures.len(), self.skips.len());
        let _ = write!(text, "{passed} passed, {failed} failed, {skipped} skipped");
        match self.flaky.len() {
            0 => text.push('\n'),
            flaky => {
                let _ = writeln!(text, ", {flaky} of the passed only at the second try");
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "\
running 4 tests
test tests::a ... ok
test tests::root_b ... ok
test tests::c ... FAILED
test src/lib.rs - f (line 3) ... ok

successes:

---- tests::root_b stdout ----
SKIP root is wanted
SKIP and more

---- tests::a stdout ----
some talk

successes:
    tests::a
    tests::root_b

failures:

---- tests::c stdout ----
thread 'tests::c' panicked at x.rs

failures:
    tests::c

test result: FAILED. 3 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s
";

    fn tally(output: &str) -> (Tally, Vec<&str>) {
        let mut tally = Tally::default();
        let shown = output.lines().filter(|line| tally.read(line)).collect();
        (tally, shown)
    }

    #[test]
    fn skipped_tests_are_not_passed_tests() {
        let (tally, _) = tally(OUTPUT);
        let text = tally.render();
        assert!(text.ends_with("\n2 passed, 1 failed, 1 skipped\n"), "{text}");
        assert!(text.contains("SKIPPED tests::root_b: root is wanted\n"));
        assert!(text.contains("FAILED tests::c\n"));
        assert_eq!(tally.failed(), 1);
    }

    #[test]
    fn what_passed_tests_say_is_left_out() {
        let (_, shown) = tally(OUTPUT);
        assert!(!shown.contains(&"some talk"));
        assert!(shown.contains(&"SKIP root is wanted"));
        assert!(shown.contains(&"thread 'tests::c' panicked at x.rs"));
    }

    #[test]
    fn a_test_that_passes_alone_is_told_as_flaky() {
        let (mut tally, _) = tally(OUTPUT);
        tally.passed_alone("tests::c");
        assert_eq!((tally.failed(), tally.passed()), (0, 3));
        let text = tally.render();
        assert!(text.contains("FLAKY tests::c: "), "{text}");
        assert!(
            text.ends_with("\n3 passed, 0 failed, 1 skipped, 1 of the passed only at the second try\n"),
            "{text}"
        );
    }

    #[test]
    fn several_programs_add_up() {
        let (tally, _) = tally(&[OUTPUT, OUTPUT].concat());
        assert!(tally.render().ends_with("4 passed, 2 failed, 2 skipped\n"));
    }
}
