#!/usr/bin/env bash
# Whole four-step tasks through the real stack, three rounds in turn, the median of
# each. One line of JSON per run goes to the file named by OUT (default bench.jsonl); the summary to the terminal.
set -euo pipefail
cd "$(dirname "$0")/.."
program=${PROGRAM:-target/release/callboard}
out=${OUT:-bench.jsonl}
rounds=${ROUNDS:-3}
for round in $(seq "$rounds"); do
  for concurrency in 1 32 1000; do
    tasks=$((concurrency == 1 ? 2000 : 10000))
    for choice in "memory:|relaxed|process" "sqlite|relaxed|process" "sqlite|strict|process" "sqlite|relaxed|http"; do
      IFS='|' read -r store durability via <<<"$choice"
      place=(); [ "$store" = sqlite ] || place=(--store "$store")
      echo "round $round: $store $durability, via $via, concurrency $concurrency" >&2
      "$program" bench --tasks "$tasks" --concurrency "$concurrency" "${place[@]}" --durability "$durability" \
        --provider mock --via "$via" 2>/dev/null >>"$out"
    done
  done
done
python3 - "$out" <<'PY'
import json, statistics, sys
groups = {}
for line in open(sys.argv[1]):
    run = json.loads(line)
    key = (run["store"], run["durability"], run["via"], run["concurrency"])
    groups.setdefault(key, []).append(run)
names = ["tasks_per_s", "p50_ms", "p99_ms", "max_ms", "cpu_us_per_task", "peak_rss_mb", "commits_per_task",
         "fsyncs_per_task", "fsync_rate_per_s"]
print("| store | via | concurrency | " + " | ".join(names) + " |\n|" + "---|" * (3 + len(names)))
for (store, durability, via, concurrency), runs in sorted(groups.items(), key=lambda item: (item[0][:3], item[0][3])):
    cells = []
    for name in names:
        values = [run[name] for run in runs if run[name] is not None]
        cells.append(f"{statistics.median(values):.6g}" if values else "-")
    print(f"| {store} {durability if store != 'memory' else ''} | {via} | {concurrency} | " + " | ".join(cells) + " |")
PY
