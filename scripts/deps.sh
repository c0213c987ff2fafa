#!/usr/bin/env bash
# Makes sure that what a chore needs is on this machine; installs what is missing, nothing else.
#
#   scripts/deps.sh GROUP...      groups: build check test demo bench
#
# Works on a machine that has Debian's base system, make, git and the Rust toolchain. Debian packages come by
# apt-get (through sudo when not root), the compiler's target by rustup. When all is there it takes a few
# milliseconds and touches nothing.
set -euo pipefail

# The programs by whose presence a package is known to be there: "program-or-file package".
declare -A WANTED=(
    # A linker and libc for build scripts and procedural macros; musl-gcc for the C parts of the program.
    [build]="cc:gcc /usr/include/stdlib.h:libc6-dev musl-gcc:musl-tools"
    [check]=""
    # Images for tests are made from Debian packages, never fetched ready-made.
    [test]="busybox:busybox-static mmdebstrap:mmdebstrap docker-registry:docker-registry nft:nftables ip:iproute2
        newuidmap:uidmap pasta:passt curl:curl /etc/ssl/certs/ca-certificates.crt:ca-certificates"
    [demo]="busybox:busybox-static mmdebstrap:mmdebstrap docker-registry:docker-registry ip:iproute2 curl:curl"
    [bench]="busybox:busybox-static mmdebstrap:mmdebstrap docker-registry:docker-registry ip:iproute2 curl:curl
        dockerd:docker.io podman:podman runc:runc crun:crun iptables:iptables mkfs.ext4:e2fsprogs"
)

say() { printf 'deps: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

have() {
    case $1 in
    /*) [ -e "$1" ] ;;
    *) command -v "$1" > /dev/null || [ -x "/usr/sbin/$1" ] || [ -x "/sbin/$1" ] ;;
    esac
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo > /dev/null; then
        sudo "$@"
    else
        die "this needs root, and sudo is not installed; as root: $*"
    fi
}

install_packages() {
    command -v apt-get > /dev/null || die "these packages are missing and there is no apt-get: $*"
    say "installing Debian packages: $*"
    local apt=(env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300 --no-install-recommends)
    # A machine that was never updated, or long ago, knows no packages or old ones: look once more then.
    if ! as_root "${apt[@]}" install "$@" < /dev/null; then
        as_root "${apt[@]}" update < /dev/null
        as_root "${apt[@]}" install "$@" < /dev/null || die "apt-get cannot install: $*"
    fi
}

ensure_packages() {
    local group entry missing=()
    for group in "$@"; do
        [ -v "WANTED[$group]" ] || die "there is no group $group; there are: ${!WANTED[*]}"
        for entry in ${WANTED[$group]}; do
            have "${entry%:*}" || missing+=("${entry##*:}")
        done
    done
    [ ${#missing[@]} = 0 ] || install_packages "${missing[@]}"
}

ensure_rust() {
    command -v cargo > /dev/null || die "the Rust toolchain is missing: https://rustup.rs"
    local target sysroot
    target="$(uname -m)-unknown-linux-musl"
    sysroot=$(rustc --print sysroot)
    [ -d "$sysroot/lib/rustlib/$target/lib" ] && return
    command -v rustup > /dev/null || die "rustc has no target $target, and there is no rustup to add it"
    say "adding the target $target to the Rust toolchain"
    rustup target add "$target"
}

ensure_packages "$@"
for group in "$@"; do
    case $group in build | check) ensure_rust; break ;; esac
done
