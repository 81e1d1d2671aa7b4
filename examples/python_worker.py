#!/usr/bin/env python3
"""A Callboard worker in one file of plain Python (3.9 or newer, nothing to install). Copy it and replace `perform`.

    callboard serve &
    python3 examples/python_worker.py

It joins the master, takes steps over HTTP, says every few seconds what it works on, and on SIGTERM finishes what it has.
It works under the predecessor's master as well. The environment says the rest:

    AGENT_ID, CAPABILITIES   who it is (py-critic); a JSON list of what it can do (["evaluate"])
    AG2_PROFILE, SLOTS       what kind of specialist it is (AGENT_ID); how many steps at once (4)
    MASTER_URL               where it joins (http://127.0.0.1:8000); CALLBACK_URL: where results go (<MASTER_URL>/result)
    LISTEN_HOST, PORT        where it listens (127.0.0.1; 5000, and 0 takes any free one)
    PUBLIC_URL               where the master reaches it (as it listens; http://<AGENT_ID>:<PORT> when not on loopback)
    LLM_GATEWAY_URL          the gateway that `generate` asks; LLM_GATEWAY_TIMEOUT: seconds, where there is no deadline (60)
    CALLBOARD_INTERNAL_TOKEN the token of all calls between the parts; it may also be the user part of MASTER_URL
    HEARTBEAT_SECONDS        the pause between heartbeats (10, a third of what the master waits)
    GRACE_SECONDS            how long what runs may take after SIGTERM (30)
"""
import base64, contextvars, hmac, json, logging, os, random, re, signal, sys, threading, time, uuid
from http.client import HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.error import HTTPError
from urllib.parse import parse_qs, quote, unquote, urlsplit
from urllib.request import ProxyHandler, Request, build_opener

# === Yours: what the worker does ===


class Failed(Exception):
    """A step that did not succeed. The master tries a retryable one again; any other ends the task."""

    def __init__(self, message, retryable=True, code="internal_error", details=None):
        super().__init__(message)
        self.retryable, self.code, self.details = retryable, code, details


def perform(command, data, context):
    """Does one step, and answers a dict with at least `text` (`ag2_trace`, a list of objects, becomes the step's trace).
    `command` is the capability; `data` holds `objective`, `previous_output` and the task's `context`; `context` has a
    `stage_<capability>` for each earlier step. Call `progress()` when it takes long: who shows none for two minutes is
    taken for stuck."""
    objective = data.get("objective") or ""
    draft = (data.get("previous_output") or {}).get("text") or ""
    if command == "evaluate":
        return evaluate(objective, draft)
    if GATEWAY_URL:
        return generate(f"You are a specialist in: {command}.", f"{objective}\n\n{draft}".strip())
    closest = sorted(sentences(draft or objective), key=lambda sentence: -len(terms(sentence) & terms(objective)))
    return {"text": " ".join(closest[:3])}


def evaluate(objective, draft):
    """Judges a draft: how long it is, and how many of the question's words it takes up."""
    if not draft.strip():
        raise Failed("there is no draft to evaluate", retryable=False, code="validation_error")
    asked = terms(objective)
    missing = sorted(asked - terms(draft))
    score = round(1 - len(missing) / max(len(asked), 1), 2)
    words, count = len(re.findall(r"\w+", draft)), len(sentences(draft))
    text = f"{words} words in {count} sentences; score {score}. Not taken up: {', '.join(missing) or 'nothing'}."
    return {"text": text, "score": score, "words": words, "sentences": count, "missing": missing}


def terms(text):
    return {word for word in re.findall(r"\w+", text.lower()) if len(word) > 4}


def sentences(text):
    return [sentence for sentence in re.split(r"(?<=[.!?])\s+", text.strip()) if sentence]


# === What perform may call ===

CURRENT = contextvars.ContextVar("step")


def progress(phase="thinking"):
    """Says that the step goes on, and with what: `thinking`, `model` or `tool`. Ends a step that nobody waits for."""
    step = CURRENT.get()
    step.phase, step.moved = phase, time.monotonic()
    if step.is_dropped:
        raise Failed("the master dropped this attempt", code="cancelled")


