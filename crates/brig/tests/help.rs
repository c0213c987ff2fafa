//! What `--help` says of every command, compared with `golden/help.txt`.
//!
//! `UPDATE_GOLDEN=1 cargo test -p brig` writes the file anew; the change is then read in review.

use std::path::Path;
use std::process::Command;

fn help(words: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_brig"))
        .current_dir("/")
        .args(words)
        .arg("--help")
        .output()
        .expect("the program can be run");
    assert!(output.status.success(), "{words:?}");
    String::from_utf8(output.stdout).expect("help is UTF-8")
}

/// The words below `Commands:` and its like.
fn commands(help: &str) -> Vec<String> {
    let mut section = "";
    let mut found = Vec::new();
    for line in help.lines() {
        if line.starts_with(|c: char| c.is_ascii_uppercase()) {
            section = line;
        } else if section.ends_with("Commands:") {
            found.extend(line.strip_prefix("  ").and_then(|rest| rest.split(' ').next()).map(str::to_owned));
        }
    }
    found.retain(|word| !word.is_empty());
    found
}

fn compare(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, text).expect("the golden file can be written");
        return;
    }
    let golden = std::fs::read_to_string(&path).expect("the golden file is there");
    for (nth, (have, want)) in text.lines().zip(golden.lines()).enumerate() {
        assert_eq!(have, want, "{name}, line {}; UPDATE_GOLDEN=1 writes it anew", nth + 1);
    }
    assert_eq!(text.len(), golden.len(), "{name} has another length; UPDATE_GOLDEN=1 writes it anew");
}

#[test]
fn help_is_what_was_agreed() {
    let program = help(&[]);
    let mut text = program.clone();
    for first in commands(&program) {
        let own = help(&[&first]);
        text += &format!("\n=== brig {first}\n{own}");
        for second in commands(&own) {
            text += &format!("\n=== brig {first} {second}\n{}", help(&[&first, &second]));
        }
    }
    compare("help.txt", &text);
}

#[test]
fn wrong_command_lines_are_told_in_dockers_words() {
    for (args, code, message) in [
        (
            &["rm"][..],
            1,
            "brig: 'brig rm' requires at least 1 argument\n\nUsage:  brig rm [OPTIONS] CONTAINER [CONTAINER...]\n\nRun 'brig rm --help' for more information\n",
        ),
        (
            &["ps", "x"],
            1,
            "brig: 'brig ps' accepts no arguments\n\nUsage:  brig ps [OPTIONS]\n\nRun 'brig ps --help' for more information\n",
        ),
        (
            &["rename", "a"],
            1,
            "brig: 'brig rename' requires 2 arguments\n\nUsage:  brig rename CONTAINER NEW_NAME\n\nRun 'brig rename --help' for more information\n",
        ),
        (
            &["rm", "--foo"],
            125,
            "brig: unknown flag: --foo\n\nUsage:  brig rm [OPTIONS] CONTAINER [CONTAINER...]\n\nRun 'brig rm --help' for more information\n",
        ),
        (
            &["ps", "-n", "x"],
            125,
            "brig: invalid argument \"x\" for \"-n, --last\" flag: strconv.ParseInt: parsing \"x\": invalid syntax\n\nUsage:  brig ps [OPTIONS]\n\nRun 'brig ps --help' for more information\n",
        ),
        (&["foo"], 1, "brig: unknown command: brig foo\n\nRun 'brig --help' for more information\n"),
        (
            &["build", "."],
            1,
            "brig: brig build is not supported yet\n\nRun 'brig --help' for more information\n",
        ),
        (
            &["rm", "--link", "x"],
            125,
            "brig: --link is not supported yet\n\nRun 'brig rm --help' for more information\n",
        ),
        (
            &["volume", "foo"],
            1,
            "brig: unknown command: brig volume foo\n\nRun 'brig volume --help' for more information\n",
        ),
        (
            &["--foo"],
            125,
            "brig: unknown flag: --foo\n\nUsage:  brig [OPTIONS] COMMAND [ARG...]\n\nRun 'brig --help' for more information\n",
        ),
    ] {
        let output =
            Command::new(env!("CARGO_BIN_EXE_brig")).current_dir("/").args(args).output().expect("it runs");
        assert_eq!(String::from_utf8_lossy(&output.stderr), message, "{args:?}");
        assert_eq!(output.status.code(), Some(code), "{args:?}");
        assert!(output.stdout.is_empty(), "{args:?}");
    }
}

#[test]
fn a_reader_that_goes_away_ends_the_command_quietly() {
    use std::process::Stdio;
    let mut child = Command::new(env!("CARGO_BIN_EXE_brig"))
        .current_dir("/")
        .args(["completion", "zsh"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(141));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn completion_scripts_name_every_command() {
    let program = help(&[]);
    for shell in ["bash", "zsh", "fish"] {
        let output = Command::new(env!("CARGO_BIN_EXE_brig"))
            .current_dir("/")
            .args(["completion", shell])
            .output()
            .expect("it runs");
        let script = String::from_utf8(output.stdout).expect("a script is UTF-8");
        for command in commands(&program) {
            assert!(script.contains(&command), "{shell}: {command}");
        }
    }
}
