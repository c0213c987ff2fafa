//! The rows: what is measured, and the budgets that Brig has to keep.

use std::path::PathBuf;
use std::process::Child;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::arguments::Arguments;
use crate::engines::{self, Engine, Kind, image};
use crate::floor::Floor;
use crate::measure::{Line, ms, peak_kib};
use crate::report::{Budget, Row, Unit};
use crate::runtimes::{self, Runtime};
use crate::sandbox::{Place, sh};
use crate::{bundle, memory};

/// The images of the pull row; all but the first two stand on the second.
const SET: &[&str] = &["tiny", "debian", "python", "nginx", "postgres", "redis"];

/// Ends on SIGTERM at once.
const PATIENT: &str = "trap 'exit 0' TERM; while :; do sleep 1 & wait $!; done";

/// Everything that the rows work with.
pub(crate) struct Bench {
    pub(crate) engines: Vec<Engine>,
    pub(crate) runtimes: Vec<Runtime>,
    pub(crate) place_kind: String,
    floor: Floor,
    bundle: String,
    run: PathBuf,
    runs: usize,
    few: usize,
    many: usize,
    tiny: String,
    _registry: Child,
}

/// A function that measures one or more rows.
pub(crate) type Measure = fn(&mut Bench) -> Result<Vec<Row>>;

/// Every row by the name that `--rows` takes, in the order of the table.
pub(crate) const ROWS: &[(&str, Measure)] = &[
    ("run", run_rows),
    ("runtime", runtime_row),
    ("exec", exec_row),
    ("stop", stop_rows),
    ("many", many_rows),
    ("memory", memory_rows),
    ("pull", pull_rows),
    ("ps", ps_rows),
    ("logs", logs_rows),
];

/// What makes images of Debian's packages, and keeps them.
const IMAGES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/images.sh");

/// The images that the asked rows are measured on.
fn images(arguments: &Arguments) -> &'static [&'static str] {
    if arguments.wants("pull") { SET } else { &SET[..1] }
}

/// Makes the images that are not there yet.
pub(crate) fn make_images(arguments: &Arguments) -> Result<()> {
    sh(&format!("{IMAGES} make {}", images(arguments).join(" "))).map(|_| ())
}

impl Bench {
    /// Starts the registry and the engines and makes what the rows need.
    pub(crate) fn start(arguments: &Arguments, place: &Place) -> Result<Self> {
        let registry = engines::registry(place, images(arguments))?;
        let tar = sh(&format!("{IMAGES} rootfs tiny"))?;
        let bundle = bundle::prepare(place, &tar)?;
        let mut bench = Self {
            engines: engines::start_all(arguments, place)?,
            runtimes: runtimes::all(arguments, &bundle, &place.run),
            place_kind: place.kind.clone(),
            floor: Floor::prepare(place, &tar)?,
            bundle,
            run: place.run.clone(),
            runs: arguments.runs,
            few: arguments.few,
            many: arguments.many,
            tiny: image("tiny"),
            _registry: registry,
        };
        for engine in &mut bench.engines {
            engine.run(&["pull", &bench.tiny])?;
            engine.settle(&bench.tiny);
        }
        Ok(bench)
    }

    /// Measures `one` for each engine in turn, `runs` times after one that does not count.
    ///
    /// An engine that fails leaves the row with what it said.
    fn alternate(&self, name: &str, runs: usize, one: impl FnMut(&Engine, usize) -> Result<f64>) -> Row {
        self.engines.iter().for_each(Engine::clear);
        self.continue_row(Row::new(name, Unit::Milliseconds), runs, one)
    }

    /// The same with a row in which engines may have failed already, and with the containers that are there.
    fn continue_row(
        &self,
        mut row: Row,
        runs: usize,
        mut one: impl FnMut(&Engine, usize) -> Result<f64>,
    ) -> Row {
        for round in 0..=runs {
            for engine in &self.engines {
                if row.has_failed(&engine.name) {
                    continue;
                }
                match one(engine, round) {
                    Ok(value) if round > 0 => row.put(&engine.name, value),
                    Ok(_) => {}
                    Err(error) => row.fail(&engine.name, &format!("{error:#}")),
                }
            }
        }
        row
    }
}

