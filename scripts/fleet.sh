#!/usr/bin/env bash
# What a task costs with few and many workers, and with few and many tasks in flight: a split system, each worker a process.
#   PROGRAM   what is measured (default target/release/callboard)
#   WORKERS   (default "4 100")   IN_FLIGHT   (default "32 1000 10000")   ROUNDS   of which medians are taken (default 3)
set -euo pipefail
cd "$(dirname "$0")/.."
export PROGRAM WORKERS IN_FLIGHT ROUNDS
PROGRAM=$(realpath "${PROGRAM:-target/release/callboard}"); ROUNDS=${ROUNDS:-3}
WORKERS=${WORKERS:-4 100}; IN_FLIGHT=${IN_FLIGHT:-32 1000 10000}
exec python3 - <<'PY'
import itertools, json, os, statistics, subprocess, sys
program, rounds = os.environ["PROGRAM"], int(os.environ["ROUNDS"])
numbers = lambda name: [int(number) for number in os.environ[name].split()]
def bench(workers, in_flight):
    tasks = max(5000, 2 * in_flight)
    done = subprocess.run([program, "bench", "--via", "split", "--workers", str(workers), "--concurrency", str(in_flight),
                           "--tasks", str(tasks), "--log", "off"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        print(f"{workers} workers, {in_flight} in flight: exit {done.returncode}: {done.stderr[-500:]}", file=sys.stderr)
    return json.loads(done.stdout) if done.stdout else None

runs = {}
for _, workers, in_flight in itertools.product(range(rounds), numbers("WORKERS"), numbers("IN_FLIGHT")):
    run = bench(workers, in_flight)
    if run:
        runs.setdefault((workers, in_flight), []).append(run)
print("| workers | tasks in flight | tasks/s | p50 / p99, ms | master, µs a task | workers, µs a task | Redis, µs a task | master's peak, MB |")
print("|---|---|---|---|---|---|---|---|")
for (workers, in_flight), group in sorted(runs.items()):
    median = lambda of: statistics.median(map(of, group))
    role = lambda name, field: median(lambda run: run["roles"][name][field])
    print(f"| {workers} | {in_flight:,} | {median(lambda run: run['tasks_per_s']):.0f} "
          f"| {median(lambda run: run['p50_ms']):.0f} / {median(lambda run: run['p99_ms']):.0f} "
          f"| {role('master', 'cpu_us_per_task'):.0f} | {role('worker', 'cpu_us_per_task'):.0f} "
          f"| {median(lambda run: run['redis_cpu_us_per_task']):.0f} | {role('master', 'peak_rss_mb'):.0f} |", flush=True)
PY