def generate(system_prompt, user_prompt):
    """Asks a model through the gateway; answers `text`, `provider` and `raw_response`."""
    step = CURRENT.get()
    stages = [stage for stage in step.context.values() if isinstance(stage, dict)]
    metadata = {"task_id": step.task_id, "sub_id": step.sub_id, "command": step.command,
                "question": step.data.get("objective"),  # both for providers that quote
                "passages": [passage for stage in stages for passage in stage.get("passages") or []]}
    body = {"system_prompt": system_prompt, "user_prompt": user_prompt, "metadata": metadata}
    step.call_id = str(uuid.uuid4())
    headers, timeout = {**step.rides_along, "Callboard-Call-Id": step.call_id}, GATEWAY_TIMEOUT
    if step.deadline:  # our master asks the gateway how the call does, and ends it when need be
        timeout = max(1, step.deadline - time.monotonic())
        headers["Callboard-Deadline-Ms"] = str(int(timeout * 1000))
    progress("model")
    # Only what says "later" is asked again: a model that failed is for the master to count.
    status, answer = call_until(step, 5, (429, 503), f"{GATEWAY_URL}/generate", body, timeout, headers)
    step.call_id = None
    progress()
    if status != 200:
        fault = f"the gateway answered {status}: {answer.get('message') or answer.get('detail')}"
        details = answer.get("details") or {}
        is_retryable = status >= 429 and details.get("kind") != "fatal"
        raise Failed(fault, is_retryable, answer.get("code") or "internal_error", details or None)
    return {"text": answer["output_text"], "provider": answer["provider"], "raw_response": answer.get("raw_response")}


# === The worker ===

AGENT_ID = os.environ.get("AGENT_ID", "py-critic")
CAPABILITIES = json.loads(os.environ.get("CAPABILITIES", '["evaluate"]'))
PROFILE = os.environ.get("AG2_PROFILE", AGENT_ID)
SLOTS = int(os.environ.get("SLOTS", "4"))
MASTER_URL = os.environ.get("MASTER_URL", "http://127.0.0.1:8000").rstrip("/")
CALLBACK_URL = os.environ.get("CALLBACK_URL", f"{MASTER_URL}/result")
HOST, PORT = os.environ.get("LISTEN_HOST", "127.0.0.1"), int(os.environ.get("PORT", "5000"))
GATEWAY_URL = os.environ.get("LLM_GATEWAY_URL", "").rstrip("/")
GATEWAY_TIMEOUT = float(os.environ.get("LLM_GATEWAY_TIMEOUT", "60"))
TOKEN = os.environ.get("CALLBOARD_INTERNAL_TOKEN", "")
HEARTBEAT_SECONDS = float(os.environ.get("HEARTBEAT_SECONDS", "10"))
GRACE_SECONDS = float(os.environ.get("GRACE_SECONDS", "30"))

MAX_BODY = 16 * 1024 * 1024
MAX_UNDELIVERED = 64  # results that the master has yet to take; past them nothing more is accepted
RIDES_ALONG = ("Callboard-Task", "Callboard-Step", "Callboard-Attempt", "Callboard-Priority", "Callboard-Budget",
               "traceparent")  # headers of a step that its model calls carry on
LATER = (408, 429, 500, 502, 503, 504)
log = logging.getLogger("worker")


