"""A worker that knows only the predecessor's part of the protocol, to try our master with: it registers once, takes work,
and calls back. It reads no header, names no attempt and no life of its own, sends no heartbeat, and echoes its inputs.

Its environment is the predecessor's: AGENT_ID, CAPABILITIES, AG2_PROFILE, MASTER_URL, CALLBACK_URL. It fails its first
FAILURES steps. It prints where it listens, then each work request as a JSON line.
"""
import json, os, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.request import Request, urlopen

AGENT, PROFILE, MASTER = os.environ["AGENT_ID"], os.environ["AG2_PROFILE"], os.environ["MASTER_URL"]
CALLBACK = os.environ.get("CALLBACK_URL", MASTER + "/result")
failures = int(os.environ.get("FAILURES", "0"))


def post(url, body):
    request = Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"}, method="POST")
    with urlopen(request, timeout=15) as answer:
        return answer.status, json.load(answer)


def call_back(work):
    global failures
    result = {"task_id": work["task_id"], "sub_id": work["sub_id"], "agent_id": AGENT, "metrics": None}
    if failures > 0:
        failures -= 1
        error = {"code": "internal_error", "message": "the model did not answer", "details": None}
        result.update(status="retryable_failure", output={}, ag2_trace=None, error=error)
    else:
        metadata = {"task_id": work["task_id"], "sub_id": work["sub_id"], "command": work["command"]}
        output = {"profile": PROFILE, "provider": "mock", "text": f"{AGENT} did {work['command']}.",
                  "raw_response": {"model": "mock"}, "metadata": metadata, "input": work["data"],
                  "context": work["context"]}
        result.update(status="succeeded", output=output, ag2_trace=[{"step": "thought"}], error=None)
    print(json.dumps({"answered": post(CALLBACK, result)}), flush=True)


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer(b'{"status": "ok"}' if self.path == "/health" else b"{}")

    def do_POST(self):
        work = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        print(json.dumps({"work": work}), flush=True)
        threading.Thread(target=call_back, args=(work,)).start()
        self.answer(b'{"status": "accepted"}')

    def answer(self, content):
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
url = f"http://127.0.0.1:{server.server_address[1]}"
print(f"listening on {url}", flush=True)
declaration = {"agent_id": AGENT, "url": url, "capabilities": json.loads(os.environ["CAPABILITIES"]), "ag2_profile": PROFILE,
               "description": None, "metrics": {"load": 0.0, "avg_latency_ms": None, "recent_failures": 0,
                                                "last_heartbeat": None}}
print(json.dumps({"joined": post(MASTER + "/register", declaration)}), flush=True)
server.serve_forever()
