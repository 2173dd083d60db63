"""The load client of the engine python-requests.

It sends a batch the way people do with Python's requests: one loop (single),
multiprocessing's process pool (mp) or its thread pool (mt). Each request is a
requests.request, or goes through a Session of its worker where connections are
kept. An open loop is a pool of threads. stackmeter starts this program and talks
to it over its streams:

  stdin   the task as a line of JSON, the payloads' bytes one after the other,
          the schedule of an open loop, then "fire"; then verdicts on answers,
          each "right" or "wrong" and the number of a request; the end of the
          stream stops the batch
  stdout  lines of JSON: ready, done (how many so far), ask (an answer to be
          judged), tally
  stderr  last words

Every request has a place in memory that all processes share. So it is known
what was finished, however the batch ends.

stackmeter judges the answers' bodies, because Python's regular expressions and
JSON differ from Go's. Each process hands over every answer that it has not seen
before, and knows the others by their digests. It does so after it has taken the
answer's latency, and goes on sending: it waits for the verdict only once it has
its next answer. So the cost of a check is in the client's CPU time and in no
latency, at most one answer of each client is unjudged, and a batch may exceed
its limit of errors by that much more.
"""

import base64
import errno
import glob
import hashlib
import http.client
import http.cookiejar
import json
import mmap
import multiprocessing
import os
import signal
import socket
import ssl
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
# reader of the tally has the same list.
OUTCOMES = ("", "reply", "connect", "timeout", "reset", "truncated", "protocol", "status")

# A request's figure: begin, first byte of the answer and end (nanoseconds,
# monotonic), how long its new connection took to make (0: none was made), bytes
# sent and received, the client that sent it, the request whose verdict holds for
# its answer (-1: none), how often it was sent again, the outcome.
FIGURE = struct.Struct("<qqqqqqiiii")
COUNTER = struct.Struct("<qqq")  # a client's finished requests, its process's CPU nanoseconds, its errors
MESSAGE = 512  # bytes of an error's message, and of the body that it quotes
RIGHT, WRONG = 1, 2  # verdicts; 0 is none yet
HEAD = 64 * 1024  # bytes of an answer's head, the interim ones included
LINE = 16 * 1024  # bytes of a line of it
CHUNK = 10 * 1024  # what requests itself reads of a body at a time
# Errors that are this machine's and not the server's: a batch with one measures no server.
OWN = {errno.EADDRNOTAVAIL, errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EAFNOSUPPORT}
PROGRESS = 0.25  # seconds between two lines of progress
# Statuses of a process that a signal ended which no process here sends to itself.
OUTSIDE = {-signal.SIGHUP, -signal.SIGINT, -signal.SIGKILL, -signal.SIGTERM}


def drawn(seed, i, n):
    """The payload that the i-th request sends: the i-th number of SplitMix64, as load.Drawn has it."""
    whole = (1 << 64) - 1
    x = (seed + (i + 1) * 0x9E3779B97F4A7C15) & whole
    x = ((x ^ x >> 30) * 0xBF58476D1CE4E5B9) & whole
    x = ((x ^ x >> 27) * 0x94D049BB133111EB) & whole
    return (x ^ x >> 31) % n


class Refused(Exception):
    """An answer that is an error: its kind and a message."""

    def __init__(self, kind, message):
        super().__init__(message)
        self.kind = kind


