//! Networks that people make. The "host" is the world's own network namespace.

use testkit::World;

/// Starts a web server on port 80 of the container `name` that answers with that name.
fn serve(world: &World, name: &str, options: &[&str]) {
    let script = format!("mkdir /www; echo {name} > /www/index.html; exec httpd -f -p 80 -h /www");
    let args = [&["run", "-d", "--name", name], options, &["tiny", "sh", "-c", &script]].concat();
    world.brig(args).ok();
}

fn idle(world: &World, name: &str, options: &[&str]) {
    world.brig([&["run", "-d", "--name", name], options, &["tiny", "sleep", "1000"]].concat()).ok();
}

fn address(world: &World, name: &str, network: &str) -> String {
    world.inspect(name, &format!("{{{{(index .NetworkSettings.Networks \"{network}\").IPAddress}}}}"))
}

/// What the web server at `url` answers to a container; empty when nothing does.
fn get(world: &World, from: &str, url: &str) -> String {
    let script = format!("timeout 2 wget -qO- http://{url}/ 2>/dev/null || true");
    world.brig(["exec", from, "sh", "-c", &script]).ok()
}

fn reaches(world: &World, from: &str, url: &str, answer: &str) {
    testkit::eventually(&format!("{from} reaches {url}"), || get(world, from, url) == answer);
}

#[test]
fn root_a_network_is_made_used_and_removed() {
    let Some(world) = World::root() else { return };
    let id = world.brig(["network", "create", "--label", "tier=front", "lan"]).ok();
    assert_eq!(id.len(), 64);
    serve(&world, "web", &["--network", "lan"]);
    idle(&world, "box", &["--network", &id[..12]]);
    reaches(&world, "box", &address(&world, "web", "lan"), "web");
    assert_eq!(world.brig(["ps", "-q", "--filter", "network=lan"]).ok().lines().count(), 2);
    assert_eq!(world.inspect("box", "{{.HostConfig.NetworkMode}}"), "lan");
    assert_eq!(world.inspect("web", "{{.NetworkSettings.Networks.lan.NetworkID}}"), id);
    let members = "{{range .Containers}}{{.Name}}={{.IPv4Address}} {{end}}";
    let shown = world.brig(["network", "inspect", "-f", members, "lan"]).ok();
    assert!(shown.contains(&format!("web={}/24", address(&world, "web", "lan"))), "{shown}");
    let listed = world.brig([
        "network",
        "ls",
        "--filter",
        "type=custom",
        "--format",
        "{{.Name}} {{.Driver}} {{.Labels}}",
    ]);
    assert_eq!(listed.ok(), "lan bridge tier=front");
    world.brig(["network", "rm", "lan"]).refuses(1, &["lan", "active endpoints", "web", "box"]);
    world.brig(["network", "create", "lan"]).refuses(1, &["network with name lan already exists"]);
    world.brig(["rm", "-f", "web", "box"]).ok();
    assert_eq!(world.brig(["network", "rm", "lan"]).ok(), "lan");
    world.brig(["network", "rm", "lan"]).refuses(1, &["network lan not found"]);
    world.brig(["network", "rm", "-f", "lan"]).ok();
    world.brig(["run", "--rm", "--network", "lan", "tiny", "true"]).refuses(125, &["network lan not found"]);
    assert!(!world.sh("ip -o link").ok().contains("br-"), "the bridge is gone");
}
