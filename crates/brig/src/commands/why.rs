//! `brig why`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args as ClapArgs;
use engine::why::Answer;

use super::Entry;
use crate::cli::{Context, Run};
use crate::ui::Ui;
use crate::view::format;

pub(crate) const ENTRY: Entry = Entry {
    paths: &[&["why"]],
    usage: "[OPTIONS] OBJECT",
    about: "Say why something is not running, unhealthy, unreachable, restarting or in use",
    details: "OBJECT is a container, an image, a volume, a network, a port of this machine (8080, 53/udp), or the word disk.\n\
        The exit code is 1 when there is nothing of that name.",
    ..Entry::of::<Args>()
};

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// How to print: json, or a template
    #[arg(short, long, value_name = "string")]
    format: Option<String>,
    #[arg(required = true, value_name = "OBJECT")]
    object: String,
}

impl Run for Args {
    fn run(self, ui: &Ui, context: &Context) -> Result<ExitCode> {
        let printer = format::Stream::parse(self.format.as_deref())?;
        let answer = context.engine()?.why(&self.object)?;
        match printer {
            Some(printer) => ui.line(&printer.line(&answer)?)?,
            None => ui.print(&render(&answer))?,
        }
        Ok(ExitCode::from(u8::from(answer.kind == "nothing")))
    }
}

/// Renders an answer for people: the sentence, what it rests on, what to try.
fn render(answer: &Answer) -> String {
    let subject = match answer.kind {
        "nothing" | "disk" => answer.name.clone(),
        kind => format!("{kind} {}", answer.name),
    };
    let mut text = format!("{subject} is {}: {}\n", answer.state, answer.because);
    let width = answer.facts.iter().map(|fact| fact.what.chars().count()).max().unwrap_or(0);
    for fact in &answer.facts {
        for (index, line) in fact.value.lines().enumerate() {
            let what = if index == 0 { fact.what } else { "" };
            text += &format!("  {what:width$}  {line}\n");
        }
    }
    if !answer.next.is_empty() {
        text += "try\n";
        answer.next.iter().for_each(|command| text += &format!("  {command}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_a_sentence_with_its_grounds() {
        let answer = Answer {
            kind: "container",
            name: "web".into(),
            id: "0123".into(),
            state: "not running".into(),
            because: "its program ended with exit code 3".into(),
            facts: vec![
                engine::why::Fact { what: "exit code", value: "3".into() },
                engine::why::Fact { what: "words", value: "one\ntwo".into() },
            ],
            next: vec!["brig logs web".into()],
        };
        assert_eq!(
            render(&answer),
            "container web is not running: its program ended with exit code 3\n  exit code  3\n  words      one\n             two\ntry\n  brig logs web\n"
        );
    }
}