class Batch:
    """The task, its payloads and the memory that its clients share."""

    def __init__(self, stdin):
        self.task = task = json.loads(stdin.readline())
        self.requests = task["requests"]
        self.path = "/" + task["url"].split("/", 3)[3]
        self.clients = task["clients"]
        self.timeout = task["timeout_ns"]
        self.arguments = [self.prepare(p, stdin.read(p["size"])) for p in task["payloads"] or []]
        if not self.arguments:
            self.arguments = [{"headers": self.headers()}]
        self.offsets = None  # of an open loop at a rate: nanoseconds after the gun
        if task["scheduled"]:
            self.offsets = struct.unpack(f"<{self.requests}q", stdin.read(8 * self.requests))
        self.figures = mmap.mmap(-1, self.requests * FIGURE.size)
        self.messages = mmap.mmap(-1, self.requests * MESSAGE)
        self.counters = mmap.mmap(-1, self.clients * COUNTER.size)
        self.over = mmap.mmap(-1, 1)  # not 0: the batch has more errors than allowed, or cannot go on
        self.broken = mmap.mmap(-1, 1)  # why it cannot: the number of an error of this machine's; 0: it can
        self.verdicts = mmap.mmap(-1, self.requests)  # on the answers to the requests that asked

    def headers(self):
        """The headers as bytes, which are sent as they are. Of a text, http.client would send Latin-1 only."""
        return {name: value.encode() for name, value in (self.task["headers"] or {}).items()}

    def prepare(self, payload, data):
        """The arguments of requests.request for a payload."""
        headers = self.headers()
        if self.task["field"]:
            file = (payload["name"], data, payload["content_type"])
            return {"headers": headers, "files": {self.task["field"]: file}}
        if not any(name.lower() == "content-type" for name in headers):
            headers["Content-Type"] = payload["content_type"].encode()
        return {"headers": headers, "data": data}

    def finished(self):
        return sum(COUNTER.unpack_from(self.counters, i * COUNTER.size)[0] for i in range(self.clients))

    def failed(self):
        """How many errors there are. It is called only after an error."""
        return sum(COUNTER.unpack_from(self.counters, i * COUNTER.size)[2] for i in range(self.clients))

    def payload(self, i):
        """Which payload the i-th request sends."""
        seed, n = self.task["draw"], len(self.arguments)
        return i % n if seed is None else drawn(seed, i, n)

    def judged(self):
        """Whether every answer that needs a verdict has one."""
        return all(not f[9] or f[7] < 0 or self.verdicts[f[7]] for f in FIGURE.iter_unpack(self.figures))

    def tally(self, gun, cpu, waited, failure, disturbed):
        figures = bytes(self.figures)
        for i in range(self.clients):
            cpu += COUNTER.unpack_from(self.counters, i * COUNTER.size)[1]
        first = {}
        for i, (_, _, end, _, _, _, _, _, _, outcome) in enumerate(FIGURE.iter_unpack(figures)):
            if outcome > 1 and (outcome not in first or end < first[outcome][0]):
                first[outcome] = end, i
        messages, body = {}, b""
        for outcome, (_, i) in first.items():
            text, _, begins = self.messages[i * MESSAGE : (i + 1) * MESSAGE].rstrip(b"\0").partition(b"\0")
            messages[OUTCOMES[outcome]] = text.decode("utf-8", "replace")
            body = body or begins
        return {
            "gun": gun,
            "cpu": cpu,
            "waited": waited,
            "messages": messages,
            "body": base64.b64encode(body).decode("ascii"),
            "figures": base64.b64encode(figures).decode("ascii"),
            "failure": failure,
            "disturbed": disturbed,
            "broken": self.broken[0],
        }


