#!/usr/bin/env bash
# `make install` puts the program, its pages, its completions and its units where DESTDIR and PREFIX say, and takes them away again.
set -euo pipefail
: "${BRIG:?the built program}"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export BINDIR=$folder/usr/bin DATADIR=$folder/usr/share UNITDIR=$folder/usr/lib/systemd

scripts/install.sh
for file in bin/brig share/man/man1/brig.1 share/man/man1/brig-run.1 share/bash-completion/completions/brig \
    share/zsh/site-functions/_brig share/fish/vendor_completions.d/brig.fish \
    lib/systemd/system/brig-boot.service lib/systemd/user/brig-boot.service; do
    [ -s "$folder/usr/$file" ] || { echo "not installed: $file"; exit 1; }
done
"$BINDIR/brig" --version
bash -n "$DATADIR/bash-completion/completions/brig"

scripts/install.sh --remove
left=$(find "$folder" -type f)
[ -z "$left" ] || { echo "left behind: $left"; exit 1; }
