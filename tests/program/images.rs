//! Images: import, list, tag, save, load, history, inspect, rmi, and pull from a registry on loopback.

use testkit::World;

#[test]
fn root_list_tag_and_remove() {
    let Some(world) = World::root() else { return };
    assert_eq!(world.brig(["images", "--format", "{{.Repository}}:{{.Tag}}"]).ok(), "tiny:latest");
    world.brig(["tag", "tiny", "other:v1"]).ok();
    assert_eq!(world.brig(["images", "-q"]).ok().lines().count(), 2);
    assert_eq!(world.brig(["images", "-q", "--no-trunc"]).ok().lines().next().map(str::len), Some(71));
    assert!(world.brig(["rmi", "other:v1"]).ok().contains("Untagged: other:v1"));
    world.brig(["create", "--name", "box", "tiny"]).ok();
    world.brig(["rmi", "tiny"]).refuses(1, &["tiny", "container"]);
    world.brig(["rm", "box"]).ok();
    assert!(world.brig(["rmi", "tiny"]).ok().contains("Deleted: sha256:"));
    assert_eq!(world.brig(["images", "-q"]).ok(), "");
    world.brig(["rmi", "tiny"]).refuses(1, &["tiny"]);
    world.brig(["tag", "tiny", "x"]).refuses(1, &["tiny"]);
}

#[test]
fn root_nothing_of_a_removed_image_stays_on_disk() {
    let Some(world) = World::root() else { return };
    world.brig(["rmi", "tiny"]).ok();
    for folder in ["layers", "content/blobs/sha256"] {
        let entries = std::fs::read_dir(world.data_root().join(folder)).expect("list the folder");
        let names =
            entries.map(|entry| entry.expect("read the folder").file_name().to_string_lossy().into_owned());
        let left: Vec<String> = names.filter(|name| !name.starts_with('.')).collect();
        assert!(left.is_empty(), "{folder}: {left:?}");
    }
}

#[test]
fn root_bad_references_are_refused() {
    let Some(world) = World::root() else { return };
    for name in ["UPPER", "a:b:c", "a//b", "x@sha256:12"] {
        world.brig(["tag", "tiny", name]).exits(1);
        world.brig(["run", "--rm", "--pull", "never", name, "true"]).exits(125);
    }
}

#[test]
fn root_save_and_load() {
    let Some(world) = World::root() else { return };
    let file = world.path("saved.tar").to_string_lossy().into_owned();
    world.brig(["tag", "tiny", "second:v2"]).ok();
    let id = world.inspect("tiny", "{{.Id}}");
    world.brig(["save", "-o", &file, "tiny", "second:v2"]).ok();
    world.brig(["rmi", "tiny", "second:v2"]).ok();
    let said = world.brig(["load", "-i", &file]).ok();
    assert!(said.contains("Loaded image: tiny:latest") && said.contains("Loaded image: second:v2"), "{said}");
    assert_eq!(world.inspect("tiny", "{{.Id}}"), id);
    assert_eq!(world.brig(["run", "--rm", "second:v2", "echo", "again"]).ok(), "again");
    std::fs::write(&file, b"this is no archive").expect("write");
    world.brig(["load", "-i", &file]).exits(1);
    world.brig(["load", "-i", "/no/such/file"]).refuses(1, &["/no/such/file"]);
}

#[test]
fn root_save_to_a_pipe_and_load_from_it() {
    let Some(world) = World::root() else { return };
    let line = format!("{0} save tiny | {0} load", world.program().display());
    assert!(world.sh(&line).ok().contains("Loaded image: tiny:latest"));
}

#[test]
fn root_import_changes_and_history() {
    let Some(world) = World::root() else { return };
    let tar = world.path("tiny.tar").to_string_lossy().into_owned();
    let id = world
        .brig([
            "import",
            "-m",
            "a message",
            "-c",
            "ENV A=b",
            "-c",
            "EXPOSE 80",
            "-c",
            "LABEL x=y",
            "-c",
            "USER 1000",
            &tar,
            "i:1",
        ])
        .ok();
    assert!(id.starts_with("sha256:") && id.len() == 71, "{id}");
    assert_eq!(world.inspect("i:1", "{{.Config.User}} {{.Config.Labels.x}}"), "1000 y");
    assert!(world.brig(["history", "i:1"]).ok().contains("a message"));
    assert_eq!(world.brig(["run", "--rm", "i:1", "sh", "-c", "echo $A; id -u"]).ok(), "b\n1000");
    world.brig(["import", "-c", "RUN true", &tar, "bad"]).refuses(1, &["RUN"]);
    let input = std::fs::read(world.path("tiny.tar")).expect("read");
    assert!(world.brig_with_input(["import", "-", "piped"], &input).ok().starts_with("sha256:"));
}

#[test]
fn root_a_hostile_archive_writes_nothing_outside() {
    let Some(world) = World::root() else { return };
    let script = "mkdir t && cd t && echo bad > f && tar cPf ../up.tar --transform 's,^f,../../../../../../../../tmp/brig-escaped,' f &&
        ln -s /tmp l && tar cf ../link.tar l && rm l && mkdir l && echo bad > l/brig-escaped && tar rf ../link.tar l/brig-escaped";
    world.sh(script).ok();
    for archive in ["up.tar", "link.tar"] {
        let done = world.brig(["import", &world.path(archive).to_string_lossy(), "hostile"]);
        assert!(!std::path::Path::new("/tmp/brig-escaped").exists(), "{done:?}");
    }
}