class Process:
    """What the clients of one process have in common."""

    def __init__(self, batch, clients, counts_cpu, tell):
        self.batch = batch
        self.clients = clients  # those of an open loop join when they are first needed
        self.tell = tell  # sends stackmeter a message
        self.seen = {}  # by an answer's digest, the request that asked about it
        self.counts_cpu = counts_cpu
        self.cpu = time.process_time_ns()
        self.lock = threading.Lock()
        self.replies = self.errors = 0
        self.hopeless = False
        self.deadlines = {}  # by client, when its request's time is over, and its socket
        threading.Thread(target=self.watch, daemon=True).start()

    def ask(self, i, status, body):
        """Returns the request whose verdict holds for the answer to the i-th one. It may be the i-th itself."""
        payload = self.batch.payload(i) if self.batch.task["by_payload"] else 0
        asked = self.seen.setdefault((payload, status, hashlib.sha256(body).digest()), i)
        if asked == i:
            self.tell({"ask": {"request": i, "payload": payload, "status": status, "body": base64.b64encode(body).decode("ascii")}})
        return asked

    def join(self):
        with self.lock:
            self.clients += 1

    def count(self, reply):
        """Counts an outcome. After enough errors without a reply, no client goes on."""
        limit = self.batch.task["give_up"]
        with self.lock:
            self.replies += reply
            self.errors += not reply
            if limit and not self.replies and self.errors >= max(limit, self.clients):
                self.hopeless = True

    def watch(self):
        """Shuts down the connection of a request whose time is over.

        The time-out of requests bounds each single wait for the socket. A server
        that sends a byte now and then would hold a client for ever.
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
        self.asked = -1  # the request whose verdict holds for the last answer, until it is counted; -1: none
        self.session = self.socket = None
        self.forget()
        if self.batch.task["keepalive"]:
            self.session = new_session()

    def forget(self):
        """Resets the figures of an attempt."""
        self.first = self.connect = self.head = self.extra = 0
        self.fresh = False  # it made a new connection
        self.unread = False  # the server had closed the connection before it took the request
        self.acknowledged = acknowledged(self.socket)  # of what was sent on the kept connection before

    def connecting(self, socket):
        self.fresh = True
        self.hold(socket)

    def hold(self, socket):
        self.process.deadlines[self.index] = self.deadline, socket

    def rest(self):
        """Ends the watch over the connection. A kept one stays open for the next request."""
        _, socket = self.process.deadlines.pop(self.index, (0, None))
        self.socket = socket if self.session is not None else None

    def send(self, i):
        """Sends the i-th request and writes down its outcome."""
        self.learn(wait=False)
        if self.process.hopeless or self.batch.over[0]:
            return
        if self.batch.task["client"] == "open" and self.done == 0:
            self.process.join()
        begin = time.monotonic_ns()
        self.deadline = begin + self.batch.timeout
        self.hold(self.socket)
        kept = self.socket is not None and self.socket.fileno() >= 0
        answer = self.attempt(i)
        if self.batch.broken[0]:
            self.rest()
            return
        # urllib3 makes a new connection when it notices that the server has closed an idle one. If it does not notice
        # before it sends, the request is sent again, provided the server never read it. A server that dies over a
        # request is an error.
        again = int(kept and self.fresh)
        if answer.outcome == "reset" and kept and not self.fresh and self.unread:
            again = 1
            answer = self.attempt(i)
        end = answer.end
        if end - begin >= self.batch.timeout:
            answer.fail("timeout", "no whole answer within the request's time-out")
        self.rest()
        asked = -1
        if answer.outcome == "reply" and self.batch.task["judged"]:
            asked = self.process.ask(i, answer.status, answer.body)
        self.write(i, (begin, self.first, end, self.connect, answer.sent, answer.received, self.index, asked, again), answer)
        self.learn(wait=True)
        if asked < 0:
            self.count(answer.outcome == "reply")
        else:
            self.asked = asked
            self.learn(wait=False)  # the answer may be a known one

    def attempt(self, i):
        self.forget()
        answer = Answer()
        try:
            if self.session is not None:
                self.exchange(self.session, i, answer)
            else:
                with new_session() as session:  # what requests.request does
                    self.exchange(session, i, answer)
            self.check(answer)
        except Refused as refused:
            answer.fail(refused.kind, str(refused))
        except (requests.RequestException, urllib3.exceptions.HTTPError, http.client.HTTPException, OSError) as error:
            numbers = {e.errno for e in causes(error) if isinstance(e, OSError)}
            if numbers & {errno.ECONNRESET, errno.EPIPE}:
                self.unread = True
            if numbers & OWN:
                self.batch.broken[0] = min(numbers & OWN)
                self.batch.over[0] = 1
            answer.fail(kind_of(error, not self.fresh or self.connect > 0, self.head > 0), words(error))
        return answer

    def exchange(self, session, i, answer):
        """Sends a request and reads its whole answer."""
        task = self.batch.task
        arguments = self.batch.arguments[self.batch.payload(i)]
        # A redirect is an answer like any other. Nobody asked for what it leads to.
        response = session.request(
            task["method"], task["url"], timeout=self.batch.timeout / 1e9, stream=True, allow_redirects=False, **arguments
        )
        parts, size = [], 0
        with response:
            for part in response.iter_content(CHUNK):
                size += len(part)
                if size > task["max_body"]:
                    raise Refused("protocol", f"a body of more than {task['max_body']} bytes is larger than allowed")
                if task["judged"] or response.status_code >= 400 and size <= CHUNK:
                    parts.append(part)
            answer.end = time.monotonic_ns()
        answer.response, answer.status, answer.body = response, response.status_code, b"".join(parts)
        # The framing of a chunked body is not counted.
        answer.sent, answer.received = request_size(response.request, self.batch.path), self.head + response.raw.tell()

    def check(self, answer):
        response = answer.response
        length = response.headers.get("Content-Length", "")
        without = response.request.method == "HEAD" or response.status_code in (204, 304)
        if length.isdigit() and not without and "Transfer-Encoding" not in response.headers:
            # Older versions of urllib3 take a body that was cut off for a whole one.
            if response.raw.tell() < int(length):
                raise Refused("truncated", f"{response.raw.tell()} bytes of a body of {length}")
        if self.extra:
            raise Refused("truncated", f"{self.extra} bytes came after the answer's end: its length is wrong")
        want = self.batch.task["status"]
        if response.status_code != want and (want or response.status_code // 100 != 2):
            raise Refused("status", f"status {response.status_code} instead of {want or '2xx'}")

    def write(self, i, figure, answer):
        if answer.message:
            text = answer.message.encode("utf-8", "replace")
            if answer.outcome == "status":
                text += b"\0" + answer.body[: self.batch.task["quoted"]]
            text = text[:MESSAGE]
            self.batch.messages[i * MESSAGE : i * MESSAGE + len(text)] = text
        FIGURE.pack_into(self.batch.figures, i * FIGURE.size, *figure, OUTCOMES.index(answer.outcome))
        self.done += 1
        self.counted()

    def counted(self):
        cpu = time.process_time_ns() - self.process.cpu if self.process.counts_cpu else 0
        COUNTER.pack_into(self.batch.counters, self.index * COUNTER.size, self.done, cpu, self.errors)

    def learn(self, wait):
        """Counts the last answer once there is a verdict on it."""
        if self.asked < 0:
            return
        while not self.batch.verdicts[self.asked]:
            if not wait:
                return
            time.sleep(0.0005)
        right = self.batch.verdicts[self.asked] == RIGHT
        self.asked = -1
        self.count(right)

    def count(self, reply):
        self.process.count(reply)
        limit = self.batch.task["max_errors"]
        if reply:
            return
        self.errors += 1
        self.counted()
        if limit is not None and self.batch.failed() > limit:
            self.batch.over[0] = 1


class Answer:
    """What came back to a request, if anything did."""

    def __init__(self):
        self.outcome, self.message = "reply", ""
        self.response = None
        self.status = self.end = self.sent = self.received = 0
        self.body = b""

    def fail(self, kind, message):
        self.outcome, self.message = kind, message or kind
        self.end = self.end or time.monotonic_ns()


def new_session():
    session = requests.Session()
    # No cookie that a server sets may change the next request.
    session.cookies.set_policy(http.cookiejar.DefaultCookiePolicy(allowed_domains=[]))
    return session


class Head:
    """The stream of an answer while its head is read, with the bounds and the end that http.client does not check."""

    def __init__(self, stream, client):
        self.stream = stream
        self.client = client

    def readline(self, limit=-1):
        line = self.stream.readline(limit)
        self.client.head += len(line)
        if self.client.head > HEAD:
            raise Refused("protocol", f"the answer's head is longer than {HEAD} bytes")
        if len(line) > LINE:
            raise Refused("protocol", f"a line of the answer's head is longer than {LINE} bytes")
        if not line.endswith(b"\n") and self.client.head:
            raise Refused("truncated", f"the server closed the connection after {self.client.head} bytes of an answer")
        return line

    def close(self):
        self.stream.close()


class Response(http.client.HTTPResponse):
    """http.client's answer, which also takes the moment of its first byte."""

    def begin(self):
        client = here.client
        stream = self.fp
        if not stream.peek(1):  # returns at the first byte, or at the end of the stream
            client.unread = refused(stream, client.acknowledged)
        client.first = time.monotonic_ns()
        self.fp = Head(stream, client)
        try:
            super().begin()
        finally:
            self.fp = stream if self.fp is not None else None

    def _close_conn(self):
        here.client.extra = left(self.fp)
        super()._close_conn()


