#!/usr/bin/env bash
# The table of docs/reliability.md: every injury, one after the other, on the release build, ROUNDS times each (30).
# ONLY limits it to the tests whose names contain that. The lines go to the file named by OUT (crash_matrix.md).
set -euo pipefail
cd "$(dirname "$0")/.."
cargo build --release --locked
program=${CARGO_TARGET_DIR:-target}/release/callboard
export CALLBOARD_TEST_PROGRAM="${PROGRAM:-$program}" CALLBOARD_CRASH_ROUNDS=${ROUNDS:-30}
out=${OUT:-crash_matrix.md}
cat >"$out" <<'HEAD'
| injury | rounds | tasks | lost | doubled | run again | placed again, ms | met by it, ms | others, ms | seed |
|---|---|---|---|---|---|---|---|---|---|
HEAD
cargo test --locked --test crash -- --nocapture --test-threads 1 ${ONLY:-} 2>&1 | tee /dev/stderr | grep '^| ' >>"$out"
cat "$out"
