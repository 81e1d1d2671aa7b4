#!/usr/bin/env bash
# Throws generated requests at the API and holds every answer against /openapi.json: bounds, bad data, wrong methods, calls
# that build on each other. Starts servers of its own from PROGRAM (default: the debug build), and stops them. The number of
# requests is bounded, and two runs ask the same unless SEED is given.
#   EXAMPLES (default 15) requests per route and phase; SEED; ROUNDS: which servers, of "open failing guarded"; REPORT: a
#   folder that keeps what was said
set -euo pipefail
cd "$(dirname "$0")/.."
version=4.32.5
examples=${EXAMPLES:-15}
order=(--generation-deterministic); [ -z "${SEED:-}" ] || order=(--seed "$SEED")
rounds=${ROUNDS:-open failing guarded}
cache=${XDG_CACHE_HOME:-$HOME/.cache}/callboard
tool=$cache/schemathesis-$version
if [ -z "${PROGRAM:-}" ]; then
  cargo build --locked --quiet
  PROGRAM=${CARGO_TARGET_DIR:-target}/debug/callboard
fi
PROGRAM=$(realpath "$PROGRAM")
if [ ! -x "$tool/bin/schemathesis" ]; then
  echo "schemathesis: installing $version into $tool" >&2
  mkdir -p "$cache"
  rm -rf "$tool"
  if ! { python3 -m venv "$tool" && "$tool/bin/pip" install --quiet --disable-pip-version-check "schemathesis==$version"; }; then
    rm -rf "$tool"
    echo "schemathesis: it cannot be installed: python3 with venv (3.10 or newer; python3-venv on Debian) and a package index are needed" >&2
    exit 1
  fi
fi

# What a check would find and is meant so:
# - use_after_free: DELETE cancels a task and keeps it, to be read; a 404 afterwards would be the fault.
excluded=use_after_free

work=$(mktemp -d)
server=
stop() { [ -z "$server" ] || { kill "$server" 2>/dev/null || true; wait "$server" 2>/dev/null || true; server=; }; }
trap 'stop; rm -rf "$work"' EXIT

# round NAME "SETTINGS" [OPTION…]: a server with these settings, asked with these options.
round() {
  local name=$1 settings=$2 url
  shift 2
  printf 'provider = "mock"\nlisten = "127.0.0.1:0"\n%s\n' "$settings" >"$work/$name.toml"
  "$PROGRAM" serve --config "$work/$name.toml" >"$work/$name.out" 2>"$work/$name.log" &
  server=$!
  for _ in $(seq 300); do
    grep -qs "^listening on " "$work/$name.out" && break
    kill -0 "$server" 2>/dev/null || { cat "$work/$name.log" >&2; exit 1; }
    sleep 0.1
  done
  url=$(sed -n 's/^listening on //p' "$work/$name.out")
  echo "schemathesis: $name" >&2
  # The time-out is long, so that no check depends on how fast the machine is.
  # From there, because it leaves a folder where it is started.
  if ! (cd "$work" && "$tool/bin/schemathesis" run "$url/openapi.json" "${order[@]}" \
    --max-examples "$examples" --checks all --exclude-checks "$excluded" \
    --request-timeout 120 --continue-on-failure --no-color "$@") >"$work/$name.txt" 2>&1; then
    [ -z "${REPORT:-}" ] || cp "$work/$name.txt" "$REPORT/$name.txt"
    cat "$work/$name.txt"
    echo "schemathesis: $name failed; the server's log of what was its own fault:" >&2
    grep -E '"status":5|a handler panicked' "$work/$name.log" >&2 || true
    exit 1
  fi
  [ -z "${REPORT:-}" ] || cp "$work/$name.txt" "$REPORT/$name.txt"
  tail -n 3 "$work/$name.txt"
  stop
}

for name in $rounds; do
  case $name in
    open) round open 'store = "memory:"' ;;
    failing) round failing $'store = "memory:"\nretry_pause = "1ms"\nmock_script = "analyze:error@2,retrieve:fatal@3,evaluate:panic@4"' ;;
    guarded)
      round guarded "store = \"sqlite:$work/tasks.db\""$'\napi_keys = "k1=acme,k2=globex"' -H 'Authorization: Bearer k1' ;;
    *) echo "schemathesis: no round $name: use open, failing, guarded" >&2; exit 64 ;;
  esac
done
