//! The texts of the files: the machine's, with the container's figures in place of the machine's. Pure.

use super::group::Group;

/// Hundredths of a second, the unit of `/proc/stat`.
const TICKS: u64 = 100;

/// Renders `meminfo`. Lines that a group knows nothing of stay the machine's.
pub(super) fn meminfo(host: &str, group: &Group) -> String {
    let of_host = |name: &str| {
        let line = host.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) * 1024
    };
    let total = group.memory_limit.unwrap_or(u64::MAX).min(of_host("MemTotal"));
    let limited = total < of_host("MemTotal");
    let free = total.saturating_sub(group.memory_used);
    let stat = |name: &str| group.memory.get(name).copied().unwrap_or(0);
    let both = |kind: &str| (stat(&format!("active_{kind}")), stat(&format!("inactive_{kind}")));
    let ((active_anon, inactive_anon), (active_file, inactive_file)) = (both("anon"), both("file"));
    let reclaimable = active_file + inactive_file + stat("slab_reclaimable");
    let swap_total = group.swap_limit.unwrap_or(u64::MAX).min(of_host("SwapTotal"));
    let (free, available) = match limited {
        true => (free, (free + reclaimable).min(total)),
        // Without a limit others use the same memory.
        false => (of_host("MemFree"), of_host("MemAvailable")),
    };
    let mut text = String::new();
    for line in host.lines() {
        let Some((name, _)) = line.split_once(':') else { continue };
        let value = match name {
            "MemTotal" => total,
            "MemFree" => free,
            "MemAvailable" => available,
            "Buffers" | "SwapCached" if limited => 0,
            "Cached" if limited => stat("file"),
            "Active" if limited => active_anon + active_file,
            "Inactive" if limited => inactive_anon + inactive_file,
            "Active(anon)" if limited => active_anon,
            "Inactive(anon)" if limited => inactive_anon,
            "Active(file)" if limited => active_file,
            "Inactive(file)" if limited => inactive_file,
            "SwapTotal" => swap_total,
            "SwapFree" if group.swap_limit.is_some() => swap_total.saturating_sub(group.swap_used),
            "Dirty" if limited => stat("file_dirty"),
            "Writeback" if limited => stat("file_writeback"),
            "AnonPages" if limited => stat("anon"),
            "Mapped" if limited => stat("file_mapped"),
            "Shmem" if limited => stat("shmem"),
            "Slab" if limited => stat("slab"),
            "SReclaimable" | "KReclaimable" if limited => stat("slab_reclaimable"),
            "SUnreclaim" if limited => stat("slab_unreclaimable"),
            _ => {
                text.push_str(line);
                text.push('\n');
                continue;
            }
        };
        text.push_str(&format!("{:<15} {:>8} kB\n", format!("{name}:"), value / 1024));
    }
    text
}

/// Renders `swaps`: one line for all that the container may use.
pub(super) fn swaps(host: &str, group: &Group) -> String {
    let heading = host.lines().next().unwrap_or("Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority");
    let there = host
        .lines()
        .skip(1)
        .filter_map(|line| line.split_whitespace().nth(2)?.parse::<u64>().ok())
        .sum::<u64>();
    let Some(limit) = group.swap_limit else { return host.to_owned() };
    let size = (limit / 1024).min(there);
    match size {
        0 => format!("{heading}\n"),
        _ => format!("{heading}\nnone\t\t\t\t\tvirtual\t\t{size}\t\t{}\t\t0\n", group.swap_used / 1024),
    }
}

/// Renders `cpuinfo`: the processors that the container has, numbered from 0.
pub(super) fn cpuinfo(host: &str, processors: &[usize]) -> String {
    let mut text = String::new();
    let (processor, rest): (Vec<&str>, Vec<&str>) =
        host.split("\n\n").filter(|block| !block.trim().is_empty()).partition(|block| is_processor(block));
    for (number, cpu) in processors.iter().enumerate() {
        let Some(block) = processor.get(*cpu).or(processor.first()) else { continue };
        for line in block.lines() {
            match line.split_once(':') {
                Some((name, _)) if name.trim_end() == "processor" => {
                    text.push_str(&format!("{name}: {number}\n"))
                }
                _ => text.push_str(&format!("{line}\n")),
            }
        }
        text.push('\n');
    }
    // What some architectures say of the whole machine.
    for block in rest {
        text.push_str(&format!("{}\n\n", block.trim_end()));
    }
    text
}

fn is_processor(block: &str) -> bool {
    block.lines().any(|line| line.split(':').next().is_some_and(|name| name.trim_end() == "processor"))
}

/// Renders `online`: `0-1`.
pub(super) fn online(processors: &[usize]) -> String {
    match processors.len() {
        0 | 1 => "0\n".to_owned(),
        count => format!("0-{}\n", count - 1),
    }
}

/// Renders `uptime`: seconds since the start, and seconds in which a processor of the container's did nothing.
pub(super) fn uptime(millis: u64, processors: usize, group: &Group) -> String {
    let used = (group.cpu_used.0 + group.cpu_used.1) / 1000;
    let idle = (millis * processors as u64).saturating_sub(used);
    let show = |millis: u64| format!("{}.{:02}", millis / 1000, millis % 1000 / 10);
    format!("{} {}\n", show(millis), show(idle))
}

