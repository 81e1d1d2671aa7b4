"""A worker in the hands of a test: it prints each step that it begins, ends it once the file RELEASE is there, and echoes
its inputs in the output, as the predecessor's workers do. The rest is `examples/python_worker.py`.
"""
import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples"))
import python_worker as worker  # noqa: E402


def perform(command, data, context):
    step = worker.CURRENT.get()
    print(f"began {step.sub_id} {step.attempt}", flush=True)
    while not os.path.exists(os.environ["RELEASE"]):
        worker.progress()
        time.sleep(0.01)
    return {"text": f"{worker.AGENT_ID} did {command}.", "input": data, "context": context}


worker.run(perform)