class Step:
    """One attempt at one step."""

    def __init__(self, work, headers):
        self.task_id, self.sub_id, self.command = work["task_id"], work["sub_id"], work["command"]
        self.data, self.context = work.get("data", {}), work.get("context", {})
        self.rides_along = {name: headers[name] for name in RIDES_ALONG if headers.get(name)}
        # Neither is there under the predecessor's master.
        self.attempt, left_ms = number(headers.get("Callboard-Attempt")), number(headers.get("Callboard-Deadline-Ms"))
        self.deadline = time.monotonic() + left_ms / 1000 if left_ms else None
        self.phase, self.moved, self.call_id = "thinking", time.monotonic(), None
        self.is_running, self.is_dropped = True, False

    def perform(self, how):
        """Its result, as both reply modes give it."""
        CURRENT.set(self)
        status, output, error = "succeeded", {}, None
        try:
            own = how(self.command, self.data, self.context)
            output = json.loads(json.dumps({**self.output(), **own}, allow_nan=False))
        except Failed as failed:
            status = "retryable_failure" if failed.retryable else "fatal_failure"
            error = envelope(failed.code, str(failed), failed.details)
        except Exception as fault:
            log.exception("%s: perform fell over", self.sub_id)
            status, error = "retryable_failure", envelope("internal_error", f"{type(fault).__name__}: {fault}")
        self.is_running = False
        return {"task_id": self.task_id, "sub_id": self.sub_id, "agent_id": AGENT_ID, "status": status,
                "output": output, "ag2_trace": output.pop("ag2_trace", None), "error": error}

    def output(self):
        """The keys that every output has. References to its inputs are enough: the master has them."""
        refs = [stage["sub_id"] for stage in self.data.get("stages") or []]
        return {"profile": PROFILE, "provider": "none", "text": "", "raw_response": {"model": "none"},
                "metadata": {"task_id": self.task_id, "sub_id": self.sub_id, "command": self.command},
                "input": {"refs": refs[-1:]}, "context": {"refs": refs}}

    def active(self):
        """As a heartbeat lists it. A result on its way to the master stalls nobody."""
        age = int((time.monotonic() - self.moved) * 1000) if self.is_running else 0
        listed = {"task_id": self.task_id, "sub_id": self.sub_id, "attempt": self.attempt, "phase": self.phase,
                  "progress_age_ms": age, "call_id": self.call_id}
        return {name: value for name, value in listed.items() if value is not None}


class Worker:
    def __init__(self, how):
        self.how, self.incarnation, self.url, self.fault = how, str(uuid.uuid4()), None, None
        self.steps, self.lock = {}, threading.Condition()  # a step stays until the master has its result
        self.leaving = threading.Event()

    def register(self):
        """Joins: five tries soon after each other, then slowly. What is configured wrong ends the program."""
        declaration = {"agent_id": AGENT_ID, "url": self.url, "capabilities": CAPABILITIES, "ag2_profile": PROFILE,
                       "description": "a worker in Python", "slots": SLOTS, "incarnation": self.incarnation}
        tries = 0
        while not self.leaving.is_set():
            status, answer = call("POST", f"{MASTER_URL}/register", declaration, 15)
            if status < 300:
                return log.info("joined")
            log.warning("the master did not take this worker: %s %s", status, answer)
            if status in (401, 403, 422):
                self.fault = f"{AGENT_ID} is refused: {status} {answer.get('message')}"
                return self.leaving.set()
            tries += 1
            self.leaving.wait((2**tries / 4 if tries < 5 else 30) * random.uniform(0.5, 1))

    def beat_forever(self):
        while True:
            time.sleep(HEARTBEAT_SECONDS * random.uniform(0.9, 1))
            steps = list(self.steps.values())
            listed = [step.active() for step in steps if step.attempt is not None]
            beat = {"agent_id": AGENT_ID, "incarnation": self.incarnation, "load": min(1, self.running() / SLOTS),
                    "active_tasks": [step.sub_id for step in steps], "steps": listed}
            status, answer = call("POST", f"{MASTER_URL}/heartbeat", beat, 5)
            if status == 404:
                continue  # the predecessor's master knows no heartbeats
            if status != 200:
                log.warning("a heartbeat was not taken: %s %s", status, answer)
                continue
            for gone in answer.get("drop") or []:
                self.drop(gone.get("task_id"), gone.get("sub_id"), gone.get("attempt"))
            if answer.get("known") is False:
                self.register()

    def drain(self):
        """Leaves, and finishes what runs."""
        log.info("leaving, with %s under way", len(self.steps))
        # Its own life, and not one that has joined under the same name since.
        life = {"Callboard-Incarnation": self.incarnation}
        call("DELETE", f"{MASTER_URL}/register/{quote(AGENT_ID, safe='')}", None, 5, life)
        with self.lock:
            self.lock.wait_for(lambda: not self.steps, GRACE_SECONDS)

    def running(self):
        return sum(step.is_running for step in list(self.steps.values()))

    def take(self, step):
        """Takes a step up, unless there is a refusal: its status and body. The same one twice is taken once."""
        key = (step.task_id, step.sub_id, step.attempt)
        with self.lock:
            if key in self.steps:
                return 409, envelope("conflict", f"{step.sub_id} is here already", {"reason": "duplicate"})
            if self.leaving.is_set():
                return 503, envelope("overloaded", f"{AGENT_ID} is on its way out", {"reason": "draining"})
            if self.running() >= SLOTS or len(self.steps) >= SLOTS + MAX_UNDELIVERED:
                return 503, envelope("overloaded", f"all {SLOTS} slots of {AGENT_ID} are busy", {"reason": "slots"})
            self.steps[key] = step
            return None

    def run(self, step, deliver):
        try:
            result = step.perform(self.how)
            if not step.is_dropped:
                deliver(step, result)
        finally:
            with self.lock:
                self.steps.pop((step.task_id, step.sub_id, step.attempt), None)
                self.lock.notify_all()

    def call_back(self, step, result):
        """Posts a result for some ten minutes, until it is taken or refused."""
        body = result if step.attempt is None else {**result, "attempt": step.attempt}
        status, answer = call_until(step, 70, LATER, CALLBACK_URL, body, 30)
        if status >= 300:
            log.warning("%s: the result was not taken: %s %s", step.sub_id, status, answer)
        if status in (400, 413, 422):  # it would be refused again: the step has failed
            error = envelope("validation_error", f"the result was refused: {status} {answer.get('message')}")
            failure = {**body, "status": "fatal_failure", "output": {}, "ag2_trace": None, "error": error}
            call_until(step, 70, LATER, CALLBACK_URL, failure, 30)

    def drop(self, task_id, sub_id, attempt):
        """Stops an attempt as well as Python can: its model call ends, its next `progress` fails, nothing is reported."""
        step = self.steps.get((task_id, sub_id, attempt))
        if step and step.is_running and not step.is_dropped:
            log.info("%s: dropped", sub_id)
            step.is_dropped = True
            if step.call_id:
                call("DELETE", f"{GATEWAY_URL}/generate/{step.call_id}", None, 5)


