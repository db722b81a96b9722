#!/bin/sh
# Installs wkg (https://github.com/bytecodealliance/wasm-pkg-tools), with which a test exchanges components through a
# registry, pinned, outside the tree, and prints the path of its program. The first time takes about two minutes.
set -eu
version=0.16.1
home="${RINGFENCE_CACHE:-$HOME/.cache/ringfence}/wkg-$version"
program="$home/bin/wkg"
if [ ! -x "$program" ]; then
    command -v cargo >/dev/null || { echo "cargo is needed: run scripts/setup" >&2; exit 1; }
    echo "wkg: building version $version, once" >&2
    target=$(mktemp -d "${TMPDIR:-/tmp}/wkg.XXXXXX")
    trap 'rm -rf "$target"' EXIT
    CARGO_PROFILE_DEV_DEBUG=0 CARGO_TARGET_DIR="$target" cargo install wkg --version "$version" --locked \
        --no-default-features --debug --quiet --root "$home" >&2 ||
        { echo "wkg: crates.io cannot be reached, or it does not build; see above" >&2; exit 1; }
fi
echo "$program"