/// Renders `stat`: the processors' time is the container's, the rest the machine's but for interrupts, which are nobody's.
pub(super) fn stat(
    host: &str,
    millis: u64,
    processors: usize,
    group: &Group,
    tasks: (usize, usize),
) -> String {
    let ticks = |micros: u64| micros * TICKS / 1_000_000;
    let (user, system) = (ticks(group.cpu_used.0), ticks(group.cpu_used.1));
    let whole = millis * TICKS / 1000;
    let line = |name: &str, share: u64, count: u64| {
        let (user, system) = (user / share, system / share);
        let idle = (whole * count).saturating_sub(user + system);
        format!("{name} {user} 0 {system} {idle} 0 0 0 0 0 0\n")
    };
    let count = processors.max(1) as u64;
    let mut text = line("cpu ", 1, count);
    for number in 0..count {
        text.push_str(&line(&format!("cpu{number}"), count, 1));
    }
    let host_uptime = host.lines().filter(|line| !line.starts_with("cpu"));
    for line in host_uptime {
        match line.split(' ').next().unwrap_or_default() {
            "intr" => text.push_str("intr 0\n"),
            "softirq" => text.push_str("softirq 0 0 0 0 0 0 0 0 0 0 0\n"),
            "procs_running" => text.push_str(&format!("procs_running {}\n", tasks.1)),
            "procs_blocked" => text.push_str("procs_blocked 0\n"),
            _ => text.push_str(&format!("{line}\n")),
        }
    }
    text
}

/// The averages of how many processes run or wait for a disk, over 1, 5 and 15 minutes, as the kernel makes them.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Load([f64; 3]);

impl Load {
    /// Takes a sample of `busy` processes that stands for `seconds`.
    pub(super) fn sample(&mut self, busy: usize, seconds: f64) {
        for (average, minutes) in self.0.iter_mut().zip([1.0, 5.0, 15.0]) {
            let kept = (-seconds / (minutes * 60.0_f64)).exp();
            *average = *average * kept + busy as f64 * (1.0 - kept);
        }
    }

    /// Renders `loadavg`. The last number is that of the newest process, which is nobody's business here.
    pub(super) fn render(&self, tasks: (usize, usize)) -> String {
        let [one, five, fifteen] = self.0;
        format!("{one:.2} {five:.2} {fifteen:.2} {}/{} {}\n", tasks.1, tasks.0, tasks.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "MemTotal:        8000000 kB\nMemFree:         4000000 kB\nMemAvailable:    5000000 kB\n\
        Cached:          1000000 kB\nSwapTotal:        100000 kB\nSwapFree:          90000 kB\nHugepagesize:       2048 kB\n";

    #[test]
    fn memory_is_the_limit() {
        let memory = [("file", 2 << 20), ("active_file", 1 << 20), ("inactive_file", 1 << 20)];
        let group = Group {
            memory_limit: Some(64 << 20),
            memory_used: 10 << 20,
            swap_limit: Some(0),
            memory: memory.map(|(name, value)| (name.to_owned(), value)).into(),
            ..Group::default()
        };
        let expected = "MemTotal:          65536 kB\nMemFree:           55296 kB\nMemAvailable:      57344 kB\n\
            Cached:             2048 kB\nSwapTotal:             0 kB\nSwapFree:              0 kB\nHugepagesize:       2048 kB\n";
        assert_eq!(meminfo(HOST, &group), expected);
        assert_eq!(meminfo(HOST, &Group::default()), HOST, "without limits the machine's");
    }

    #[test]
    fn processors_are_counted_from_zero() {
        let host = "processor\t: 0\nmodel\t: a\n\nprocessor\t: 1\nmodel\t: b\n\n";
        assert_eq!(cpuinfo(host, &[1]), "processor\t: 0\nmodel\t: b\n\n");
        assert_eq!((online(&[3]), online(&[1, 2])), ("0\n".into(), "0-1\n".into()));
    }

    #[test]
    fn time_is_the_containers() {
        let group = Group { cpu_used: (1_000_000, 500_000), ..Group::default() };
        assert_eq!(uptime(10_000, 2, &group), "10.00 18.50\n");
        let text = stat("cpu  1 2\ncpu0 1\nintr 5 6\nbtime 7\nprocs_running 9\n", 10_000, 2, &group, (4, 1));
        assert_eq!(
            text,
            "cpu  100 0 50 1850 0 0 0 0 0 0\ncpu0 50 0 25 925 0 0 0 0 0 0\ncpu1 50 0 25 925 0 0 0 0 0 0\nintr 0\nbtime 7\nprocs_running 1\n"
        );
    }

    #[test]
    fn load_rises_to_what_runs() {
        let mut load = Load::default();
        (0..24).for_each(|_| load.sample(2, 5.0));
        assert_eq!(load.render((3, 2)), "1.73 0.66 0.25 2/3 3\n");
    }
}
