# Sourced: starts a host with the fixtures, on a free port, and ends it with the script that sources it.
# Sets TENANT_URL, and CACHE with the folder for what npm and PyPI bring.
#
# RINGFENCE is the command under test, GUESTS the folder of the compiled test guests.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}
export RINGFENCE=${RINGFENCE:-$target/debug/ringfence}
export GUESTS=${GUESTS:-$target/test-guests/wasm32-wasip2/release}
CACHE=${RINGFENCE_CACHE:-$HOME/.cache/ringfence}/clients
[ -x "$RINGFENCE" ] || { echo "$RINGFENCE is missing: run 'make build'" >&2; exit 1; }
[ -f "$GUESTS/conformance.wasm" ] || { echo "the test guests are missing: run 'cargo build -p ringfence-test-guests'" >&2; exit 1; }

work=$(mktemp -d)
export RINGFENCE_DATA_DIR=$work/data
"$RINGFENCE" serve --listen 127.0.0.1:0 >"$work/log" 2>&1 &
host=$!
finish() {
  local status=$?
  kill "$host" 2>/dev/null && wait "$host" 2>/dev/null || true
  [ "$status" -eq 0 ] || { echo "--- the host's log" >&2; cat "$work/log" >&2; }
  rm -rf "$work"
  exit "$status"
}
trap finish EXIT

for _ in $(seq 300); do
  [ -s "$RINGFENCE_DATA_DIR/address" ] && break
  kill -0 "$host" 2>/dev/null || { echo "the host did not start" >&2; exit 1; }
  sleep 0.1
done
TENANT_URL=$(cat "$RINGFENCE_DATA_DIR/address")/default
export TENANT_URL

fixtures=$work/fixtures.yaml
cp "$root/tests/clients/fixtures.yaml" "$fixtures"
for guest in conformance examples/echo examples/sleep examples/agent_echo examples/agent_stream; do
  digest=$("$RINGFENCE" push -o json "$GUESTS/$guest.wasm" |
    python3 -c 'import json, sys; print(json.load(sys.stdin)["digest"])')
  sed -i "s|@${guest##*/}@|$digest|" "$fixtures"
done
"$RINGFENCE" apply -f "$fixtures" >/dev/null

# npm_packages NAME PACKAGE...: a folder with these, installed once. Prints its path.
npm_packages() {
  local folder=$CACHE/$1 stamp
  shift
  stamp="$*"
  if [ "$(cat "$folder/stamp" 2>/dev/null)" != "$stamp" ]; then
    mkdir -p "$folder"
    npm install --silent --no-audit --no-fund --prefix "$folder" "$@" >&2
    echo "$stamp" >"$folder/stamp"
  fi
  echo "$folder"
}