class Handler(BaseHTTPRequestHandler):
    protocol_version, timeout, wbufsize, disable_nagle_algorithm = "HTTP/1.1", 60, 65536, True
    worker = None

    def do_GET(self):
        is_there = self.path == "/health"
        self.answer(200, {"status": "ok"}) if is_there else self.send_error(404)

    def do_DELETE(self):
        path = urlsplit(self.path)
        parts = [unquote(part) for part in path.path.split("/")]
        if len(parts) != 4 or parts[1] != "work":
            self.send_error(404)
        elif self.is_allowed():
            self.worker.drop(parts[2], parts[3], number(parse_qs(path.query).get("attempt", [None])[0]))
            self.answer(200, {"status": "accepted"})

    def do_POST(self):
        length = number(self.headers.get("Content-Length"))
        if length is None or length > MAX_BODY:
            self.close_connection = True
            return self.refuse(413, "validation_error", f"a body of at most {MAX_BODY} bytes is wanted, and its length")
        body = self.rfile.read(length)
        if self.path != "/work":
            return self.send_error(404)
        if not self.is_allowed():
            return None
        try:
            work = json.loads(body)
        except ValueError as error:
            return self.refuse(400, "validation_error", f"the body is not JSON: {error}")
        fault = fault_of(work, unquote(self.headers.get("Callboard-Agent") or AGENT_ID))
        if fault:
            return self.refuse(422, "validation_error", fault)
        if unquote(self.headers.get("Callboard-Incarnation") or self.worker.incarnation) != self.worker.incarnation:
            return self.answer(409, envelope("conflict", f"{AGENT_ID} has started anew", {"reason": "restarted"}))
        step, is_sync, worker = Step(work, self.headers), work.get("reply_mode") == "sync", self.worker
        refusal = worker.take(step)
        if refusal and (is_sync or refusal[0] != 409):
            return self.answer(*refusal)
        if is_sync:
            return worker.run(step, lambda _, result: self.answer(200, result))
        if not refusal:
            threading.Thread(target=worker.run, args=(step, worker.call_back), daemon=True).start()
        return self.answer(200, {"status": "accepted"})

    def is_allowed(self):
        kind, _, given = (self.headers.get("Authorization") or "").partition(" ")
        if kind.lower() == "basic":
            try:
                given = base64.b64decode(given).decode(errors="replace").partition(":")[2]
            except ValueError:
                given = ""
        if not TOKEN or hmac.compare_digest(given.encode(), TOKEN.encode()):
            return True
        self.refuse(401, "unauthorized", "CALLBOARD_INTERNAL_TOKEN is wanted, as a bearer token or as a password")
        return False

    def refuse(self, status, code, message):
        self.answer(status, envelope(code, message))

    def send_error(self, status, message=None, explain=None):  # also called by http.server itself
        self.close_connection = True  # a body may not have been read
        self.refuse(status, "not_found" if status == 404 else "validation_error", message or f"there is no {self.path}")

    def answer(self, status, body):
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        if status == 503:
            self.send_header("Retry-After", "1")
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(content)
        self.wfile.flush()  # here, because a worker that leaves ends once its last answer is out

    def log_message(self, form, *values):
        log.debug(form, *values)


