#!/usr/bin/env bash
# The demo: a container made from a real image runs, isolated, limited, on a network, and is gone again.
#
# Called by `make demo` with BRIG set to the built program. It runs as root (through sudo otherwise) in a mount and a
# network namespace of its own and keeps everything below .work/demo: the machine's own network, firewall, images and
# containers are not touched.
set -euo pipefail
cd "$(dirname "$0")/.."
: "${BRIG:?the built program; use: make demo}"

if [ "$(id -u)" != 0 ]; then
    command -v sudo > /dev/null || { echo 'demo: root is wanted, and sudo is not installed' >&2; exit 1; }
    exec sudo BRIG="$BRIG" "$0" "$@"
fi
if [ "${BRIG_DEMO_INSIDE:-}" != 1 ]; then
    # Made outside: it needs the network.
    scripts/images.sh make tiny debian
    BRIG_DEMO_INSIDE=1 exec unshare --mount --net --propagation private "$0" "$@"
fi

PORT=5000
WORK=$PWD/.work/demo
export BRIG_ROOT=$WORK/root BRIG_RUN=$WORK/run
registry=

bold() { [ -t 1 ] && printf '\033[1m%s\033[0m\n' "$*" || printf '%s\n' "$*"; }
step() { printf '\n'; bold "# $*"; }
# Shows a command as a person would type it, and runs it.
show() {
    local word line=""
    for word in "$@"; do
        [ "$word" != "$BRIG" ] || word=brig
        case $word in *[!A-Za-z0-9_./:=,@-]*) word="'$word'" ;; esac
        line+=" $word"
    done
    bold "\$$line"
    "$@"
}
# Lists the processes whose program is Brig.
brig_processes() {
    local exe
    for exe in /proc/[0-9]*/exe; do
        [ "$(readlink "$exe" 2> /dev/null)" != "$BRIG" ] || basename "${exe%/exe}"
    done
}
brig() { show "$BRIG" "$@"; }
finish() {
    "$BRIG" ps -aq 2> /dev/null | xargs -r "$BRIG" rm -f > /dev/null 2>&1 || true
    [ -z "$registry" ] || kill "$registry" 2> /dev/null || true
    rm -rf "$WORK"
}
trap finish EXIT

rm -rf "$WORK"
mkdir -p "$BRIG_ROOT" "$BRIG_RUN"
ip link set lo up

step "A registry on loopback serves two images, made of Debian's packages a moment ago."
cat > "$WORK/registry.yml" << END
version: 0.1
log: {level: error, accesslog: {disabled: true}}
storage: {filesystem: {rootdirectory: $WORK/registry}}
http: {addr: "127.0.0.1:$PORT"}
END
docker-registry serve "$WORK/registry.yml" > "$WORK/registry.log" 2>&1 &
registry=$!
for _ in $(seq 100); do curl -fsS -o /dev/null "http://127.0.0.1:$PORT/v2/" 2> /dev/null && break; sleep 0.05; done
scripts/images.sh push "127.0.0.1:$PORT" tiny debian

step "Pull them. Layers are checked and unpacked while they arrive."
brig pull "127.0.0.1:$PORT/brig/debian:1"
brig pull "127.0.0.1:$PORT/brig/tiny:1"
"$BRIG" tag "127.0.0.1:$PORT/brig/debian:1" debian
"$BRIG" tag "127.0.0.1:$PORT/brig/tiny:1" tiny
brig images

step "Run a command in a Debian of its own. It sees itself alone."
brig run --rm debian sh -c 'head -n 1 /etc/os-release; echo "I am process $$ on $(hostname)"; ls /proc | grep -c "^[0-9]"'

step "What is in the container can do little: no raw disks, no mounts, no other name for the machine."
brig run --rm debian sh -c 'mount -t tmpfs none /mnt; hostname other; grep -E "^(CapEff|Seccomp):" /proc/self/status' || true

step "A web server with limits, in the background, published on port 8080."
brig run -d --name web -p 8080:80 --memory 64m --cpus 0.5 --pids-limit 20 tiny \
    sh -c 'echo "Hello from $(hostname)" > /var/www/index.html; echo serving; exec httpd -f -v -p 80 -h /var/www'
for _ in $(seq 100); do curl -fsS -o /dev/null http://127.0.0.1:8080/ 2> /dev/null && break; sleep 0.05; done
show curl -sS http://127.0.0.1:8080/
brig ps

step "Another container reaches it over the bridge."
address=$("$BRIG" inspect --format '{{.NetworkSettings.Networks.bridge.IPAddress}}' web)
brig run --rm tiny wget -qO- "http://$address/"

step "Look into it: what it said, another process in it, what it may use."
brig logs web
brig exec web ps
brig inspect --format '{{.State.Status}}, {{.HostConfig.Memory}} bytes of memory at most' web

step "No daemon: besides the container itself there is one small monitor, and nothing else."
for pid in $(brig_processes); do
    printf '%s of memory: %s\n' "$(sed -n 's/^Pss: *//p' "/proc/$pid/smaps_rollup")" "$(tr '\0' ' ' < "/proc/$pid/cmdline" | cut -c 1-60)"
done

step "How long it takes: start, run \`true\`, end, clean up."
for _ in 1 2 3; do "$BRIG" run --rm --network none tiny true; done
show env BRIG_TIMINGS=1 "$BRIG" run --rm --network none tiny true

step "Stop and remove; nothing is left."
brig stop web
brig rm web
brig ps -a
# The bridge and the pair of links by which published ports pass the host's rules stay; they are no container's.
printf 'containers on disk: %s, mounts: %s, links of containers: %s, processes: %s\n' \
    "$(ls "$BRIG_ROOT/containers" 2> /dev/null | wc -l)" \
    "$(grep -c "$WORK" /proc/self/mountinfo || true)" \
    "$(ip -o link show type veth | grep -c ': bv' || true)" \
    "$(brig_processes | wc -l)"
printf '\n'
bold "That was Brig. README.md goes on from here."
