#!/usr/bin/env bash
# Changes the core (src/task) in every small way that cargo-mutants knows, one at a time, and says which changes no test
# notices. The core knows no other room, so it is tried as a crate of its own: a change takes seconds to build.
#   scripts/mutants.sh [ARGUMENTS OF cargo mutants]      such as --list, --shard 0/4, -f src/task/fleet.rs
# CALLBOARD_SCHEDULES is how many random schedules each change meets (default 500).
set -euo pipefail
cd "$(dirname "$0")/.."
here=$PWD
crate=${XDG_CACHE_HOME:-$HOME/.cache}/callboard/mutants
command -v cargo-mutants >/dev/null || cargo install cargo-mutants --locked

mkdir -p "$crate/src" "$crate/tests"
rm -rf "$crate/src/task" "$crate/tests/task_schedules"
cp -R src/task "$crate/src/task"
cp -R tests/task_schedules "$crate/tests/task_schedules"
cp Cargo.lock "$crate/Cargo.lock"
echo '//! The core by itself.
pub mod task;' >"$crate/src/lib.rs"
{
  echo '[package]
name = "callboard"
version = "0.1.0"
edition = "2024"
[dependencies]'
  grep -E '^(foldhash|parking_lot|serde|serde_json|sha2|thiserror|utoipa) = ' Cargo.toml
  echo '[dev-dependencies]'
  grep -E '^proptest = ' Cargo.toml
  # Many tests against little building: the dependencies are optimized once.
  echo '[profile.dev.package."*"]
opt-level = 2
[profile.mutants]
inherits = "test"
opt-level = 1
debug = false
[workspace]'
} >"$crate/Cargo.toml"

cd "$crate"
export CALLBOARD_SCHEDULES=${CALLBOARD_SCHEDULES:-500} PROPTEST_MAX_SHRINK_ITERS=0
export CARGO_TARGET_DIR=$crate/target
cargo mutants --in-place --profile mutants --timeout 60 --output "$crate" "$@" ||
  { code=$?; echo "mutants: what was missed is in $crate/mutants.out/missed.txt; see $here/docs/testing.md" >&2; exit $code; }