def fault_of(work, agent):
    """What is wrong with a WorkRequest; none when it can be done here."""
    if not isinstance(work, dict):
        return "an object is wanted"
    for name, kind in {"task_id": str, "sub_id": str, "command": str, "data": dict, "context": dict}.items():
        if not isinstance(work.get(name, {} if kind is dict else None), kind):
            return f"{name}: {'a string' if kind is str else 'an object'} is wanted"
    if agent != AGENT_ID or work["command"] not in CAPABILITIES:
        return f"this is {AGENT_ID}, which can {', '.join(CAPABILITIES)}"
    return None


def envelope(code, message, details=None):
    return {"code": code, "message": message, "details": details}


def number(text):
    return int(text) if text and text.isdecimal() else None


OPENER = build_opener(ProxyHandler({}))  # the parts of one system talk to each other directly


def call(method, url, body, timeout, headers=None):
    """One HTTP call with JSON; answers status and body. Who cannot be reached has answered 503."""
    parts = urlsplit(url)
    headers = {"Content-Type": "application/json", **(headers or {})}
    if parts.username is not None:
        user, password = ("worker", parts.username) if parts.password is None else (parts.username, parts.password)
        pair = f"{unquote(user)}:{unquote(password)}".encode()
        headers["Authorization"] = "Basic " + base64.b64encode(pair).decode()
    elif TOKEN:
        headers["Authorization"] = f"Bearer {TOKEN}"
    url = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    data = None if body is None else json.dumps(body).encode()
    try:
        try:
            response = OPENER.open(Request(url, data, headers, method=method), timeout=timeout)
        except HTTPError as refusal:
            response = refusal
        with response:
            status, content = response.status, response.read(MAX_BODY)
    except (OSError, HTTPException) as error:
        return 503, envelope("worker_unavailable", f"{parts.hostname} cannot be reached: {error}")
    try:
        answer = json.loads(content)
    except ValueError:
        answer = None
    return status, answer if isinstance(answer, dict) else {"message": content[:200].decode(errors="replace")}


def call_until(step, tries, later, url, body, timeout, headers=None):
    """Posts again and again, with growing pauses, while the answer says "later" and the step has not been dropped."""
    for exponent in range(tries):
        status, answer = call("POST", url, body, timeout, headers)
        if status not in later or step.is_dropped:
            break
        time.sleep(min(10, 0.1 * 2**exponent) * random.uniform(0.5, 1))
    return status, answer


def run(how=perform):
    """Runs a worker that performs its steps with this function, until SIGTERM."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s")
    is_local = HOST in ("127.0.0.1", "localhost")
    if not is_local and not TOKEN and os.environ.get("CALLBOARD_INSECURE") not in ("1", "true"):
        sys.exit(f"others can reach {HOST}: set CALLBOARD_INTERNAL_TOKEN, or CALLBOARD_INSECURE=1 to go without")
    worker = Handler.worker = Worker(how)
    ThreadingHTTPServer.request_queue_size = 128
    server = ThreadingHTTPServer((HOST, PORT), Handler)
    port = server.server_address[1]
    worker.url = os.environ.get("PUBLIC_URL") or f"http://{HOST if is_local else AGENT_ID}:{port}"
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: threading.Thread(target=worker.leaving.set).start())
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"listening on http://{HOST}:{port}", flush=True)
    worker.register()
    threading.Thread(target=worker.beat_forever, daemon=True).start()
    worker.leaving.wait()
    worker.drain()
    server.shutdown()
    sys.exit(worker.fault)


if __name__ == "__main__":
    run()
