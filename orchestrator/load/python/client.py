"""The load client of the engine python-requests.

It sends a batch the way that people do with Python's requests: one loop
(single), multiprocessing's process pool (mp) or its thread pool (mt), with
requests.request for each, or with a Session for each worker where connections
are kept. It is started by stackmeter, which talks to it over its streams:

  stdin   the order as a line of JSON, the payloads' bytes one after the other,
          then "fire"; the end of the stream stops the batch
  stdout  lines of JSON: ready, done (how many so far), report
  stderr  last words

Every request has a place in memory that all processes share, so that what was
finished is known however the batch ends.
"""

import base64
import http.client
import json
import mmap
import multiprocessing
import os
import struct
import sys
import threading
import time
import traceback
from multiprocessing import connection
from multiprocessing.pool import ThreadPool

try:
    import requests
    import urllib3
except ImportError as missing:
    sys.exit(f"{missing}; this Python has to have requests (Debian: apt-get install python3-requests)")

# What became of a request, by its number in a figure; 0 is not finished. The
# reader of the report has the same list.
OUTCOMES = ("", "reply", "connect", "timeout", "reset", "truncated", "protocol", "status")

# A request's figure: begin and end (nanoseconds, monotonic), bytes sent and
# received, the client that sent it, the outcome. The outcome is written last.
FIGURE = struct.Struct("<qqqqii")
COUNTER = struct.Struct("<qqq")  # a client's finished requests, its process's CPU nanoseconds, its errors
MESSAGE = 256  # bytes of an error's message
CHUNK = 10 * 1024  # what requests itself reads of a body at a time
PROGRESS = 0.25  # seconds between two lines of progress


def drawn(seed, i, n):
    """The payload that the i-th request sends: the i-th number of SplitMix64, as the other engine draws it."""
    whole = (1 << 64) - 1
    x = (seed + (i + 1) * 0x9E3779B97F4A7C15) & whole
    x = ((x ^ x >> 30) * 0xBF58476D1CE4E5B9) & whole
    x = ((x ^ x >> 27) * 0x94D049BB133111EB) & whole
    return (x ^ x >> 31) % n


class Refused(Exception):
    """An answer that is not accepted: its kind and a message."""

    def __init__(self, kind, message):
        super().__init__(message)
        self.kind = kind


class Batch:
    """The order, its payloads and the shared memory of its clients."""

    def __init__(self, stdin):
        self.order = order = json.loads(stdin.readline())
        self.requests = order["requests"]
        self.clients = order["clients"]
        self.timeout = order["timeout_ns"]
        self.arguments = [self.prepare(p, stdin.read(p["size"])) for p in order["payloads"] or []]
        if not self.arguments:
            self.arguments = [{"headers": order["headers"]}]
        self.figures = mmap.mmap(-1, self.requests * FIGURE.size)
        self.messages = mmap.mmap(-1, self.requests * MESSAGE)
        self.counters = mmap.mmap(-1, self.clients * COUNTER.size)
        self.over = mmap.mmap(-1, 1)  # not 0: there are more errors than allowed

    def prepare(self, payload, data):
        """What requests.request is given for a payload, from memory."""
        headers = dict(self.order["headers"] or {})
        if self.order["field"]:
            file = (payload["name"], data, payload["content_type"])
            return {"headers": headers, "files": {self.order["field"]: file}}
        if not any(name.lower() == "content-type" for name in headers):
            headers["Content-Type"] = payload["content_type"]
        return {"headers": headers, "data": data}

    def finished(self):
        return sum(COUNTER.unpack_from(self.counters, i * COUNTER.size)[0] for i in range(self.clients))

    def failed(self):
        """How many errors there are; it is asked only after one."""
        return sum(COUNTER.unpack_from(self.counters, i * COUNTER.size)[2] for i in range(self.clients))

    def payload(self, i):
        """What the i-th request sends."""
        seed, n = self.order["draw"], len(self.arguments)
        return self.arguments[i % n if seed is None else drawn(seed, i, n)]

    def report(self, gun, cpu, failure):
        figures = bytes(self.figures)
        for i in range(self.clients):
            cpu += COUNTER.unpack_from(self.counters, i * COUNTER.size)[1]
        first = {}
        for i, (_, end, _, _, _, outcome) in enumerate(FIGURE.iter_unpack(figures)):
            if outcome > 1 and (outcome not in first or end < first[outcome][0]):
                first[outcome] = end, i
        messages = {}
        for outcome, (_, i) in first.items():
            text = self.messages[i * MESSAGE : (i + 1) * MESSAGE].rstrip(b"\0")
            messages[OUTCOMES[outcome]] = text.decode("utf-8", "replace")
        return {
            "gun": gun,
            "cpu": cpu,
            "messages": messages,
            "figures": base64.b64encode(figures).decode("ascii"),
            "failure": failure,
        }