#[test]
fn root_disk_use_and_prune() {
    let Some(world) = World::root() else { return };
    let table = world.brig(["system", "df"]).ok();
    for word in ["TYPE", "Images", "Containers", "Local Volumes"] {
        assert!(table.contains(word), "{table}");
    }
    world.brig(["create", "tiny"]).ok();
    world.brig(["system", "prune", "-f"]).ok();
    assert_eq!(world.brig(["ps", "-aq"]).ok(), "");
    assert_eq!(world.brig(["images", "-q"]).ok().lines().count(), 1);
    world.brig(["system", "prune", "-f", "-a"]).ok();
    assert_eq!(world.brig(["images", "-q"]).ok(), "");
}

/// A registry of Debian's, on loopback inside the world, filled by a program that is not ours.
#[test]
fn peer_pull_from_a_real_registry() {
    let Some(world) = World::root() else { return };
    if !testkit::needs::programs(&["docker-registry", "curl"]) {
        return;
    }
    let config = world.path("registry.yml");
    let store = world.path("registry");
    let text = format!(
        "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: \"127.0.0.1:5000\"}}\n",
        store.display()
    );
    std::fs::write(&config, text).expect("write");
    let mut registry =
        world.command("docker-registry").arg("serve").arg(&config).spawn().expect("start the registry");
    testkit::eventually("the registry answers", || world.sh("curl -fsS http://127.0.0.1:5000/v2/").code == 0);
    push_tiny(&world);
    let said = pull(&world);
    assert!(said.contains("Status: Downloaded newer image for 127.0.0.1:5000/some/image:1"), "{said}");
    assert_eq!(world.brig(["run", "--rm", "127.0.0.1:5000/some/image:1", "echo", "pulled"]).ok(), "pulled");
    let said = pull(&world);
    assert!(said.contains("Status: Image is up to date"), "{said}");
    world.brig(["pull", "127.0.0.1:5000/some/image:2"]).refuses(1, &["some/image:2"]);
    world.brig(["pull", "127.0.0.1:1/nobody:1"]).refuses(1, &["127.0.0.1:1"]);
    world.sh("kill $(busybox pidof docker-registry)").exits(0);
    registry.wait().expect("the registry ends");
}

/// Pulls the image and returns what was said: the name on standard output, the progress beside it.
fn pull(world: &World) -> String {
    let done = world.brig(["pull", "127.0.0.1:5000/some/image:1"]);
    assert_eq!(done.ok().lines().last(), Some("127.0.0.1:5000/some/image:1"));
    done.stdout + &done.stderr
}

/// Pushes the tiny root file system as an image by plain HTTP.
fn push_tiny(world: &World) {
    let script = r#"
        base=http://127.0.0.1:5000/v2/some/image
        put() { # FILE -> digest
            d=sha256:$(sha256sum "$1" | cut -d' ' -f1)
            at=$(curl -fsS -X POST -D - -o /dev/null $base/blobs/uploads/ | tr -d '\r' | sed -n 's/^[Ll]ocation: //p')
            curl -fsS -X PUT -H 'Content-Type: application/octet-stream' --data-binary @"$1" "$at&digest=$d"
            echo $d
        }
        gzip -kf tiny.tar
        diff=$(sha256sum tiny.tar | cut -d' ' -f1)
        printf '{"architecture":"%s","os":"linux","config":{"Cmd":["/bin/sh"]},"rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' "$ARCH" $diff > config.json
        layer=$(put tiny.tar.gz); config=$(put config.json)
        printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"%s","size":%s},"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":"%s","size":%s}]}' \
            $config $(stat -c %s config.json) $layer $(stat -c %s tiny.tar.gz) > manifest.json
        curl -fsS -X PUT -H 'Content-Type: application/vnd.oci.image.manifest.v1+json' --data-binary @manifest.json $base/manifests/1
    "#;
    let arch = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    world.sh(&format!("ARCH={arch}; {script}")).ok();
}

#[test]
fn root_import_from_a_web_server() {
    let Some(world) = World::root() else { return };
    if world.sh("busybox httpd --help 2>&1; command -v busybox").code != 0 {
        eprintln!("SKIP this machine has no busybox httpd");
        return;
    }
    let serve = "busybox httpd -f -p 127.0.0.1:8123 -h www >/dev/null 2>&1 & echo $! > server; sleep 0.3";
    world.sh(&format!("ip link set lo up; mkdir www && cp tiny.tar www/; {serve}")).ok();
    world.brig(["import", "http://127.0.0.1:8123/tiny.tar", "fetched"]).ok();
    assert_eq!(world.brig(["run", "--rm", "fetched", "/bin/echo", "there"]).ok(), "there");
    world.brig(["import", "http://127.0.0.1:8123/none.tar", "x"]).refuses(1, &["none.tar", "127.0.0.1:8123"]);
    world.brig(["import", "http://127.0.0.1:1/x.tar", "x"]).refuses(1, &["127.0.0.1:1", "refused"]);
    world.brig(["import", "http://me:secret@127.0.0.1/x", "x"]).refuses(1, &["user name"]);
    world.sh("kill $(cat server)").ok();
}
