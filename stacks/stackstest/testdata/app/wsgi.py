"""An application that behaves and misbehaves on request, for the conformance suite.

Environment:
STARTUP_DELAY  seconds that the import takes
FAIL_START     a message; the import fails with it
NEVER_READY    anything; /healthz answers 503 for ever
FLAKY          a number: every so manieth request of /flaky fails
API_TOKEN      what /v2/health wants
LEAK           anything; /header tells what it got
"""

import hashlib
import itertools
import mmap
import os
import signal
import sys
import threading
import time

from flask import Flask, abort, jsonify, request

if os.environ.get("STARTUP_DELAY"):
    time.sleep(float(os.environ["STARTUP_DELAY"]))
if os.environ.get("FAIL_START"):
    # Not sys.exit: gunicorn would start such a worker again and again.
    raise RuntimeError(os.environ["FAIL_START"])

app = Flask(__name__)
kept = []  # what /memory took; appending is atomic
served = []  # an entry for each request of /exit-at
latest = {}  # of /racy, where all threads write
asked = itertools.count(1)  # of /flaky; counting is atomic


def number(name, default=None, most=None):
    """A parameter of the query, bounded so that a typing error ends."""
    text = request.args.get(name, default)
    try:
        value = float(text)
    except (TypeError, ValueError):
        abort(400, f"{name}={text}: not a number")
    if not 0 <= value <= most:
        abort(400, f"{name}={text}: must be 0 to {most}")
    return value


def take(mib):
    """Memory from the kernel of exactly that size, every page of it written.

    Private: what is shared counts as page cache in a cgroup."""
    block = mmap.mmap(-1, max(1, int(mib)) << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    for page in range(0, len(block), mmap.PAGESIZE):
        block[page] = 1
    return block


@app.get("/")
def root():
    return jsonify(app="stackstest", pid=os.getpid(), thread=threading.current_thread().name)


@app.get("/healthz")
def healthz():
    if os.environ.get("NEVER_READY"):
        return jsonify(status="unavailable", error="NEVER_READY is set"), 503
    return jsonify(status="ok", pid=os.getpid())


@app.post("/v2/health")
def deep_health():
    """Answers 204 to whoever has the token and asks for it."""
    if request.headers.get("Authorization") != f"Bearer {os.environ.get('API_TOKEN')}":
        abort(401)
    return ("", 204) if request.get_json() == {"deep": True} else ("", 400)


@app.get("/stream")
def stream():
    """Sends server-sent events, some seconds apart, and that it is done."""
    events, gap = int(number("events", 20, most=10_000)), number("gap", 0.01, most=10)

    def sent():
        for i in range(events):
            yield f"data: {i}\n\n"
            time.sleep(gap)
        yield "data: [DONE]\n\n"

    return app.response_class(sent(), mimetype="text/event-stream")


@app.post("/predict")
def predict():
    """Reads the whole body, whatever it is, and says what it was."""
    digest, length = hashlib.sha256(), 0
    while chunk := request.stream.read(1 << 16):
        digest.update(chunk)
        length += len(chunk)
    return jsonify(
        sha256=digest.hexdigest(),
        length=length,
        pid=os.getpid(),
        thread=threading.current_thread().name,
    )


@app.post("/racy")
def racy():
    """Says the digest of the body, by way of a variable that all threads share.

    The race is that of many an app: right with one thread, wrong with more."""
    latest["digest"] = hashlib.sha256(request.get_data()).hexdigest()
    time.sleep(0.01)  # what a model would take
    return jsonify(sha256=latest["digest"])


@app.get("/flaky")
def flaky():
    """Takes a moment, or, every so manieth time, fails at once."""
    every = int(os.environ.get("FLAKY", "0"))
    if every and next(asked) % every == 0:
        abort(500, "FLAKY is set")
    time.sleep(number("s", 0.02, most=600))
    return jsonify(status="ok")


@app.get("/cores")
def cores():
    """The cores that this process may use."""
    return jsonify(cores=sorted(os.sched_getaffinity(0)))


@app.route("/sleep", methods=["GET", "POST"])
def sleep():
    request.get_data()
    seconds = number("s", 0.1, most=600)
    time.sleep(seconds)
    return jsonify(slept=seconds, pid=os.getpid())


@app.route("/status", methods=["GET", "POST"])
def status():
    request.get_data()
    code = int(number("code", 200, most=599))
    if code < 200:
        abort(400, f"code={code}: must be 200 to 599")
    return jsonify(status=code), code


@app.get("/memory")
def memory():
    """Takes memory and keeps it until the process ends."""
    kept.append(take(number("mib", most=1 << 16)))
    return jsonify(kept_mib=sum(len(block) for block in kept) >> 20, pid=os.getpid())


@app.get("/spike")
def spike():
    """Takes memory, holds it for a moment, and gives it back."""
    mib, milliseconds = number("mib", most=1 << 16), number("ms", 0, most=600_000)
    with take(mib):
        time.sleep(milliseconds / 1000)
    return jsonify(spike_mib=int(mib), ms=milliseconds, pid=os.getpid())


@app.get("/exit")
def leave():
    """Ends this process at once, without an answer."""
    code = int(number("code", 1, most=255))
    sys.stderr.write(f"stackstest: exit {code}\n")
    sys.stderr.flush()
    os._exit(code)


@app.get("/exit-at")
def leave_at():
    """Ends this process at its n-th such request, and answers the others."""
    served.append(None)
    if len(served) == int(number("n", 5, most=1 << 20)):
        os._exit(1)
    return jsonify(served=len(served), pid=os.getpid())


@app.get("/kill-parent")
def kill_parent():
    """Kills the process above at the n-th such request: gunicorn's master, seen from a worker.

    Only that: above Flask's own server is whoever started it."""
    served.append(None)
    if len(served) != int(number("n", 1, most=1 << 20)):
        time.sleep(0.05)
        return jsonify(served=len(served), pid=os.getpid())
    parent = os.getppid()
    with open(f"/proc/{parent}/cmdline", "rb") as file:
        if b"gunicorn" not in file.read() or parent == 1:
            abort(409, f"the parent, process {parent}, is not gunicorn's master")
    os.kill(parent, int(number("signal", signal.SIGKILL, most=64)))
    return jsonify(killed=parent, pid=os.getpid())


@app.get("/environment")
def environment():
    """A variable of this process's environment, as it is."""
    name = request.args.get("name", "")
    if name not in os.environ:
        abort(404, f"{name} is not in the environment")
    return os.environ[name]


@app.get("/header")
def header():
    """A header of this request. With LEAK set it is printed, too, and in an error."""
    value = request.headers.get(request.args.get("name", ""), "")
    if os.environ.get("LEAK"):
        print("got", value, flush=True)
        return f"got {value}", 500
    return value


@app.get("/busy")
def busy():
    """Burns that many seconds of this thread's CPU time."""
    seconds = number("s", 0.1, most=600)
    start = time.thread_time()
    value = 0
    while time.thread_time() - start < seconds:
        value = hashlib.sha256(str(value).encode()).digest()[0]
    return jsonify(busy=seconds, pid=os.getpid())