class Process:
    """What the clients of one process have in common."""

    def __init__(self, batch, clients, counts_cpu):
        self.batch = batch
        self.clients = clients
        self.counts_cpu = counts_cpu
        self.cpu = time.process_time_ns()
        self.lock = threading.Lock()
        self.replies = self.errors = 0
        self.hopeless = False
        self.deadlines = {}  # of each client: when its request is over, and its socket
        threading.Thread(target=self.watch, daemon=True).start()

    def count(self, reply):
        """Notes an outcome; nobody goes on when nothing has ever worked."""
        limit = self.batch.order["give_up"]
        with self.lock:
            self.replies += reply
            self.errors += not reply
            if limit and not self.replies and self.errors >= max(limit, self.clients):
                self.hopeless = True

    def watch(self):
        """Ends the connection of a request whose time is over.

        The time-out of requests is that of each wait for the socket: a server
        that sends a byte now and then would keep a client for ever.
        """
        while True:
            time.sleep(min(max(self.batch.timeout / 1e9 / 20, 0.01), 1))
            now = time.monotonic_ns()
            for deadline, socket in list(self.deadlines.values()):
                if deadline < now and socket is not None:
                    try:
                        socket.shutdown(2)
                    except OSError:
                        pass  # it is closed already


class Client:
    """One of the batch's clients."""

    def __init__(self, process, index):
        self.process = process
        self.batch = process.batch
        self.index = index
        self.done = self.errors = 0
        self.deadline = 0
        self.answered = False
        self.session = self.socket = None
        if self.batch.order["keepalive"]:
            self.session = requests.Session()

    def connecting(self, socket):
        self.process.deadlines[self.index] = self.deadline, socket

    def rest(self):
        """Leaves a kept connection alone until the next request."""
        _, socket = self.process.deadlines.pop(self.index, (0, None))
        self.socket = socket if self.session is not None else None

    def send(self, i):
        """Sends the i-th request and writes down what became of it."""
        if self.process.hopeless or self.batch.over[0]:
            return
        begin = time.monotonic_ns()
        self.deadline = begin + self.batch.timeout
        self.connecting(self.socket)
        self.answered = False
        outcome, message, sent, received = "reply", "", 0, 0
        try:
            if self.session is not None:
                response, end = self.exchange(self.session, i)
            else:
                with requests.Session() as session:  # what requests.request does
                    response, end = self.exchange(session, i)
            sent, received = request_size(response.request), answer_size(response)
            self.check(response, received)
        except Refused as refused:
            end = time.monotonic_ns()
            outcome, message = refused.kind, str(refused)
        except (requests.RequestException, urllib3.exceptions.HTTPError, http.client.HTTPException, OSError) as error:
            end = time.monotonic_ns()
            outcome, message = kind_of(error, self.answered), words(error)
        if end - begin >= self.batch.timeout:
            outcome, message = "timeout", "no whole answer within the request's time-out"
        self.rest()
        self.write(i, (begin, end, sent, received, self.index, OUTCOMES.index(outcome)), message)

    def exchange(self, session, i):
        """Sends a request and reads its whole answer; returns it with the moment of the last byte."""
        order = self.batch.order
        arguments = self.batch.payload(i)
        # A redirect is an answer like any other: what it leads to was not asked for.
        response = session.request(
            order["method"], order["url"], timeout=self.batch.timeout / 1e9, stream=True, allow_redirects=False, **arguments
        )
        self.answered = True
        with response:
            size = 0
            for part in response.iter_content(CHUNK):
                size += len(part)
                if size > order["max_body"]:
                    raise Refused("protocol", f"a body of more than {order['max_body']} bytes is larger than allowed")
            return response, time.monotonic_ns()

    def check(self, response, received):
        length = response.headers.get("Content-Length", "")
        without = response.request.method == "HEAD" or response.status_code in (204, 304)
        if length.isdigit() and not without and "Transfer-Encoding" not in response.headers:
            # Older versions take what comes before the connection's end for all of it.
            if response.raw.tell() < int(length):
                raise Refused("truncated", f"{response.raw.tell()} bytes of a body of {length}")
        want = self.batch.order["status"]
        if response.status_code != want and (want or response.status_code // 100 != 2):
            raise Refused("status", f"status {response.status_code} instead of {want or '2xx'}")

    def write(self, i, figure, message):
        if message:
            text = message.encode("utf-8", "replace")[:MESSAGE]
            self.batch.messages[i * MESSAGE : i * MESSAGE + len(text)] = text
        FIGURE.pack_into(self.batch.figures, i * FIGURE.size, *figure)
        self.done += 1
        self.errors += bool(message)
        cpu = time.process_time_ns() - self.process.cpu if self.process.counts_cpu else 0
        COUNTER.pack_into(self.batch.counters, self.index * COUNTER.size, self.done, cpu, self.errors)
        self.process.count(not message)
        limit = self.batch.order["max_errors"]
        if message and limit is not None and self.batch.failed() > limit:
            self.batch.over[0] = 1


def request_size(request):
    """Bytes of a request as http.client writes it."""
    host = request.url.split("/")[2]
    start = f"{request.method} {request.path_url} HTTP/1.1\r\nHost: {host}\r\n"
    return len(start) + headers_size(request.headers) + len(request.body or b"")


def answer_size(response):
    """Bytes of an answer, without what frames the chunks of a chunked body."""
    start = f"HTTP/1.1 {response.status_code} {response.reason}\r\n"
    return len(start) + headers_size(response.raw.headers) + response.raw.tell()


def headers_size(headers):
    return sum(len(name) + len(value) + 4 for name, value in headers.items()) + 2


def causes(error, seen=None):
    """An exception with those that it wraps, in whichever way it does."""
    seen = set() if seen is None else seen
    if not isinstance(error, BaseException) or id(error) in seen:
        return
    seen.add(id(error))
    yield error
    for inner in (getattr(error, "reason", None), error.__cause__, error.__context__, *error.args):
        yield from causes(inner, seen)


def kind_of(error, answered):
    """The kind of an exception of requests. answered: the answer's head was there."""
    chain = list(causes(error))

    def has(*types):
        return any(isinstance(e, types) for e in chain)

    if has(urllib3.exceptions.NewConnectionError):  # in older versions also a time-out by its type
        return "connect"
    if has(requests.Timeout, urllib3.exceptions.TimeoutError, TimeoutError):
        return "timeout"
    if has(urllib3.exceptions.InvalidChunkLength):
        cut = any(getattr(e, "length", None) in (b"", 0) for e in chain)
        return "truncated" if cut else "protocol"
    if has(http.client.IncompleteRead) or any("ended prematurely" in str(e) for e in chain):
        return "truncated"
    if has(ConnectionError):  # the system's, not that of requests
        return "truncated" if answered else "reset"
    return "protocol"


def words(error):
    """The innermost message about the network."""
    known = (OSError, http.client.HTTPException, urllib3.exceptions.HTTPError)
    said = [e for e in causes(error) if isinstance(e, known) and str(e)]
    return f"{type(said[-1]).__name__}: {said[-1]}" if said else type(error).__name__


here = threading.local()


def begin(batch, clients, process, lifeline, numbers, ready):
    """Prepares a worker of a pool: its client, and its end when its parent ends."""
    if lifeline is not None:
        read, write = lifeline
        os.close(write)
        threading.Thread(target=follow, args=(read,), daemon=True).start()
        process = Process(batch, clients, counts_cpu=True)
    with numbers.get_lock():
        index = numbers.value
        numbers.value += 1
    here.client = Client(process, index)
    ready.release()


def follow(read):
    os.read(read, 1)  # nothing is ever written: the end is what is waited for
    os._exit(1)


def send(i):
    here.client.send(i)


def hook(event, args):
    if event == "socket.connect":
        client = getattr(here, "client", None)
        if client is not None:
            client.connecting(args[0])


class Program:
    """The whole of a batch, in the process that stackmeter started."""

    def __init__(self):
        self.stdin = sys.stdin.buffer
        self.saying = threading.Lock()
        self.ending = threading.Lock()
        self.fired = threading.Event()
        self.batch = Batch(self.stdin)
        self.pool = None
        self.workers = []  # the pool's processes
        self.gun = self.cpu = 0

    def say(self, **message):
        with self.saying:
            sys.stdout.write(json.dumps(message) + "\n")
            sys.stdout.flush()

    def run(self):
        sys.addaudithook(hook)
        self.start()
        threading.Thread(target=self.progress, daemon=True).start()
        threading.Thread(target=self.stopped, daemon=True).start()
        self.say(ready=True, version=f"requests {requests.__version__}, Python {sys.version.split()[0]}")
        if self.stdin.readline() != b"fire\n":
            os._exit(0)  # closed before it was fired
        self.gun, self.cpu = time.monotonic_ns(), time.process_time_ns()
        if self.pool is None:
            self.fired.set()
            for i in range(self.batch.requests):
                send(i)
        else:
            result = self.pool.map_async(send, range(self.batch.requests))
            self.fired.set()
            result.get()
        self.end("")

    def start(self):
        """Makes the clients and waits until each of them waits for work."""
        batch, mode = self.batch, self.batch.order["client"]
        if batch.order["cores"]:
            os.sched_setaffinity(0, batch.order["cores"])  # the pool inherits it
        if mode == "single":
            here.client = Client(Process(batch, 1, counts_cpu=False), 0)
            return
        context = multiprocessing.get_context("fork")
        numbers, ready = context.Value("i", 0), context.Semaphore(0)
        if mode == "mt":
            process = Process(batch, batch.clients, counts_cpu=False)
            self.pool = ThreadPool(batch.clients, begin, (batch, batch.clients, process, None, numbers, ready))
        else:
            lifeline = os.pipe()
            self.pool = context.Pool(batch.clients, begin, (batch, 1, None, lifeline, numbers, ready))
            os.close(lifeline[0])
            # A worker that dies is not replaced: the batch is over, and a fork of
            # a process that has threads by now may hang.
            os.register_at_fork(before=threading.Event().wait)
            self.workers = multiprocessing.active_children()
            threading.Thread(target=self.guard, daemon=True).start()
        for _ in range(batch.clients):
            ready.acquire()

    def guard(self):
        """Ends the batch when a worker dies: the pool itself would wait for its answer for ever."""
        connection.wait([w.sentinel for w in self.workers])
        dead = next(w for w in self.workers if connection.wait([w.sentinel], 0))
        for _ in range(100):  # the pool looks too: whoever is first learns the status, the other a moment later
            if dead.exitcode is not None:
                break
            time.sleep(0.01)
        self.end(f"process {dead.pid} of the pool ended with status {dead.exitcode}")

    def progress(self):
        self.fired.wait()
        while True:
            time.sleep(PROGRESS)
            self.say(done=self.batch.finished())

    def stopped(self):
        self.fired.wait()
        self.stdin.read(1)  # only the end comes
        self.end("")

    def end(self, failure):
        """Reports what was done and ends at once, with every worker."""
        self.ending.acquire()  # and never releases: whoever is second waits for the end
        cpu = time.process_time_ns() - self.cpu
        status = 1
        try:
            for worker in self.workers:
                worker.kill()
            for worker in self.workers:
                worker.join()
            if self.gun:
                self.say(report=self.batch.report(self.gun, cpu, failure))
                status = 0
            else:
                print(failure, file=sys.stderr, flush=True)
        finally:
            os._exit(status)


if __name__ == "__main__":
    try:
        Program().run()
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