def left(stream):
    """How many bytes have come after an answer's end."""
    try:
        socket = stream.raw._sock
        timeout = socket.gettimeout()
        socket.settimeout(0)
        try:
            return len(stream.peek(1))
        finally:
            socket.settimeout(timeout)
    except (AttributeError, OSError, ValueError):
        return 0  # the connection is closed already


TCP_ESTABLISHED = 1  # the state of a connection that nobody has closed yet


def acknowledged(connection):
    """How many bytes the other side of a connection has acknowledged; 0 if nobody knows."""
    try:
        return struct.unpack_from("<Q", connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 128), 120)[0]
    except (AttributeError, OSError, struct.error):
        return 0


def refused(stream, before):
    """Whether the server had closed the connection of a stream at its end before the request came.

    Then the end and the request have met on the way: nothing more was acknowledged than before, while the packet of an
    end acknowledges a request that was read. Or the request has reached the server's kernel only, which resets the
    connection when it is closed. With TLS the announced end comes a moment before that.
    """
    try:
        connection = stream.raw._sock
        for _ in range(100):
            if connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] != TCP_ESTABLISHED:
                break
            time.sleep(0.001)
        reset = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ECONNRESET
    except (AttributeError, OSError):
        return False
    return reset or 0 < before == acknowledged(connection)


