#!/usr/bin/env bash
# A real stack by commands only: PostgreSQL on a named volume and a web application that talks to it, published,
# limited, killed and restarted by policy, removed and made again with its data still there.
#
# Needs BRIG. Runs in a mount and network namespace of its own; everything lies below .work/stack.
set -euo pipefail
cd "$(dirname "$0")/../.."
: "${BRIG:?the built program}"
SKIPPED=77
skip() { echo "SKIP $*"; exit "$SKIPPED"; }

[ "$(id -u)" = 0 ] || skip "root is wanted"
for program in mmdebstrap curl ip unshare; do
    command -v "$program" > /dev/null || skip "$program is wanted"
done
if [ "${BRIG_STACK_INSIDE:-}" != 1 ]; then
    # The images need the machine's network, and take a minute the first time.
    scripts/images.sh make db web || skip "the images cannot be made here (no Debian mirror?)"
    BRIG_STACK_INSIDE=1 exec unshare --mount --net --propagation private "$0"
fi

WORK=$PWD/.work/stack
export BRIG_ROOT=$WORK/root BRIG_RUN=$WORK/run
brig() { "$BRIG" "$@"; }
finish() {
    status=$?
    if [ "$status" != 0 ]; then
        for name in db web; do
            echo "--- logs of $name"
            brig logs --tail 30 "$name" 2>&1 || true
        done
    fi
    brig ps -aq 2> /dev/null | xargs -r "$BRIG" rm -f -v > /dev/null 2>&1 || true
    rm -rf "$WORK"
}
trap finish EXIT
rm -rf "$WORK"
mkdir -p "$BRIG_ROOT" "$BRIG_RUN"
ip link set lo up

step() { printf '== %s\n' "$*"; }
fail() { echo "FAILED: $*"; exit 1; }
wants() { [ "$1" = "$2" ] || fail "$3: ${1@Q} where ${2@Q} was expected"; }
eventually() {
    local what=$1
    shift
    for _ in $(seq 200); do
        "$@" > /dev/null 2>&1 && return
        sleep 0.1
    done
    fail "waited in vain: $what"
}

step "images"
brig import -c 'USER postgres' "$(scripts/images.sh rootfs db)" db > /dev/null
brig import -c 'EXPOSE 8000' "$(scripts/images.sh rootfs web)" web > /dev/null

start_db() {
    brig run -d --name db --restart always -m 512m --shm-size 128m --pids-limit 100 -e DB_PASSWORD=secret \
        -v pgdata:/var/lib/postgresql -v "$PWD/tests/stack/db.sh:/db.sh:ro" db /bin/sh /db.sh > /dev/null
    eventually "the database answers" brig exec -e PGPASSWORD=secret db psql -h 127.0.0.1 -U postgres -c 'SELECT 1'
}
address() { brig inspect -f '{{.NetworkSettings.Networks.bridge.IPAddress}}' "$1"; }
start_web() {
    brig run -d --name web --restart on-failure:5 --memory 256m --cpus 1 --read-only --tmpfs /tmp -u 1000:1000 \
        --cap-drop ALL --security-opt no-new-privileges -p 8080:8000 -e DB_HOST=db -e DB_PASSWORD=secret \
        --add-host "db:$(address db)" -v "$PWD/tests/stack/app.py:/app.py:ro" web python3 /app.py > /dev/null
    eventually "the application answers" curl -s -o /dev/null http://127.0.0.1:8080/
}
sign() { curl -fsS -X POST -d "$1" http://127.0.0.1:8080/; }
names() { curl -fsS http://127.0.0.1:8080/ | tr '\n' ' '; }

step "start"
start_db
start_web
sign ada
sign grace
wants "$(names)" "ada grace " "the guest book"
logged() { brig logs web 2>&1 | grep 'signed ada'; }
eventually "the log of the application" logged
wants "$(brig inspect -f '{{.HostConfig.Memory}}' db)" $((512 << 20)) "the limit of the database"

step "killed and restarted by policy"
for name in web db; do
    before=$(brig inspect -f '{{.State.Pid}}' $name)
    kill -9 "$before"
    # Asked at once: between two questions the container may end.
    changed() {
        local running pid
        read -r running pid <<< "$(brig inspect -f '{{.State.Running}} {{.State.Pid}}' $name)"
        [ "$running" = true ] && [ "$pid" != "$before" ]
    }
    eventually "$name is started again" changed
done
counted() { [ "$(brig inspect -f '{{.RestartCount}}' db)" = 1 ]; }
eventually "the restart is counted" counted
# The address of the database may have changed with its restart; the name in /etc/hosts was written at the start.
brig rm -f web > /dev/null
eventually "the database answers" brig exec -e PGPASSWORD=secret db psql -h 127.0.0.1 -U postgres -c 'SELECT 1'
start_web
wants "$(names)" "ada grace " "the guest book after the crash"

step "removed and made again: the data is still there"
brig stop web db > /dev/null
brig rm web db > /dev/null
wants "$(brig ps -aq)" "" "the list of containers"
wants "$(brig volume ls -q)" "pgdata" "the list of volumes"
start_db
start_web
sign margaret
wants "$(names)" "ada grace margaret " "the guest book of the new containers"
brig rm -f web db > /dev/null
brig volume rm pgdata > /dev/null

step "nothing is left"
# Those of containers; the pair by which published ports pass the host's own rules stays, as the bridge does.
wants "$(ip -o link show type veth | grep -c ': bv' || true)" 0 "links of containers"
wants "$(grep -c "$WORK" /proc/self/mountinfo || true)" 0 "mounts"
wants "$(ls "$BRIG_ROOT/containers" | wc -l)" 0 "folders of containers"
echo "the stack works"
