#!/usr/bin/env bash
# Installs what building and testing need beside the Rust toolchain: a C compiler and OpenSSL's headers (native-tls); for
# the tests that run the documentation's commands also curl, jq and sqlite3; for those of agents in other languages python3.
# Does nothing where they are there already; a sudo is used where the user is not root.
set -euo pipefail
missing=()
command -v cc >/dev/null || missing+=(gcc libc6-dev)
command -v pkg-config >/dev/null || missing+=(pkg-config)
{ command -v pkg-config >/dev/null && pkg-config --exists openssl; } || missing+=(libssl-dev)
for tool in curl jq sqlite3; do command -v "$tool" >/dev/null || missing+=("$tool"); done
python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3 python3-venv)
command -v cargo >/dev/null || { echo "setup: cargo is not there: install the Rust toolchain first" >&2; exit 1; }
[ ${#missing[@]} -eq 0 ] && exit 0
command -v apt-get >/dev/null || { echo "setup: please install: ${missing[*]}" >&2; exit 1; }
as_root=(); [ "$(id -u)" -eq 0 ] || as_root=(sudo)
echo "setup: installing ${missing[*]}" >&2
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