def timed(connect):
    """A connection's connect, timed. The TLS handshake is part of it."""

    def connect_timed(self):
        self.host = self.host.replace("%25", "%")  # an address's zone, which requests leaves as the URL has it
        begin = time.monotonic_ns()
        connect(self)
        here.client.hold(self.sock)  # with TLS it is not the one that connected
        here.client.connect = time.monotonic_ns() - begin

    return connect_timed


def unchanged(putrequest):
    """A connection's putrequest that sends the path as the scenario has it. requests resolves and quotes it anew."""

    def put(self, method, _, *arguments, **named):
        return putrequest(self, method, here.client.batch.path, *arguments, **named)

    return put


def instrument():
    """Makes the library report the moments that it keeps to itself, and send what it was given."""
    sys.addaudithook(hook)
    for kind in (urllib3.connection.HTTPConnection, urllib3.connection.HTTPSConnection):
        kind.response_class = Response
        kind.connect = timed(kind.connect)
    # The other kind inherits it.
    urllib3.connection.HTTPConnection.putrequest = unchanged(urllib3.connection.HTTPConnection.putrequest)


def request_size(request, path):
    """How many bytes http.client writes for a request."""
    host = request.url.split("/")[2]
    start = f"{request.method} {path} HTTP/1.1\r\nHost: {host}\r\n"
    return len(start) + headers_size(request.headers) + len(request.body or b"")


def headers_size(headers):
    return sum(len(name) + len(value) + 4 for name, value in headers.items()) + 2


def causes(error, seen=None):
    """An exception and all that it wraps, in any way."""
    seen = set() if seen is None else seen
    if not isinstance(error, BaseException) or id(error) in seen:
        return
    seen.add(id(error))
    yield error
    for inner in (getattr(error, "reason", None), error.__cause__, error.__context__, *error.args):
        yield from causes(inner, seen)


def kind_of(error, connected, answered):
    """The kind of an exception of requests. connected includes the TLS handshake; answered: some byte had come."""
    chain = list(causes(error))

    def has(*types):
        return any(isinstance(e, types) for e in chain)

    if has(urllib3.exceptions.NewConnectionError):  # in older versions it is a time-out too
        return "connect"
    if has(requests.Timeout, urllib3.exceptions.TimeoutError, TimeoutError):
        return "timeout"
    if not connected:
        return "connect"
    if has(urllib3.exceptions.InvalidChunkLength):
        cut = any(getattr(e, "length", None) in (b"", 0) for e in chain)
        return "truncated" if cut else "protocol"
    if has(http.client.IncompleteRead) or any("ended prematurely" in str(e) for e in chain):
        return "truncated"
    if has(ConnectionError, ssl.SSLEOFError):  # the system's, not that of requests
        return "truncated" if answered else "reset"
    return "protocol"


def words(error):
    """The innermost message about the network."""
    known = (OSError, http.client.HTTPException, urllib3.exceptions.HTTPError)
    said = [e for e in causes(error) if isinstance(e, known) and str(e)]
    return f"{type(said[-1]).__name__}: {said[-1]}" if said else type(error).__name__


here = threading.local()