fn run_rows(bench: &mut Bench) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for network in ["none", "host", "bridge"] {
        let name = format!("`run --rm` of `true`, network {network}");
        let line = |engine: &Engine| engine.line(&["run", "--rm", "--network", network, &bench.tiny, "true"]);
        let mut row = bench.alternate(&name, bench.runs, |engine, _| Ok(ms(line(engine).time()?)));
        for round in 0..=bench.runs {
            let value = bench.floor.run(network)?;
            if round > 0 {
                row.put("floor", value);
            }
        }
        rows.push(row.budget(Budget::times(1.0 / 15.0, "docker")).budget(Budget::times(3.0, "floor")));
    }
    Ok(rows)
}

fn runtime_row(bench: &mut Bench) -> Result<Vec<Row>> {
    let mut row = Row::new("bare `runtime run` of a bundle", Unit::Milliseconds);
    for round in 0..=bench.runs {
        for runtime in &bench.runtimes {
            if row.has_failed(&runtime.name) {
                continue;
            }
            match runtime.line(&bench.bundle, &bench.run, &format!("bench{round}")).time() {
                Ok(took) if round > 0 => row.put(&runtime.name, ms(took)),
                Ok(_) => {}
                Err(error) => row.fail(&runtime.name, &format!("{error:#}")),
            }
        }
    }
    let crun = bench.runtimes.iter().find(|runtime| runtime.name.starts_with("crun"));
    Ok(vec![row.budget(Budget::Times(1.0, crun.map_or("crun", |runtime| runtime.name.as_str()).to_owned()))])
}

fn exec_row(bench: &mut Bench) -> Result<Vec<Row>> {
    let row = bench.alternate("`exec` of `true`", bench.runs, |engine, round| {
        if round == 0 {
            engine.run(&["run", "-d", "--name", "box", &bench.tiny, "sleep", "100000"])?;
        }
        Ok(ms(engine.line(&["exec", "box", "true"]).time()?))
    });
    Ok(vec![row.budget(Budget::times(0.1, "docker"))])
}

fn stop_rows(bench: &mut Bench) -> Result<Vec<Row>> {
    let stop = bench.alternate("`stop` of a process that ends on SIGTERM", bench.runs, |engine, _| {
        engine.run(&["run", "-d", "--name", "box", &bench.tiny, "sh", "-c", PATIENT])?;
        // The shell must have set its trap.
        thread::sleep(Duration::from_millis(200));
        let took = engine.line(&["stop", "box"]).time();
        engine.run(&["rm", "-f", "box"])?;
        Ok(ms(took?))
    });
    let remove = bench.alternate("`rm -f` of a running container", bench.runs, |engine, _| {
        engine.run(&["run", "-d", "--name", "box", &bench.tiny, "sleep", "100000"])?;
        Ok(ms(engine.line(&["rm", "-f", "box"]).time()?))
    });
    let budget = Budget::times(0.1, "docker");
    Ok(vec![stop.budget(budget.clone()), remove.budget(budget)])
}

fn many_rows(bench: &mut Bench) -> Result<Vec<Row>> {
    let many = bench.many;
    let mut one_by_one =
        Row::new(&format!("{many} × `run -d` on the bridge, one by one"), Unit::Milliseconds);
    let mut removal = Row::new(&format!("`rm -f` of the {many}, one command"), Unit::Milliseconds);
    let mut at_a_time =
        Row::new(&format!("{many} × `run -d` on the bridge, 8 at a time"), Unit::Milliseconds);
    for engine in &bench.engines {
        let outcome = (|| {
            one_by_one.put(&engine.name, ms(start_in_turn(engine, &bench.tiny, many)?));
            removal.put(&engine.name, ms(remove_all(engine, many)?));
            at_a_time.put(&engine.name, ms(start_at_once(engine, &bench.tiny, many)?));
            removal.put(&engine.name, ms(remove_all(engine, many)?));
            Ok::<_, anyhow::Error>(())
        })();
        if let Err(error) = outcome {
            at_a_time.fail(&engine.name, &format!("{error:#}"));
        }
        engine.clear();
    }
    let budget = Budget::times(1.0 / 8.0, "docker");
    Ok([one_by_one, at_a_time, removal].map(|row| row.budget(budget.clone())).to_vec())
}

