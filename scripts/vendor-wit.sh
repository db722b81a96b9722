#!/usr/bin/env bash
# Copies the WASI 0.2 packages that wasmtime-wasi-http carries into wit/deps, so that the contract is
# checked against exactly what the host links. With --check, fails when the copy has drifted.
set -euo pipefail
cd "$(dirname "$0")/.."
manifest=$(cargo metadata --format-version 1 --locked |
  python3 -c 'import json,sys; print(next(p["manifest_path"] for p in json.load(sys.stdin)["packages"] if p["name"]=="wasmtime-wasi-http"))')
source=$(dirname "$manifest")/wit/deps
if [ "${1:-}" = --check ]; then
  diff -r "$source" wit/deps || { echo "wit/deps differs from the locked wasmtime-wasi-http: run scripts/vendor-wit.sh" >&2; exit 1; }
else
  rm -rf wit/deps && mkdir -p wit/deps && cp "$source"/*.wit wit/deps/ && chmod 644 wit/deps/*.wit
fi