def begin(batch, process, lifeline, asks, numbers, ready):
    """Prepares a worker of a pool: makes its client, and ends it when its parent ends."""
    if lifeline is not None:
        read, write = lifeline
        os.close(write)
        threading.Thread(target=follow, args=(read,), daemon=True).start()
        process = Process(batch, 1, counts_cpu=True, tell=asks.put)
    with numbers.get_lock():
        index = numbers.value
        numbers.value += 1
    here.client = Client(process, index)
    ready.release()


def follow(read):
    os.read(read, 1)  # nobody writes: it returns when the parent has ended
    os._exit(1)


def send(i):
    here.client.send(i)


def hook(event, args):
    if event == "socket.connect":
        client = getattr(here, "client", None)
        if client is not None:
            client.connecting(args[0])


def give_up():
    """Prints the exception and ends the program."""
    traceback.print_exc()
    sys.stderr.flush()
    os._exit(1)


class Schedule:
    """Sends an open loop: one idle client, the leader, waits for the next request's moment.

    Before it sends, it makes the client that became idle last the leader, so that
    no more kept connections are used than it takes. If none is idle, the next
    client that becomes free leads, and goes on with what is due by then.
    """

    def __init__(self, batch):
        self.batch = batch
        self.gun = 0
        self.fired = threading.Event()
        self.next = 0
        self.led = False  # there is a leader
        self.idle = []  # what wakes the others, the last used one last
        self.lock = threading.Lock()

    def fire(self, gun):
        self.gun = gun
        self.fired.set()

    def run(self, client):
        """Runs one client's thread. An error of the program ends the whole program, as in the other modes."""
        try:
            self.follow(client)
        except BaseException:
            give_up()

    def follow(self, client):
        here.client = client
        wake = threading.Semaphore(0)
        while True:
            with self.lock:
                waits = self.led
                if waits:
                    self.idle.append(wake)
                self.led = True
            if waits:
                wake.acquire()
            self.fired.wait()
            i = self.next
            ends = i == self.batch.requests or client.process.hopeless or self.batch.over[0]
            if not ends:
                self.next += 1
                self.await_moment(i)
            with self.lock:
                if self.idle:
                    self.idle.pop().release()
                else:
                    self.led = False
            if ends:
                return
            client.send(i)

    def await_moment(self, i):
        if self.batch.offsets is not None:
            early = self.gun + self.batch.offsets[i] - time.monotonic_ns()
            if early > 0:
                time.sleep(early / 1e9)


