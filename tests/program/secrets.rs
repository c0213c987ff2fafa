//! Secrets: files and variables of containers that nobody else gets to see.

use testkit::World;

const TOKEN: &str = "tOp-sEcReT-4711";

#[test]
fn root_secrets_are_made_listed_and_removed() {
    let Some(world) = World::root() else { return };
    let id = world.brig_with_input(["secret", "create", "-l", "a=b", "token", "-"], TOKEN.as_bytes()).ok();
    world.sh("printf filed > file").ok();
    world.brig(["secret", "create", "filed", "file"]).ok();
    assert_eq!(
        world.brig(["secret", "ls", "--format", "{{.Name}} {{.Driver}}"]).ok(),
        "filed file\ntoken file"
    );
    assert_eq!(world.brig(["secret", "ls", "-q", "--filter", "name=token"]).ok(), id);
    assert_eq!(
        world.brig(["secret", "inspect", "-f", "{{.Spec.Name}} {{.Spec.Labels.a}}", &id[..8]]).ok(),
        "token b"
    );
    assert!(!world.brig(["secret", "inspect", "token"]).ok().contains(TOKEN));
    assert!(world.brig(["secret", "inspect", "--showsecret", "token"]).ok().contains(TOKEN));
    let file = world.data_root().join("secrets").join(&id);
    assert_eq!(
        world.sh(&format!("stat -c '%a %U' {0} $(dirname {0})", file.display())).ok(),
        "600 root\n700 root"
    );
    world.brig_with_input(["secret", "create", "token", "-"], b"x").refuses(1, &["name in use"]);
    world.brig_with_input(["secret", "create", "empty", "-"], b"").refuses(1, &["larger than 0"]);
    world
        .brig_with_input(["secret", "create", "large", "-"], &[b'x'; 512_001])
        .refuses(1, &["less than 512000"]);
    world.brig_with_input(["secret", "create", "a/b", "-"], b"x").refuses(1, &["invalid"]);
    world.brig(["secret", "create", "-d", "vault", "x", "file"]).refuses(1, &["vault", "not supported"]);
    world.brig(["secret", "create", "x", "none"]).refuses(1, &["none"]);
    world.brig_with_input(["secret", "create", "--replace", "token", "-"], b"new").ok();
    assert!(!file.exists());
    world.brig(["secret", "rm", "none"]).refuses(1, &["No such secret: none"]);
    world.brig(["secret", "rm", "token", "filed"]).ok();
    assert_eq!(world.brig(["secret", "ls", "-q"]).ok(), "");
    assert_eq!(world.sh(&format!("ls {}", world.data_root().join("secrets").display())).ok(), "");
}

#[test]
fn root_a_container_gets_its_secrets_and_nothing_else_has_them() {
    let Some(world) = World::root() else { return };
    world.brig_with_input(["secret", "create", "token", "-"], TOKEN.as_bytes()).ok();
    world
        .brig([
            "run",
            "-d",
            "--name",
            "box",
            "--secret",
            "token",
            "--secret",
            "token,target=own,uid=7,gid=8,mode=0400",
            "--secret",
            "token,target=/etc/key",
            "--secret",
            "token,type=env,target=TOKEN",
            "tiny",
            "sleep",
            "1000",
        ])
        .ok();
    let look = "cat /run/secrets/token; echo; stat -c '%u %g %a' /run/secrets/own /run/secrets/token; cat /etc/key; echo; echo $TOKEN; stat -f -c %T /run/secrets";
    assert_eq!(
        world.brig(["exec", "box", "sh", "-c", look]).ok(),
        format!("{TOKEN}\n7 8 400\n0 0 444\n{TOKEN}\n{TOKEN}\ntmpfs")
    );
    world.brig(["exec", "box", "sh", "-c", "echo x > /run/secrets/token"]).exits(1);
    world.brig(["exec", "box", "sh", "-c", "grep -q $(cat /etc/key) /proc/1/environ"]).ok();
    // Neither records, configurations, answers nor layers have it; only its own file.
    assert!(!world.brig(["inspect", "box"]).ok().contains(TOKEN));
    let found = format!(
        "grep -rlaF {TOKEN} {} {} | grep -v {}/secrets/ || :",
        world.data_root().display(),
        world.run_root().display(),
        world.data_root().display()
    );
    assert_eq!(world.sh(&found).ok(), "");
    world.brig(["commit", "box", "made"]).ok();
    assert_eq!(world.sh(&found).ok(), "");
    assert_eq!(
        world
            .brig(["run", "--rm", "made", "sh", "-c", "ls /run/secrets /etc/key 2>/dev/null; echo $TOKEN"])
            .ok(),
        "/etc/key"
    );
    assert_eq!(world.brig(["diff", "box"]).ok(), "C /etc\nA /etc/key");
    // It has them again after a stop, and nobody takes them away meanwhile.
    world.brig(["secret", "rm", "token"]).refuses(1, &["used by container box"]);
    world.brig(["restart", "-t", "0", "box"]).ok();
    assert_eq!(world.brig(["exec", "box", "cat", "/run/secrets/token"]).ok(), TOKEN);
    world.brig(["rm", "-f", "box"]).ok();
    world.brig(["secret", "rm", "token"]).ok();
}

#[test]
fn root_wrong_uses_of_secrets_make_nothing() {
    let Some(world) = World::root() else { return };
    world.brig_with_input(["secret", "create", "token", "-"], TOKEN.as_bytes()).ok();
    for (flags, words) in [
        (&["none"][..], "No such secret: none"),
        (&["token,mode=9"], "octal"),
        (&["token,what=1"], "invalid for secret"),
        (&["token,target=../up"], "target"),
        (&["token", "token"], "same target"),
        (&["token,type=env,uid=1"], "cannot be set"),
    ] {
        let flags = flags.iter().flat_map(|flag| ["--secret", flag]);
        world.brig(["run"].into_iter().chain(flags).chain(["tiny", "true"])).refuses(125, &[words]);
    }
    assert_eq!(world.brig(["ps", "-aq"]).ok(), "");
    world.brig(["secret", "rm", "--all"]).ok();
}

#[test]
fn root_a_plain_user_has_secrets_too() {
    let Some(world) = World::plain_user() else { return };
    world.brig_with_input(["secret", "create", "token", "-"], TOKEN.as_bytes()).ok();
    let look = "cat /run/secrets/token; stat -c ' %u' /run/secrets/token";
    let run = ["run", "--rm", "--network", "none", "--secret", "token,uid=1000", "tiny", "sh", "-c", look];
    assert_eq!(world.brig(run).ok(), format!("{TOKEN} 1000"));
    world.brig(["secret", "rm", "token"]).ok();
}

/// The numbers of a container with a user namespace of its own are other ones outside.
#[test]
fn root_secrets_belong_to_the_users_inside() {
    let Some(world) = World::root() else { return };
    world.brig_with_input(["secret", "create", "token", "-"], TOKEN.as_bytes()).ok();
    let look = "cat /run/secrets/token; stat -c ' %u' /run/secrets/token";
    let secret = ["--secret", "token,uid=1000,mode=0400"];
    let run = ["run", "--rm", "--userns", "auto", "-u", "1000"].into_iter().chain(secret);
    let done = world.brig(run.chain(["tiny", "sh", "-c", look]));
    if done.stderr.contains("idmap") {
        eprintln!("SKIP root_secrets_belong_to_the_users_inside: the file system cannot shift owners");
        return;
    }
    assert_eq!(done.ok(), format!("{TOKEN} 1000"));
}
