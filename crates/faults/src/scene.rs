//! The scenes: what is there before, the command that is made to fail, how it is repeated, and what is then true.
//!
//! A line is the arguments of one command, split at blanks; `'…'` holds a blank.

/// One command in one situation.
#[derive(Debug, Clone, Copy)]
pub struct Scene {
    /// Its name on the command line.
    pub name: &'static str,
    /// Commands that make the situation.
    pub before: &'static [&'static str],
    /// The command in which the fault happens.
    pub action: &'static str,
    /// Whether the scene ends with the last process of the program, and not with the command.
    pub follow: bool,
    /// What a user does after the fault before the command is repeated, if it cannot just be repeated.
    pub undo: &'static [&'static str],
    /// What the repeated command may say when the one that failed had done its work already.
    pub done_before: &'static str,
    /// What is true when the command has succeeded: a command and what it prints.
    pub claims: &'static [(&'static str, &'static str)],
    /// Commands that take the situation away. All containers are removed before them.
    pub after: &'static [&'static str],
}

const PLAIN: Scene = Scene {
    name: "",
    before: &[],
    action: "",
    follow: false,
    undo: &[],
    done_before: "",
    claims: &[],
    after: &[],
};

const RUNS: (&str, &str) = ("inspect -f {{.State.Status}} box", "running");
const IS_GONE: (&str, &str) = ("ps -aq --filter name=box", "");
const ANSWERS: (&str, &str) = ("exec box echo here", "here");

