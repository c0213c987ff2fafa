#!/usr/bin/env bash
# Installs the program, its man pages and its completions below BINDIR and DATADIR; --remove takes them away again.
# Called by `make install` with BRIG, BINDIR and DATADIR set (DESTDIR is part of both).
set -euo pipefail
: "${BINDIR:?}" "${DATADIR:?}"

remove() {
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
echo "installed $BINDIR/brig"
