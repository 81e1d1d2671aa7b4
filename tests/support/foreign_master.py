"""A master that speaks only the predecessor's part of the protocol, to try workers under: `/register`, `/task`, `/result`.

It runs each task's four stages one after the other before it answers, over the first registered worker with the
capability, and knows nothing else: no heartbeats, no leaving, no attempts. `foreign_master.py [sync|async]`; it prints
where it listens, then one JSON line for each request: `{"method", "path", "status", "body"}`.
"""
import json, sys, threading
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

STAGES = ["analyze", "retrieve", "evaluate", "finalize"]
PATIENCE = 60
STATUSES = ("succeeded", "retryable_failure", "fatal_failure")
MODE = sys.argv[1] if len(sys.argv) > 1 else "sync"

registered = {}  # by agent id, in the order of joining
results = {}  # by (task_id, sub_id), for whoever waits for them
arrived = threading.Condition()
said = threading.Lock()


class Invalid(Exception):
    """What the predecessor's framework answers with 422."""


def field(body, name, kind, least=0, is_optional=False):
    value = body.get(name)
    if value is None and is_optional:
        return None
    if not isinstance(value, kind) or isinstance(value, str) and len(value.strip()) < least:
        raise Invalid(f"{name}: {value!r}")
    return value


def check_metrics(body):
    metrics = field(body, "metrics", dict, is_optional=True)
    if metrics is not None and not (0 <= field(metrics, "load", (int, float)) <= 1 and metrics["recent_failures"] >= 0):
        raise Invalid(f"metrics: {metrics!r}")


def declaration(body):
    field(body, "agent_id", str, 3), field(body, "ag2_profile", str, 3)
    field(body, "description", str, is_optional=True), check_metrics(body)
    if urlsplit(field(body, "url", str)).scheme not in ("http", "https"):
        raise Invalid("url")
    if not field(body, "capabilities", list) or not all(isinstance(name, str) for name in body["capabilities"]):
        raise Invalid("capabilities")
    return body


def result(body, names=("task_id", "sub_id", "agent_id")):
    for name in names:
        field(body, name, str, 1)
    if body.get("status") not in STATUSES:
        raise Invalid(f"status: {body.get('status')!r}")
    field(body, "output", dict), check_metrics(body)
    field(body, "ag2_trace", list, is_optional=True)
    error = field(body, "error", dict, is_optional=True)
    if error is not None:
        field(error, "code", str, 1), field(error, "message", str), field(error, "details", dict, is_optional=True)
    return body


def work(url, request):
    """Posts to a worker as the predecessor's master does: no token, no headers of ours; only 200 is success."""
    parts = urlsplit(url)
    connection = HTTPConnection(parts.hostname, parts.port or 80, timeout=PATIENCE)
    try:
        connection.request("POST", parts.path.rstrip("/") + "/work", json.dumps(request),
                           {"Content-Type": "application/json"})
        response = connection.getresponse()
        content = response.read()
    finally:
        connection.close()
    if response.status != 200:
        raise RuntimeError(f"the worker answered {response.status}: {content[:500]!r}")
    return json.loads(content)


def stage(agent, request):
    """One stage's result, which came as the answer or by /result."""
    answer = work(agent["url"], dict(request, reply_mode=MODE))
    if MODE == "sync":
        return result(answer)
    if answer != {"status": "accepted"}:
        raise RuntimeError(f"the worker did not accept: {answer}")
    key = (request["task_id"], request["sub_id"])
    with arrived:
        if not arrived.wait_for(lambda: key in results, PATIENCE):
            raise RuntimeError(f"no result for {key}")
        return results.pop(key)


def pipeline(body):
    task_id, objective = field(body, "task_id", str, 2).strip(), field(body, "objective", str, 1)
    context, previous, stages = dict(body.get("context") or {}), None, []
    can = lambda name: next((agent for agent in registered.values() if name in agent["capabilities"]), None)
    for position, name in enumerate(STAGES, 1):
        agent = can(name)
        if agent is None and name == "finalize":
            break
        if agent is None:
            raise RuntimeError(f"nobody can {name}")
        data = {"objective": objective, "previous_output": previous, "context": context}
        sub_id = f"{task_id}-P{position}"
        done = stage(agent, {"task_id": task_id, "sub_id": sub_id, "command": name, "data": data, "context": context,
                             "priority": "normal"})
        stages.append({"stage": name, "agent_id": done["agent_id"], "sub_id": sub_id, "status": done["status"],
                       "output": done["output"], "error": done["error"]})
        if done["status"] != "succeeded":
            break
        previous = done["output"]
        context = {**context, f"stage_{name}": previous}
    final = stages[-1]["output"] if stages[-1]["status"] == "succeeded" else None
    return {"task_id": task_id, "stages": stages, "final_output": final}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def respond(self):
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
        try:
            status, answer = self.route(body)
        except Invalid as fault:
            status, answer = 422, {"detail": [{"type": "value_error", "msg": str(fault)}]}
        except Exception as fault:
            print(f"{type(fault).__name__}: {fault}", file=sys.stderr, flush=True)
            status, answer = 500, None
        seen = {"method": self.command, "path": self.path, "status": status, "body": body}
        with said:
            print(json.dumps(seen), flush=True)
        content = b"Internal Server Error" if answer is None else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain" if answer is None else "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_DELETE = respond

    def route(self, body):
        call = (self.command, self.path)
        if call == ("POST", "/register"):
            registered[body.get("agent_id")] = declaration(body)
            return 202, {"status": "accepted"}
        if call == ("POST", "/result"):
            with arrived:
                results[body.get("task_id"), body.get("sub_id")] = result(body)
                arrived.notify_all()
            return 202, {"status": "accepted"}
        if call == ("POST", "/task"):
            return 202, pipeline(body)
        return 404, {"detail": "Not Found"}

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(f"listening on http://127.0.0.1:{server.server_address[1]}", flush=True)
server.serve_forever()