/// All scenes.
pub const SCENES: &[Scene] = &[
    Scene {
        name: "create",
        action: "create --name box -v /a -v data:/d -p 8080:80 tiny sleep 100",
        undo: &["rm -f -v box"],
        claims: &[("inspect -f {{.State.Status}} box", "created")],
        after: &["volume rm -f data"],
        ..PLAIN
    },
    Scene {
        name: "start",
        before: &["create --name box -v /a -p 8080:80 tiny sleep 100"],
        action: "start box",
        claims: &[RUNS, ANSWERS],
        ..PLAIN
    },
    Scene {
        name: "run",
        action: "run -d --name box -v /a -p 8080:80 tiny sleep 100",
        undo: &["rm -f -v box"],
        claims: &[RUNS, ANSWERS],
        ..PLAIN
    },
    Scene {
        name: "run-rm",
        action: "run --rm --name box -v /a -p 8080:80 tiny true",
        undo: &["rm -f -v box"],
        claims: &[IS_GONE],
        ..PLAIN
    },
    Scene {
        name: "run-short",
        action: "run -d --name box -v /a -p 8080:80 tiny true",
        follow: true,
        undo: &["rm -f -v box"],
        claims: &[("wait box", "0"), ("inspect -f {{.State.Status}} box", "exited")],
        ..PLAIN
    },
    Scene {
        name: "run-short-rm",
        action: "run -d --rm --name box -v /a -p 8080:80 tiny true",
        follow: true,
        undo: &["rm -f -v box"],
        claims: &[IS_GONE],
        ..PLAIN
    },
    Scene {
        name: "run-again",
        action: "run -d --restart on-failure:1 --name box tiny false",
        follow: true,
        undo: &["rm -f -v box"],
        claims: &[("inspect -f {{.State.Status}} box", "exited")],
        ..PLAIN
    },
    Scene {
        name: "run-health",
        action: "run -d --health-cmd true --health-interval 200ms --name box tiny sleep 100",
        undo: &["rm -f -v box"],
        claims: &[RUNS, ANSWERS],
        ..PLAIN
    },
    Scene {
        name: "cp-in",
        before: &["run -d --name box tiny sleep 100"],
        action: "cp @other.tar box:/tmp/file",
        claims: &[("exec box ls /tmp/file", "/tmp/file")],
        ..PLAIN
    },
    Scene {
        name: "cp-out",
        before: &["run --name box tiny true"],
        action: "cp box:/etc/passwd @out.tar",
        ..PLAIN
    },
    Scene {
        name: "exec",
        before: &["run -d --name box tiny sleep 100"],
        action: "exec box echo here",
        claims: &[RUNS, ANSWERS],
        ..PLAIN
    },
    Scene {
        name: "stop",
        before: &["run -d --name box -v /a -p 8080:80 tiny sleep 100"],
        action: "stop -t 0 box",
        claims: &[("inspect -f {{.State.Status}} box", "exited")],
        ..PLAIN
    },
    Scene {
        name: "restart",
        before: &["run -d --name box -p 8080:80 tiny sleep 100"],
        action: "restart -t 0 box",
        claims: &[RUNS, ANSWERS],
        ..PLAIN
    },
    Scene {
        name: "rm",
        before: &["run -d --name box -v /a -p 8080:80 tiny sleep 100"],
        action: "rm -f -v box",
        done_before: "No such container",
        claims: &[IS_GONE],
        ..PLAIN
    },
    Scene {
        name: "rm-stopped",
        before: &["run --name box -v /a tiny true"],
        action: "rm -v box",
        done_before: "No such container",
        claims: &[IS_GONE],
        ..PLAIN
    },
    Scene {
        name: "pause",
        before: &["run -d --name box tiny sleep 100"],
        action: "pause box",
        done_before: "already paused",
        claims: &[("inspect -f {{.State.Status}} box", "paused")],
        ..PLAIN
    },
    Scene {
        name: "unpause",
        before: &["run -d --name box tiny sleep 100", "pause box"],
        action: "unpause box",
        done_before: "is not paused",
        claims: &[RUNS, ANSWERS],
        ..PLAIN
    },
    Scene {
        name: "rename",
        before: &["run -d --name box tiny sleep 100"],
        action: "rename box new",
        done_before: "No such container: box",
        claims: &[("inspect -f {{.State.Status}} new", "running"), ("exec new echo here", "here")],
        ..PLAIN
    },
    Scene {
        name: "volume-create",
        action: "volume create --label a=b data",
        claims: &[("volume ls -q", "data"), ("run --rm -v data:/d tiny touch /d/f", "")],
        after: &["volume rm -f data"],
        ..PLAIN
    },
    Scene {
        name: "volume-rm",
        before: &["volume create data", "run --rm -v data:/d tiny touch /d/f"],
        action: "volume rm data",
        done_before: "No such volume",
        claims: &[("volume ls -q", "")],
        ..PLAIN
    },
    Scene {
        name: "network-create",
        action: "network create --ipv6 lan",
        done_before: "already exists",
        claims: &[
            ("network ls --filter type=custom --format {{.Name}}", "lan"),
            ("run --rm --network lan tiny true", ""),
        ],
        after: &["network rm -f lan"],
        ..PLAIN
    },
    Scene {
        name: "network-rm",
        before: &["network create lan", "run --rm --network lan tiny true"],
        action: "network rm lan",
        done_before: "network lan not found",
        claims: &[("network ls --filter type=custom --format {{.Name}}", "")],
        ..PLAIN
    },
    Scene {
        name: "network-run",
        before: &["network create red", "network create blue"],
        action: "run -d --name box --network red --network blue -p 8080:80 tiny sleep 100",
        undo: &["rm -f -v box"],
        claims: &[RUNS, ("exec box ls /sys/class/net", "eth0\neth1\nlo")],
        after: &["network rm red blue"],
        ..PLAIN
    },
    Scene {
        name: "network-connect",
        before: &["network create lan", "run -d --name box -p 8080:80 tiny sleep 100"],
        action: "network connect --gw-priority 1 lan box",
        done_before: "already exists",
        claims: &[RUNS, ("exec box ls /sys/class/net", "eth0\neth1\nlo")],
        after: &["network rm lan"],
        ..PLAIN
    },
    Scene {
        name: "network-disconnect",
        before: &[
            "network create lan",
            "run -d --name box -p 8080:80 --network lan --network bridge tiny sleep 100",
        ],
        action: "network disconnect lan box",
        done_before: "is not connected",
        claims: &[RUNS, ("exec box ls /sys/class/net", "eth1\nlo")],
        after: &["network rm lan"],
        ..PLAIN
    },
    Scene {
        name: "import",
        action: "import @other.tar other",
        claims: &[("run --rm --network none other echo here", "here")],
        // The repeated import takes the name from the first one's image.
        after: &["rmi -f other", "image prune -f"],
        ..PLAIN
    },
    Scene {
        name: "load",
        action: "load -i @saved.tar",
        claims: &[("run --rm --network none saved echo here", "here")],
        after: &["rmi -f saved"],
        ..PLAIN
    },
    Scene { name: "save", action: "save -o @out.tar tiny", ..PLAIN },
    Scene {
        name: "pull",
        action: "pull @registry/demo:1",
        claims: &[("run --rm --network none @registry/demo:1 echo here", "here")],
        after: &["rmi -f @registry/demo:1"],
        ..PLAIN
    },
    Scene {
        name: "tag",
        action: "tag tiny second",
        claims: &[("run --rm --network none second echo here", "here")],
        after: &["rmi second"],
        ..PLAIN
    },
    Scene {
        name: "image-rm",
        before: &["load -i @saved.tar"],
        action: "rmi saved",
        done_before: "No such image",
        claims: &[("images -q saved", "")],
        ..PLAIN
    },
    Scene {
        name: "system-prune",
        before: &[
            "import @other.tar other",
            "import --change 'CMD one' @other.tar other",
            "run --name box -v /a tiny true",
            "volume create",
        ],
        action: "system prune -f --volumes",
        claims: &[IS_GONE],
        after: &["rmi -f other"],
        ..PLAIN
    },
];

/// Returns the scene of that name.
pub fn find(name: &str) -> Option<&'static Scene> {
    SCENES.iter().find(|scene| scene.name == name)
}

/// Splits a line into words.
pub fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (at, part) in line.split('\'').enumerate() {
        match at % 2 {
            0 => words.extend(part.split_whitespace().map(str::to_owned)),
            _ => words.push(part.to_owned()),
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_split_at_blanks_outside_quotes() {
        assert_eq!(words("run tiny sh -c 'a b' c"), ["run", "tiny", "sh", "-c", "a b", "c"]);
    }

    #[test]
    fn names_of_scenes_differ() {
        for scene in SCENES {
            assert_eq!(SCENES.iter().filter(|other| other.name == scene.name).count(), 1, "{}", scene.name);
        }
    }
}
