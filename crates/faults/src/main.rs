//! `cargo xtask faults`: plays the scenes and keeps a log, a line for each point; the last line counts.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Mutex;

use anyhow::{Context as _, Result, bail};
use faults::scene::{self, SCENES, Scene};
use faults::stage::{self, Stage};
use faults::tracer::{Mode, Point};
use faults::{Verdict, point};

const USAGE: &str = "\
usage: cargo xtask faults [OPTIONS]

  --scene NAME     this scene only; may be given several times (--list names all)
  --point ROLE:N   this point only, as the log names it
  --mode MODE      this mode only: kill, kill-all, error (all errors) or error-NUMBER
  --every N        each N-th fault only
  --from N         beginning with the N-th
  --all            also points that do the same as the one before them
  --jobs N         so many at the same time (2)
  --log FILE       where the log goes (target/faults/log.txt)
  --list           name the scenes
  --points         count the points and name them, play nothing";

#[derive(Debug, Clone, Default)]
struct Options {
    scenes: Vec<&'static Scene>,
    point: Option<(String, usize)>,
    mode: Option<String>,
    every: usize,
    from: usize,
    all: bool,
    jobs: usize,
    log: PathBuf,
    points: bool,
    /// Which part of the faults a worker plays: `(part, of)`.
    part: Option<(usize, usize)>,
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match begin(&args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("faults: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn begin(args: &[String]) -> Result<bool> {
    match args {
        [word, path] if word == "--serve" => return stage::serve(path).map(|()| true),
        [word] if word == "--list" => {
            SCENES.iter().for_each(|scene| println!("{:16} {}", scene.name, scene.action));
            return Ok(true);
        }
        _ => {}
    }
    let options = parse(args)?;
    match options.part {
        Some((part, of)) => work(&options, part, of),
        None if options.points => name_points(&options),
        None => direct(&options, args),
    }
}

fn parse(args: &[String]) -> Result<Options> {
    let mut options =
        Options { every: 1, jobs: 2, log: "target/faults/log.txt".into(), ..Options::default() };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let mut value = || args.next().with_context(|| format!("{arg} wants a value\n{USAGE}"));
        match arg.as_str() {
            "--scene" => {
                let name = value()?;
                options
                    .scenes
                    .push(scene::find(name).with_context(|| format!("there is no scene {name:?}"))?);
            }
            "--point" => {
                let (role, number) = value()?.rsplit_once(':').context("a point is ROLE:NUMBER")?;
                options.point = Some((role.to_owned(), number.parse()?));
            }
            "--mode" => options.mode = Some(value()?.clone()),
            "--every" => options.every = value()?.parse::<usize>()?.max(1),
            "--from" => options.from = value()?.parse()?,
            "--jobs" => options.jobs = value()?.parse::<usize>()?.max(1),
            "--log" => options.log = value()?.into(),
            "--all" => options.all = true,
            "--points" => options.points = true,
            "--part" => {
                let (part, of) = value()?.split_once('/').context("a part is N/M")?;
                options.part = Some((part.parse()?, of.parse()?));
            }
            _ => bail!("{arg:?} is not known\n{USAGE}"),
        }
    }
    if options.scenes.is_empty() {
        options.scenes = SCENES.iter().collect();
    }
    Ok(options)
}

/// Starts the workers and writes down what they say.
fn direct(options: &Options, args: &[String]) -> Result<bool> {
    if let Some(folder) = options.log.parent() {
        fs::create_dir_all(folder)?;
    }
    let log =
        Mutex::new(File::create(&options.log).with_context(|| format!("cannot write {:?}", options.log))?);
    let counts = Mutex::new(BTreeMap::<String, usize>::new());
    let mut workers = Vec::new();
    for part in 0..options.jobs {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(args).args(["--part", &format!("{part}/{}", options.jobs)]).stdout(Stdio::piped());
        workers.push(command.spawn().context("cannot start a worker")?);
    }
    let mut done = true;
    std::thread::scope(|scope| {
        for worker in &mut workers {
            let Some(output) = worker.stdout.take() else { continue };
            scope.spawn(|| {
                for line in BufReader::new(output).lines().map_while(|line| line.ok()) {
                    note(&line, &log, &counts);
                }
            });
        }
    });
    for worker in &mut workers {
        // 0 and 1 are verdicts; anything else is a worker that did not come to its end.
        done &= matches!(worker.wait()?.code(), Some(0 | 1));
    }
    let counts = counts.into_inner().unwrap_or_default();
    let count = |verdict: Verdict| counts.get(verdict.word()).copied().unwrap_or(0);
    let played = count(Verdict::Held) + count(Verdict::Swept) + count(Verdict::Broken);
    let line = format!(
        "{played} points played: {} held, {} held after a prune, {} broken; {} not met again",
        count(Verdict::Held),
        count(Verdict::Swept),
        count(Verdict::Broken),
        count(Verdict::Missed)
    );
    println!("{line}");
    if let Ok(mut log) = log.into_inner() {
        writeln!(log, "{line}")?;
    }
    Ok(done && played > 0 && count(Verdict::Broken) == 0)
}

/// Writes a worker's line down; only what is not as it should be is shown.
fn note(line: &str, log: &Mutex<File>, counts: &Mutex<BTreeMap<String, usize>>) {
    let words = [Verdict::Held, Verdict::Swept, Verdict::Missed, Verdict::Broken];
    let Some((word, text)) = line.split_once('\t') else { return println!("{line}") };
    if let Ok(mut log) = log.lock() {
        // A log that cannot be written is noticed at its end.
        let _ = writeln!(log, "{text}");
    }
    if words.iter().any(|verdict| verdict.word() == word)
        && let Ok(mut counts) = counts.lock()
    {
        *counts.entry(word.to_owned()).or_default() += 1;
    }
    if word == Verdict::Broken.word() {
        println!("{text}");
    }
}

/// Plays one part of the faults; each line says the verdict, a tab, and the line of the log.
fn work(options: &Options, part: usize, of: usize) -> Result<bool> {
    let mut held = true;
    let mut current: Option<Stage> = None;
    for scene in &options.scenes {
        let Some(mut stage) = current.take().map_or_else(fresh_stage, |stage| Ok(Some(stage)))? else {
            return Ok(true);
        };
        let points = match point::count(&mut stage, scene) {
            Ok(points) => points,
            Err(error) => {
                println!("{}\t{} {error:#}", Verdict::Broken.word(), scene.name);
                held = false;
                abandon(stage);
                continue;
            }
        };
        let mut stage = Some(stage);
        let chosen = choose(options, points);
        for (_, (point, mode)) in chosen.into_iter().enumerate().filter(|(at, _)| at % of == part) {
            let set = match stage.take() {
                Some(set) => set,
                None => {
                    let Some(mut fresh) = fresh_stage()? else { return Ok(true) };
                    point::count(&mut fresh, scene)?;
                    fresh
                }
            };
            let (verdict, line) = faults::play(&set, scene, &point, mode);
            println!("{}\t{line}", verdict.word());
            if verdict == Verdict::Broken {
                held = false;
                abandon(set);
            } else {
                stage = Some(set);
            }
        }
        current = stage;
    }
    Ok(held)
}

fn fresh_stage() -> Result<Option<Stage>> {
    Stage::new(&std::env::current_exe()?)
}

/// Gives a world up in which something is wrong: its own look at what was left would end the program.
fn abandon(stage: Stage) {
    let dropped = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(stage)));
    // What it found is what the log tells already.
    drop(dropped);
}

