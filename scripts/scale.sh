#!/usr/bin/env bash
# The figures of docs/performance.md that stand for our own program alone, as Markdown tables on standard output.
#   PROGRAM   what is measured (default target/release/callboard)
#   ROUNDS    of which medians are taken (default 3; the long scenarios run once)
#   QUEUED, FINISHED   how many tasks (defaults 100000 and 1000000); STORES   default "memory: sqlite:"
# All scenarios take about half an hour on two cores, most of it for the finished tasks.
set -euo pipefail
cd "$(dirname "$0")/.."
export PROGRAM ROUNDS QUEUED FINISHED STORES
PROGRAM=$(realpath "${PROGRAM:-target/release/callboard}"); ROUNDS=${ROUNDS:-3}; QUEUED=${QUEUED:-100000}
FINISHED=${FINISHED:-1000000}; STORES=${STORES:-memory: sqlite:}
exec python3 - <<'PY'
import json, os, re, statistics, subprocess, sys, tempfile, time
program, rounds = os.environ["PROGRAM"], int(os.environ["ROUNDS"])
stores = os.environ["STORES"].split()
median = lambda values: statistics.median(values) if values else float("nan")

def bench(*args):
    done = subprocess.run([program, "bench", "--log", "off", *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode or not done.stdout:
        print(f"bench {' '.join(args)}: exit {done.returncode}: {done.stderr[-300:]}", file=sys.stderr)
    return json.loads(done.stdout) if done.stdout else None

def rss_mib(pid):
    with open(f"/proc/{pid}/status") as status:
        return int(re.search(r"VmRSS:\s+(\d+)", status.read())[1]) / 1024

def idle():
    with tempfile.TemporaryDirectory() as folder:
        server = subprocess.Popen([program, "serve", "--listen", "127.0.0.1:0", "--store", "memory:", "--provider", "mock", "--log", "off"],
                                  cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        try:
            server.stdout.readline()
            time.sleep(2)
            return rss_mib(server.pid)
        finally:
            server.terminate()
            server.wait()

def demo():
    began = time.monotonic()
    subprocess.run([program, "demo"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
    return time.monotonic() - began

print("| at rest | median |\n|---|---|")
print(f"| RSS of an idle server, mock, memory | {median([idle() for _ in range(rounds)]):.1f} MiB |")
print(f"| `callboard demo`, from start to end | {median([demo() for _ in range(rounds)]):.2f} s |\n", flush=True)
print("| 1,000 at once | until all are done, s | p99 ms |\n|---|---|---|")
for store in stores:
    runs = [run for run in (bench("--at-once", "1000", "--store", store) for _ in range(rounds)) if run]
    print(f"| {store} | {median([run['elapsed_s'] for run in runs]):.3f} | {median([run['p99_ms'] for run in runs]):.1f} |", flush=True)
columns = ["list", "read", "submit"]
times = lambda beside: " | ".join(f"{beside[f'{name}_p50_ms']:.2f} / {beside[f'{name}_p99_ms']:.2f}" for name in columns)
heads = " | ".join(f"{name} p50 / p99 ms" for name in columns)
print(f"\n| {int(os.environ['QUEUED']):,} queued | accepted per s | KiB each | {heads} | then done per s | lost |\n|---|---|---|---|---|---|---|---|")
for store in stores:
    run = bench("--queued", os.environ["QUEUED"], "--store", store)
    if run:
        print(f"| {store} | {run['taken_per_s']:,.0f} | {run['kib_per_task']} | {times(run['many'])} | {run['done_per_s']:,.0f} | {run['lost']} |", flush=True)
print(f"\n| finished | beside | {heads} | KiB each | lost |\n|---|---|---|---|---|---|---|")
for store in stores:
    run = bench("--finished", os.environ["FINISHED"], "--store", store)
    if run:
        print(f"| {store} | {run['few']['beside']:,} | {times(run['few'])} | | |")
        print(f"| {store} | {run['many']['beside']:,} | {times(run['many'])} | {run['kib_per_task']} | {run['lost']} |", flush=True)
PY
