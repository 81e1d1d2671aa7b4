#!/usr/bin/env bash
# How long a process on SQLite takes, killed with OPEN tasks open, until it listens again and until the first step goes on.
#   PROGRAM   what is measured (default target/release/callboard)
#   OPEN      how many tasks (default 10000)     ROUNDS   of which medians are taken (default 5)
set -euo pipefail
cd "$(dirname "$0")/.."
export PROGRAM OPEN ROUNDS
PROGRAM=$(realpath "${PROGRAM:-target/release/callboard}"); OPEN=${OPEN:-10000}; ROUNDS=${ROUNDS:-5}
exec python3 - <<'PY'
import concurrent.futures, datetime, http.client, json, os, statistics, subprocess, tempfile, time
program, tasks, rounds = os.environ["PROGRAM"], int(os.environ["OPEN"]), int(os.environ["ROUNDS"])

def serve(folder, latency):
    began = time.time()
    server = subprocess.Popen([program, "serve", "--listen", "127.0.0.1:0", "--store", "sqlite:open.db", "--provider", "mock",
                               "--mock-latency", latency, "--log", "off"], cwd=folder, stdout=subprocess.PIPE)
    address = server.stdout.readline().decode().strip().removeprefix("listening on http://")
    return server, address, began, time.time()

def submit(address, ids):
    connection = http.client.HTTPConnection(address, timeout=60)
    for name in ids:
        body = json.dumps({"task_id": f"open-{name}", "objective": "What goes on after a restart?"})
        connection.request("POST", "/task", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 202, answer.status

def events(address, name):
    connection = http.client.HTTPConnection(address, timeout=60)
    connection.request("GET", f"/task/open-{name}/events")
    for line in iter(connection.getresponse().readline, b""):
        if line.startswith(b"event:"):
            kind = line.split(b":", 1)[1].strip().decode()
        if line.startswith(b"data:"):
            at = json.loads(line.split(b":", 1)[1])["at"]
            yield kind, datetime.datetime.fromisoformat(at).timestamp()
            if kind.startswith("task_s"):
                return

def once():
    with tempfile.TemporaryDirectory() as folder:
        server, address, *_ = serve(folder, "1h")
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            list(pool.map(lambda n: submit(address, range(n, tasks, 16)), range(16)))
        server.kill()
        server.wait()
        server, address, began, listens = serve(folder, "0ms")
        first = min(at for name in range(32) for kind, at in events(address, name) if at >= began and kind.startswith("step_"))
        server.kill()
        server.wait()
        return 1000 * (listens - began), 1000 * (first - began)

runs = [once() for _ in range(rounds)]
print(f"| {tasks:,} open tasks, process killed | median | longest |\n|---|---|---|")
for name, times in zip(["from its start until it listens, ms", "from its start until the first step goes on, ms"], zip(*runs)):
    print(f"| {name} | {statistics.median(times):.0f} | {max(times):.0f} |")
PY