fn choose(options: &Options, points: Vec<Point>) -> Vec<(Point, Mode)> {
    let points = if options.all || options.point.is_some() { points } else { faults::distinct(points) };
    let wanted = |point: &Point| {
        options.point.as_ref().is_none_or(|(role, number)| *role == point.role && *number == point.number)
    };
    let points: Vec<Point> = points.into_iter().filter(|point| wanted(point)).collect();
    let is_mode = |mode: &Mode| match options.mode.as_deref() {
        None => true,
        Some("error") => matches!(mode, Mode::Error(_)),
        Some(text) => mode.to_string() == text,
    };
    let faults = faults::faults(&points).into_iter().filter(|(_, mode)| is_mode(mode));
    faults.skip(options.from).step_by(options.every).collect()
}

fn name_points(options: &Options) -> Result<bool> {
    let Some(mut stage) = fresh_stage()? else { return Ok(true) };
    let (mut points, mut faults) = (0, 0);
    for scene in &options.scenes {
        for (point, mode) in choose(options, point::count(&mut stage, scene)?) {
            points += usize::from(mode == Mode::Kill);
            faults += 1;
            if mode == Mode::Kill {
                println!("{} {point}", scene.name);
            }
        }
    }
    println!("{points} points, {faults} faults");
    Ok(true)
}
