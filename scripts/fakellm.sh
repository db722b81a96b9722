#!/bin/sh
# Installs the stand-in model server that the host's tests ask (https://pypi.org/project/fakellm), pinned,
# outside the tree, and prints the path of its program.
set -eu
version=0.3.5
home="${XDG_CACHE_HOME:-$HOME/.cache}/ringfence/fakellm-$version"
program="$home/bin/fakellm"
if [ ! -x "$program" ]; then
    command -v python3 >/dev/null || { echo "python3 (3.10 or later, with venv) is needed; install it" >&2; exit 1; }
    # Built aside and moved: a test that runs at the same time never sees half of it.
    next=$(mktemp -d "${TMPDIR:-/tmp}/fakellm.XXXXXX")
    mkdir -p "$(dirname "$home")"
    python3 -m venv "$next/venv" >&2
    "$next/venv/bin/pip" install --quiet --disable-pip-version-check "fakellm==$version" >&2
    # A virtual environment does not move: the program is started as a module.
    printf '#!/bin/sh\nexec "$(dirname "$0")/python3" -c "from fakellm.cli import main; main()" "$@"\n' > "$next/venv/bin/fakellm"
    chmod +x "$next/venv/bin/fakellm"
    mv -T "$next/venv" "$home" 2>/dev/null || true
    rm -rf "$next"
fi
echo "$program"
