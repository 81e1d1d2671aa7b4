#!/usr/bin/env bash
# Where the time of whole tasks goes: scripts/profile.sh [counts|samples] [arguments of `callboard bench`].
#   counts   callgrind: instructions per function; the same from run to run, and some 50 times slower (default)
#   samples  perf: time per function on this machine, system calls included
# Builds into target/profile with debug symbols and the system's allocator, which valgrind follows. The full profile
# stays in target/profile; the functions that take most go to standard output.
set -euo pipefail
cd "$(dirname "$0")/.."
how=${1:-counts}; shift || true
folder=${CARGO_TARGET_DIR:-target}/profile
tool() { command -v "$1" >/dev/null || { echo "profile: $1 is not there: install $2" >&2; exit 69; }; }
case $how in
  counts) tool valgrind valgrind; tasks=500 ;;
  samples) tool perf linux-perf; tasks=20000 ;;
  *) echo "profile: counts or samples, not $how" >&2; exit 2 ;;
esac
CARGO_PROFILE_RELEASE_DEBUG=line-tables-only CARGO_PROFILE_RELEASE_STRIP=none CARGO_PROFILE_RELEASE_LTO=off \
  CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 cargo build --release --locked --no-default-features --target-dir "$folder"
bench=("$folder/release/callboard" bench --tasks "$tasks" --concurrency 32 --store memory: --log off)
[ $# -eq 0 ] || bench=("$folder/release/callboard" bench --log off "$@")
case $how in
  counts)
    rm -f "$folder"/callgrind.out
    valgrind --tool=callgrind --callgrind-out-file="$folder/callgrind.out" "${bench[@]}" >"$folder/bench.json"
    callgrind_annotate "$folder/callgrind.out" | head -60
    ;;
  samples)
    perf record --call-graph dwarf,16384 -F 499 -o "$folder/perf.data" "${bench[@]}" >"$folder/bench.json"
    perf report -i "$folder/perf.data" --no-children --stdio --percent-limit 0.7 -g none 2>/dev/null | grep -v '^#' | head -60
    ;;
esac