fn start(engine: &Engine, image: &str, number: usize) -> Line {
    engine.line(&["run", "-d", "--name", &format!("m{number}"), image, "sleep", "100000"])
}

fn start_in_turn(engine: &Engine, image: &str, many: usize) -> Result<Duration> {
    let begin = Instant::now();
    for number in 0..many {
        start(engine, image, number).run()?;
    }
    Ok(begin.elapsed())
}

fn start_at_once(engine: &Engine, image: &str, many: usize) -> Result<Duration> {
    let begin = Instant::now();
    let results: Vec<Result<()>> = thread::scope(|scope| {
        let lane = |lane: usize| {
            move || (lane..many).step_by(8).try_for_each(|number| start(engine, image, number).run())
        };
        let lanes: Vec<_> = (0..8).map(|number| scope.spawn(lane(number))).collect();
        lanes.into_iter().map(|lane| lane.join().unwrap_or(Ok(()))).collect()
    });
    results.into_iter().collect::<Result<Vec<()>>>()?;
    Ok(begin.elapsed())
}

fn remove_all(engine: &Engine, many: usize) -> Result<Duration> {
    let names: Vec<String> = (0..many).map(|number| format!("m{number}")).collect();
    let words: Vec<&str> = ["rm", "-f"].into_iter().chain(names.iter().map(String::as_str)).collect();
    engine.line(&words).time()
}

fn memory_rows(bench: &mut Bench) -> Result<Vec<Row>> {
    const COUNT: usize = 20;
    let mut each = Row::new("memory per idle container, of all but its own process (PSS)", Unit::Kibibytes);
    let mut resident = Row::new("resident when no container runs (PSS)", Unit::Kibibytes);
    for engine in &bench.engines {
        engine.clear();
        let outcome = measure_memory(engine, &bench.tiny, COUNT);
        engine.clear();
        match outcome {
            Ok((before, after)) => {
                resident.put(&engine.name, before);
                each.put(&engine.name, after);
            }
            Err(error) => each.fail(&engine.name, &format!("{error:#}")),
        }
    }
    Ok(vec![each.budget(Budget::AtMost(300.0)), resident.budget(Budget::AtMost(0.0))])
}

/// Returns what is resident without a container, and what each of `count` containers adds, in KiB.
fn measure_memory(engine: &Engine, image: &str, count: usize) -> Result<(f64, f64)> {
    engine.run(&["run", "--rm", image, "true"])?;
    thread::sleep(Duration::from_secs(1));
    let before = memory::engines();
    start_in_turn(engine, image, count)?;
    thread::sleep(Duration::from_secs(2));
    let growth: i64 = memory::growth(&before, &memory::engines()).values().sum();
    Ok((daemons(engine, &before), growth as f64 / count as f64))
}

/// The memory of the processes that belong to `engine` and to no container.
fn daemons(engine: &Engine, all: &memory::ByName) -> f64 {
    let names: &[&str] = match engine.kind {
        Kind::Brig => &["brig"],
        Kind::Docker => &["dockerd", "containerd"],
        Kind::Podman => &["podman", "conmon"],
    };
    names.iter().filter_map(|name| all.get(*name)).sum::<u64>() as f64
}

