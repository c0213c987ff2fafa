#!/usr/bin/env bash
# Real images from Debian packages, for the demo, the tests and the benchmarks. Nothing is fetched ready-made.
#
#   scripts/images.sh make NAME...             makes what is missing below .work/images (cached)
#   scripts/images.sh push HOST:PORT NAME...   pushes it to a registry on loopback as HOST:PORT/brig/NAME:1
#   scripts/images.sh rootfs NAME              prints the path of its root file system's tar archive (tiny, debian, db, web)
#
#   tiny                           busybox alone
#   debian                         Debian's minimal system
#   python nginx postgres redis    the files of Debian packages on top of debian, as a second layer
#   db web                         a database and a web application that run (tests/shell/stack.sh)
#
# Packages come from where the machine's own apt gets them; no address is stored.
set -euo pipefail
cd "$(dirname "$0")/.."
STORE=$PWD/.work/images
SUITE=bookworm

say() { printf 'images: %s\n' "$*" >&2; }
sha() { sha256sum "$1" | cut -d' ' -f1; }

mirror() {
    apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -v security | head -n 1
}

# Root file systems ---------------------------------------------------------------------------------------------------

rootfs_tiny() {
    local tree applet busybox
    busybox=$(command -v busybox)
    tree=$(mktemp -d)
    mkdir -p "$tree"/{bin,dev,etc,home,proc,root,sys,tmp,var/www}
    chmod 1777 "$tree/tmp"
    cp "$busybox" "$tree/bin/busybox"
    for applet in $("$busybox" --list); do
        [ "$applet" = busybox ] || ln "$tree/bin/busybox" "$tree/bin/$applet"
    done
    printf 'root:x:0:0:root:/root:/bin/sh\n' > "$tree/etc/passwd"
    printf 'root:x:0:\n' > "$tree/etc/group"
    tar -C "$tree" --numeric-owner --owner=0 --group=0 --sort=name -cf "$1" .
    rm -rf "$tree"
}

# debootstrap OUT [PACKAGE...]
debootstrap() {
    local out=$1 include
    shift
    include=$(IFS=,; echo "$*")
    # shellcheck disable=SC2016 # $1 is for mmdebstrap's hooks
    mmdebstrap --quiet --variant=minbase ${include:+--include="$include"} \
        --aptopt='Acquire::Check-Valid-Until "false"' --aptopt='Acquire::Check-Date "false"' \
        --customize-hook='rm -rf "$1"/var/lib/apt/lists/* "$1"/var/cache/apt/* "$1"/var/log/* "$1"/etc/apt/sources.list "$1"/etc/apt/apt.conf.d/99mmdebstrap' \
        --customize-hook='rm -f "$1"/etc/resolv.conf "$1"/etc/hostname' \
        "$SUITE" "$out" "$(mirror)"
}

# The files of packages, as one archive: packages OUT PACKAGE...
packages() {
    local out=$1 folder package
    shift
    folder=$(mktemp -d)
    chmod 755 "$folder"
    (cd "$folder" && apt-get -q -q -o APT::Sandbox::User=root download "$@")
    mkdir "$folder/tree"
    for package in "$folder"/*.deb; do
        dpkg-deb --fsys-tarfile "$package" | tar -C "$folder/tree" --keep-directory-symlink -xf -
    done
    tar -C "$folder/tree" --numeric-owner --owner=0 --group=0 --sort=name -cf "$out" .
    rm -rf "$folder"
}

layer_of() {
    case $1 in
    tiny) rootfs_tiny "$2" ;;
    debian) debootstrap "$2" ;;
    python) packages "$2" python3.11 python3.11-minimal libpython3.11-minimal libpython3.11-stdlib python3-flask \
        python3-werkzeug python3-jinja2 python3-requests python3-urllib3 gunicorn libsqlite3-0 perl-modules-5.36 ;;
    nginx) packages "$2" nginx nginx-common libxml2 libgeoip1 libgd3 libicu72 ;;
    postgres) packages "$2" postgresql-15 postgresql-client-15 libllvm14 libicu72 libpq5 libxml2 libz3-4 perl-modules-5.36 libperl5.36 ;;
    redis) packages "$2" redis-server redis-tools libjemalloc2 liblua5.1-0 liblzf1 libatomic1 ;;
    db) debootstrap "$2" postgresql ;;
    web) debootstrap "$2" python3-flask python3-psycopg2 ;;
    *) say "there is no image $1"; exit 1 ;;
    esac
}

base_of() {
    case $1 in python | nginx | postgres | redis) echo debian ;; esac
}

# Images --------------------------------------------------------------------------------------------------------------

make() {
    local name=$1 base folder=$STORE/$1
    base=$(base_of "$name")
    [ -z "$base" ] || make "$base"
    [ -e "$folder/manifest.json" ] && return
    say "making $name"
    rm -rf "$folder"
    mkdir -p "$folder"
    layer_of "$name" "$folder/layer.tar"
    gzip -n -6 -k "$folder/layer.tar"
    describe "$name" ${base:+"$base"} "$name"
}

# Writes config.json and manifest.json: describe NAME LAYER-OWNER...
describe() {
    local name=$1 folder=$STORE/$1 layer diffs="" layers="" arch
    shift
    arch=$(dpkg --print-architecture)
    for layer in "$@"; do
        diffs+="${diffs:+,}\"sha256:$(sha "$STORE/$layer/layer.tar")\""
        layers+="${layers:+,}$(descriptor application/vnd.oci.image.layer.v1.tar+gzip "$STORE/$layer/layer.tar.gz")"
    done
    printf '{"created":"%s","architecture":"%s","os":"linux","config":{"Cmd":["/bin/sh"],"Env":["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]},"rootfs":{"type":"layers","diff_ids":[%s]},"history":[]}' \
        "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$arch" "$diffs" > "$folder/config.json"
    printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":%s,"layers":[%s]}' \
        "$(descriptor application/vnd.oci.image.config.v1+json "$folder/config.json")" "$layers" > "$folder/manifest.json.new"
    mv "$folder/manifest.json.new" "$folder/manifest.json"
}

descriptor() {
    printf '{"mediaType":"%s","digest":"sha256:%s","size":%s}' "$1" "$(sha "$2")" "$(stat -c %s "$2")"
}

# Registry ------------------------------------------------------------------------------------------------------------

push_blob() {
    local url=$1 file=$2 digest location
    digest=sha256:$(sha "$file")
    curl -fsI -o /dev/null "$url/blobs/$digest" && return
    location=$(curl -fsS -X POST -D - -o /dev/null "$url/blobs/uploads/" | tr -d '\r' | sed -n 's/^[Ll]ocation: //p')
    curl -fsS -o /dev/null -X PUT -H 'Content-Type: application/octet-stream' -T "$file" "$location&digest=$digest"
}

push() {
    local url=http://$1/v2/brig/$2 name=$2 layer
    for layer in $(base_of "$name") "$name"; do
        push_blob "$url" "$STORE/$layer/layer.tar.gz"
    done
    push_blob "$url" "$STORE/$name/config.json"
    curl -fsS -o /dev/null -X PUT -H 'Content-Type: application/vnd.oci.image.manifest.v1+json' \
        --data-binary "@$STORE/$name/manifest.json" "$url/manifests/1"
}

verb=${1:-}
shift || true
case $verb in
make) for name in "$@"; do make "$name"; done ;;
push)
    registry=$1
    shift
    for name in "$@"; do
        make "$name"
        push "$registry" "$name"
    done
    ;;
rootfs)
    make "$1"
    echo "$STORE/$1/layer.tar"
    ;;
*) sed -n '2,14s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac
