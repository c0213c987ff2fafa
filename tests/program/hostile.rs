//! Images whose makers mean harm, or merely differ: the machine stays whole, and the error says what is wrong.

use testkit::World;

/// What the images try to reach; they know its path.
struct Canary {
    folder: std::path::PathBuf,
}

impl Canary {
    fn new(world: &World) -> Self {
        let folder = world.path("canary");
        std::fs::create_dir_all(folder.join("dir")).expect("make a folder");
        std::fs::write(folder.join("file"), "untouched").expect("write");
        Self { folder }
    }

    #[track_caller]
    fn is_untouched(&self, why: &str) {
        assert_eq!(std::fs::read_to_string(self.folder.join("file")).expect("read"), "untouched", "{why}");
        let within = std::fs::read_dir(self.folder.join("dir")).expect("list").count();
        assert_eq!(within, 0, "{why}: something was made in the host's folder");
        assert_eq!(std::fs::read_dir(&self.folder).expect("list").count(), 2, "{why}");
    }
}

/// Makes the image `evil` of the tiny one, changed by a shell script that runs in its root folder.
#[track_caller]
fn image(world: &World, script: &str, changes: &[&str]) {
    world
        .sh(&format!(
            "rm -rf evil evil.tar; mkdir evil; cd evil; tar xf ../tiny.tar; {script}\ncd ..; tar cSf evil.tar evil --transform 's,^evil,.,S'"
        ))
        .ok();
    let archive = world.path("evil.tar").to_string_lossy().into_owned();
    let changes = changes.iter().flat_map(|change| ["--change", change]);
    world.brig(["import"].into_iter().chain(changes).chain([archive.as_str(), "evil"])).ok();
}

#[test]
fn root_account_files_that_are_none() {
    let Some(world) = World::root() else { return };
    let canary = Canary::new(&world);
    let file = canary.folder.join("file").display().to_string();
    for name in ["passwd", "group"] {
        let path = format!("/etc/{name}");
        image(&world, &format!("rm -f .{path}; mkfifo .{path}"), &[]);
        world.brig(["run", "--rm", "evil", "true"]).refuses(125, &[&path, "plain file"]);
        image(&world, &format!("rm -f .{path}; truncate -s 10G .{path}"), &[]);
        world.brig(["run", "--rm", "evil", "true"]).refuses(125, &[&path, "larger"]);
        image(&world, &format!("rm -f .{path}; ln -s {file} .{path}"), &[]);
        world.brig(["run", "--rm", "-u", "0:0", "evil", "true"]).ok();
    }
    // A number is a number, whatever a line of that name says.
    image(&world, "echo '1000:x:0:0::/:/bin/sh' >> etc/passwd", &["USER 1000"]);
    assert_eq!(world.brig(["run", "--rm", "evil", "id", "-u"]).ok(), "1000");
    world.brig(["run", "--rm", "-u", "4294967295", "evil", "true"]).refuses(125, &["4294967295"]);
    world.brig(["run", "--rm", "-u", "-1", "evil", "true"]).refuses(125, &["-1"]);
    canary.is_untouched("accounts");
}

#[test]
fn root_links_where_the_engine_mounts() {
    let Some(world) = World::root() else { return };
    let canary = Canary::new(&world);
    let folder = canary.folder.display().to_string();
    for name in ["resolv.conf", "hosts", "hostname", "mtab"] {
        image(&world, &format!("ln -sf {folder}/file etc/{name}"), &[]);
        world.brig(["run", "--rm", "evil", "sh", "-c", &format!("echo x > /etc/{name} || true")]).exits(0);
        canary.is_untouched(name);
    }
    // What systems with a local resolver have.
    image(&world, "ln -sf ../run/systemd/resolve/stub-resolv.conf etc/resolv.conf", &[]);
    world.brig(["run", "--rm", "--dns", "192.0.2.53", "evil", "grep", "192.0.2.53", "/etc/resolv.conf"]).ok();
    for name in ["etc", "dev", "var"] {
        image(&world, &format!("rm -rf ./{name}; ln -s {folder}/dir {name}"), &["VOLUME /var"]);
        world.brig(["run", "--rm", "-v", "/var/deep", "evil", "sh", "-c", "echo x > /var/x"]).exits(0);
        canary.is_untouched(name);
    }
    for name in ["proc", "sys"] {
        image(&world, &format!("rm -rf ./{name}; ln -s {folder}/dir {name}"), &[]);
        world.brig(["run", "--rm", "evil", "true"]).refuses(125, &[&format!("/{name}"), "no link"]);
        canary.is_untouched(name);
    }
    image(&world, "rm -rf dev; mkdir dev; mknod dev/null b 7 0; mknod dev/disk b 254 0", &[]);
    assert_eq!(
        world
            .brig(["run", "--rm", "evil", "sh", "-c", "[ -e /dev/disk ] || [ ! -c /dev/null ]; echo $?"])
            .ok(),
        "1"
    );
}

#[test]
fn root_configurations_that_lead_out() {
    let Some(world) = World::root() else { return };
    let canary = Canary::new(&world);
    let folder = canary.folder.display().to_string();
    for number in 3..20 {
        image(&world, "", &[&format!("WORKDIR /proc/self/fd/{number}")]);
        let done = world.brig(["run", "--rm", "evil", "cat", &format!("../../../../../../..{folder}/file")]);
        assert_ne!(done.code, 0, "{done:?}");
        assert!(!done.stdout.contains("untouched"), "{done:?}");
    }
    image(&world, "", &[&format!("VOLUME /../../../../..{folder}/dir")]);
    world.brig(["run", "--rm", "evil", "sh", "-c", &format!("echo x > {folder}/dir/x")]).ok();
    canary.is_untouched("VOLUME");
    let program = std::fs::read(world.program()).expect("read the program");
    for (script, entry) in [
        ("printf '#!/proc/self/exe\\n' > entry; chmod +x entry", "/entry"),
        ("ln -s /proc/self/exe entry", "/entry"),
        ("", "/proc/self/exe"),
        ("", "/proc/1/exe"),
        ("", "/proc/self/fd/4"),
    ] {
        image(&world, script, &[&format!("ENTRYPOINT [\"{entry}\"]")]);
        // What an entry point like these finds is the static program itself, on a mount that nobody can write, as the
        // container's user: it may refuse its arguments there, and can do nothing more.
        let done = world.brig(["run", "--rm", "evil", "version"]);
        let refused = matches!(done.code, 126 | 127) || done.stderr.contains("unknown command");
        assert!(refused && done.code != 0, "{entry}: {done:?}");
        assert_eq!(done.stdout, "", "{entry}");
        let script = format!("for exe in /proc/[0-9]*/exe {entry}; do echo overwritten > $exe; done; exit 5");
        world.brig(["run", "--rm", "--entrypoint", "/bin/sh", "evil", "-c", &script]).exits(5);
        assert!(
            std::fs::read(world.program()).expect("read the program") == program,
            "{entry}: the program was changed"
        );
    }
    // An image cannot make a container that no stop ends.
    image(&world, "", &["STOPSIGNAL 999"]);
    world.brig(["run", "-d", "--init", "--name", "box", "evil", "sleep", "100"]).ok();
    world.brig(["stop", "-t", "5", "box"]).ok();
    assert_eq!(world.inspect("box", "{{.State.ExitCode}}"), "143");
}