class Program:
    """A batch, in the process that stackmeter started."""

    def __init__(self):
        self.stdin = sys.stdin.buffer
        self.saying = threading.Lock()
        self.ending = threading.Lock()
        self.fired = threading.Event()
        self.batch = Batch(self.stdin)
        self.pool = None
        self.schedule = None  # of an open loop
        self.threads = []  # its clients
        self.workers = []  # the pool's processes
        self.gun = self.cpu = 0
        self.waited = {}  # for a core, by thread, before the gun
        self.disturbed = ""  # what somebody else did to the program

    def say(self, message):
        with self.saying:
            sys.stdout.write(json.dumps(message) + "\n")
            sys.stdout.flush()

    def run(self):
        instrument()
        signal.signal(signal.SIGCONT, self.goes_on)
        self.start()
        threading.Thread(target=self.progress, daemon=True).start()
        threading.Thread(target=self.listen, daemon=True).start()
        self.waited = self.waits()
        self.say({"ready": True})
        if self.stdin.readline() != b"fire\n":
            os._exit(0)  # the batch was closed before it was fired
        self.gun, self.cpu = time.monotonic_ns(), time.process_time_ns()
        if self.schedule is not None:
            self.fired.set()
            self.schedule.fire(self.gun)
            for thread in self.threads:
                thread.join()
        elif self.pool is None:
            self.fired.set()
            for i in range(self.batch.requests):
                send(i)
        else:
            result = self.pool.map_async(send, range(self.batch.requests))
            self.fired.set()
            result.get()
        while not self.batch.judged():
            time.sleep(0.001)
        self.end("")

    def start(self):
        """Makes the clients, and returns when each of them waits for work."""
        batch, mode = self.batch, self.batch.task["client"]
        if batch.task["cores"]:
            os.sched_setaffinity(0, batch.task["cores"])  # the pool inherits it
        if mode == "single":
            here.client = Client(Process(batch, 1, counts_cpu=False, tell=self.say), 0)
            return
        if mode == "open":
            process = Process(batch, 0, counts_cpu=False, tell=self.say)
            self.schedule = Schedule(batch)
            for i in range(batch.clients):
                thread = threading.Thread(target=self.schedule.run, args=(Client(process, i),), daemon=True)
                thread.start()
                self.threads.append(thread)
            return
        context = multiprocessing.get_context("fork")
        numbers, ready = context.Value("i", 0), context.Semaphore(0)
        if mode == "mt":
            process = Process(batch, batch.clients, counts_cpu=False, tell=self.say)
            self.pool = ThreadPool(batch.clients, begin, (batch, process, None, None, numbers, ready))
        else:
            # Only this process writes messages: a worker that is killed would leave half of one.
            lifeline, asks = os.pipe(), context.SimpleQueue()
            self.pool = context.Pool(batch.clients, begin, (batch, None, lifeline, asks, numbers, ready))
            os.close(lifeline[0])
            # The pool must not replace a worker that dies: the batch is over, and a fork
            # of a process that has threads may hang.
            os.register_at_fork(before=threading.Event().wait)
            self.workers = multiprocessing.active_children()
            threading.Thread(target=self.guard, daemon=True).start()
            threading.Thread(target=self.forward, args=(asks,), daemon=True).start()
        for _ in range(batch.clients):
            ready.acquire()

    def guard(self):
        """Ends the batch when a worker dies. The pool itself would wait for it for ever."""
        connection.wait([w.sentinel for w in self.workers])
        dead = next(w for w in self.workers if connection.wait([w.sentinel], 0))
        for _ in range(100):  # the pool waits for the worker too: if it was first, the status shows a moment later
            if dead.exitcode is not None:
                break
            time.sleep(0.01)
        self.end(f"process {dead.pid} of the pool ended with status {dead.exitcode}", dead.exitcode in OUTSIDE)

    def waits(self):
        """How many nanoseconds each thread was ready to run and had no core so far; empty where the kernel does not tell."""
        waits = {}
        for pid in [os.getpid(), *(worker.pid for worker in self.workers)]:
            for name in glob.glob(f"/proc/{pid}/task/*/schedstat"):
                try:
                    with open(name) as file:
                        waits[name] = int(file.read().split()[1])
                except OSError:
                    pass  # it has ended
        return waits

    def goes_on(self, *_):
        """Is called when this process goes on after a signal had stopped it."""
        self.disturbed = "a signal stopped it"
        self.batch.over[0] = 1

    def look(self):
        """Looks whether a signal stopped a process of the pool since the last look. The kernel remembers it until then."""
        for worker in self.workers:
            try:
                if os.waitid(os.P_PID, worker.pid, os.WSTOPPED | os.WCONTINUED | os.WNOHANG):
                    self.disturbed = f"a signal stopped process {worker.pid} of the pool"
            except (AttributeError, ChildProcessError):
                pass  # not every system tells; it has ended
        return self.disturbed

    def forward(self, asks):
        while True:
            self.say(asks.get())

    def progress(self):
        self.fired.wait()
        while True:
            time.sleep(PROGRESS)
            if self.look():
                self.end("")
            self.say({"done": self.batch.finished()})

    def listen(self):
        """Takes verdicts, and ends the batch when the stream ends."""
        self.fired.wait()
        for line in iter(self.stdin.readline, b""):
            verdict, i = line.split()
            self.batch.verdicts[int(i)] = RIGHT if verdict == b"right" else WRONG
        self.end("")

    def end(self, failure, outside=False):
        """Kills the workers, sends the tally and ends the program."""
        self.ending.acquire()  # never released: a second caller waits here for the end
        cpu = time.process_time_ns() - self.cpu
        waited = max((ns - self.waited.get(thread, 0) for thread, ns in self.waits().items()), default=0)
        status = 1
        try:
            if not self.look() and outside:
                self.disturbed = failure
            for worker in self.workers:
                worker.kill()
            for worker in self.workers:
                worker.join()
            if self.gun:
                self.say({"tally": self.batch.tally(self.gun, cpu, waited, failure, self.disturbed)})
                status = 0
            else:
                print(failure, file=sys.stderr, flush=True)
        finally:
            os._exit(status)


if __name__ == "__main__":
    try:
        Program().run()
    except BaseException:
        give_up()