fn pull_rows(bench: &mut Bench) -> Result<Vec<Row>> {
    let mut time = Row::new("pull of six related images into an empty store", Unit::Milliseconds);
    let mut peak = Row::new("its peak of resident memory", Unit::Mebibytes);
    let set: Vec<String> = SET.iter().map(|name| image(name)).collect();
    for _ in 0..bench.few {
        for engine in &bench.engines {
            engine.clear();
            empty(engine);
            let (mut took, mut most) = (Duration::ZERO, 0);
            for name in &set {
                let (one, resident) = engine.line(&["pull", name]).time_and_peak()?;
                took += one;
                most = most.max(resident);
            }
            let daemon = engine.daemon_pid().and_then(peak_kib).unwrap_or(0);
            time.put(&engine.name, ms(took));
            peak.put(&engine.name, (most + daemon) as f64 / 1024.0);
        }
    }
    Ok(vec![time.budget(Budget::TimesFastestPeer(0.5)), peak.budget(Budget::AtMost(64.0))])
}

/// Empties the engine's store of images.
fn empty(engine: &Engine) {
    let ids = engine.line(&["images", "-q"]).output().unwrap_or_default();
    let mut ids: Vec<&str> = ids.split_whitespace().collect();
    ids.sort_unstable();
    ids.dedup();
    if !ids.is_empty() {
        engine.try_run(&[&["rmi", "-f"], ids.as_slice()].concat());
    }
}

fn ps_rows(bench: &mut Bench) -> Result<Vec<Row>> {
    const COUNT: usize = 1000;
    bench.engines.iter().for_each(Engine::clear);
    for engine in &bench.engines {
        // The pull rows emptied the stores.
        engine.run(&["pull", &bench.tiny])?;
    }
    let none = bench.alternate("`ps`, no container", bench.runs, |engine, _| {
        Ok(ms(engine.line(&["ps", "-a"]).time()?))
    });
    let brig = bench.engines.iter().find(|engine| engine.kind == Kind::Brig).context("brig is measured")?;
    for _ in 0..COUNT {
        brig.run(&["create", &bench.tiny])?;
    }
    let mut full = Row::new("`ps -a`, 1,000 containers", Unit::Milliseconds);
    for _ in 0..bench.runs {
        full.put(&brig.name, ms(brig.line(&["ps", "-a"]).time()?));
    }
    brig.clear();
    Ok(vec![none, full.budget(Budget::AtMost(50.0))])
}

fn logs_rows(bench: &mut Bench) -> Result<Vec<Row>> {
    let program =
        "BEGIN{for(i=0;i<1000000;i++) print \"line \" i \" of a log with a text of ordinary length in it\"}";
    let written =
        bench.alternate("1,000,000 log lines written (`run -d`, `wait`)", bench.few, |engine, _| {
            engine.try_run(&["rm", "-f", "talker"]);
            let start = Instant::now();
            // Brig alone has a budget for logs by default; all of them keep all lines here.
            let budget: &[&str] = if engine.kind == Kind::Brig { &["--log-opt", "max-size=1g"] } else { &[] };
            engine.run(
                &[&["run", "-d", "--name", "talker"], budget, &[&bench.tiny, "awk", program]].concat(),
            )?;
            engine.run(&["wait", "talker"])?;
            Ok(ms(start.elapsed()))
        });
    let mut read = Row::new("1,000,000 log lines read back (`logs`)", Unit::Milliseconds);
    written.failed().for_each(|(name, why)| read.fail(name, why));
    let read =
        bench.continue_row(read, bench.few, |engine, _| Ok(ms(engine.line(&["logs", "talker"]).time()?)));
    for engine in bench.engines.iter().filter(|engine| !read.has_failed(&engine.name)) {
        let lines = engine.line(&["logs", "talker"]).output()?.lines().count();
        if lines != 1_000_000 {
            eprintln!("   {} kept {lines} lines only", engine.name);
        }
        engine.try_run(&["rm", "-f", "talker"]);
    }
    let budget = Budget::times(1.0, "podman");
    Ok(vec![written.budget(budget.clone()), read.budget(budget)])
}
