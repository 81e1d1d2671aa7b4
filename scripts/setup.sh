#!/usr/bin/env bash
# Installs what building and testing need beside the Rust toolchain: a C compiler and OpenSSL's headers (native-tls); for
# the tests that run the documentation's commands also curl, jq and sqlite3; for those of the Redis store redis-server and
# openssl; for that of a loss of power strace; and python3 with venv for the examples.
# Does nothing where they are there already; a sudo is used where the user is not root.
set -euo pipefail
missing=()
command -v cc >/dev/null || missing+=(gcc libc6-dev)
command -v pkg-config >/dev/null || missing+=(pkg-config)
{ command -v pkg-config >/dev/null && pkg-config --exists openssl; } || missing+=(libssl-dev)
for tool in curl jq sqlite3 redis-server openssl strace; do command -v "$tool" >/dev/null || missing+=("$tool"); done
python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3 python3-venv)
command -v cargo >/dev/null || { echo "setup: cargo is not there: install the Rust toolchain first" >&2; exit 1; }
[ ${#missing[@]} -eq 0 ] && exit 0
command -v apt-get >/dev/null || { echo "setup: please install: ${missing[*]}" >&2; exit 1; }
as_root=(); [ "$(id -u)" -eq 0 ] || as_root=(sudo)
echo "setup: installing ${missing[*]}" >&2
# The package of redis-server starts one and has it started at every boot. Its program is all that is wanted: this rule
# lets no service start while packages are installed, and goes afterwards.
policy=/usr/sbin/policy-rc.d
is_redis_new() { [[ " ${missing[*]} " == *" redis-server "* ]]; }
if is_redis_new && [ ! -e "$policy" ]; then
  trap '"${as_root[@]}" rm -f "$policy"' EXIT
  printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
  "${as_root[@]}" chmod +x "$policy"
fi
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
if is_redis_new && command -v systemctl >/dev/null; then
  "${as_root[@]}" systemctl --quiet disable redis-server 2>/dev/null || true
fi
