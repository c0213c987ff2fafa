#!/usr/bin/env bash
# Installs the program, its man pages, its completions and its systemd units below BINDIR, DATADIR and UNITDIR; --remove takes them away again.
# Called by `make install` with BRIG, BINDIR, DATADIR and UNITDIR set (DESTDIR is part of each, and given by itself, too).
set -euo pipefail
: "${BINDIR:?}" "${DATADIR:?}" "${UNITDIR:?}"

remove() {
    rm -f "$UNITDIR/system/brig-boot.service" "$UNITDIR/user/brig-boot.service"
    rm -f "$BINDIR/brig" "$DATADIR"/man/man1/brig.1 "$DATADIR"/man/man1/brig-*.1
    rm -f "$DATADIR/bash-completion/completions/brig" "$DATADIR/zsh/site-functions/_brig" \
        "$DATADIR/fish/vendor_completions.d/brig.fish"
}

# The program writes its own pages and completions, from the definitions of its --help.
put() {
    local file=$1
    shift
    install -d "$(dirname "$file")"
    "$BRIG" "$@" > "$file.new"
    mv "$file.new" "$file"
}

if [ "${1:-}" = --remove ]; then
    remove
    exit
fi
: "${BRIG:?}"
install -d "$BINDIR" "$DATADIR/man/man1"
install -m 755 "$BRIG" "$BINDIR/brig"
"$BRIG" generate man "$DATADIR/man/man1"
put "$DATADIR/bash-completion/completions/brig" completion bash
put "$DATADIR/zsh/site-functions/_brig" completion zsh
put "$DATADIR/fish/vendor_completions.d/brig.fish" completion fish
# A unit names the program where it will be, not where a package is being put together.
for kind in system user; do
    suffix=$([ $kind = user ] && echo -user || true)
    install -d "$UNITDIR/$kind"
    sed "s|@BRIG@|${BINDIR#"${DESTDIR:-}"}/brig|" "$(dirname "$0")/systemd/brig-boot$suffix.service" > "$UNITDIR/$kind/brig-boot.service"
done
echo "installed $BINDIR/brig"
if [ -z "${DESTDIR:-}" ] && [ -d /run/systemd/system ]; then
    echo "containers start with the machine after: systemctl enable --now brig-boot"
fi
