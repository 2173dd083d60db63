"""Micro-batching: the requests that wait are computed together, by one thread."""

import collections
import queue
import threading
import time
from concurrent.futures import Future


class Batcher:
    """One thread that owns the model and takes what is waiting: at most `most`
    items at once. The first one waits `delay` seconds for the others at most.

    infer(items) returns one answer for each item. A server that ends waits for
    its requests, and each of them for its batch, so nothing has to be closed."""

    def __init__(self, infer, most, delay):
        self.sizes = collections.Counter()  # how many batches had how many items
        self._infer, self._most, self._delay = infer, most, delay
        self._waiting = queue.SimpleQueue()
        threading.Thread(target=self._run, name="batcher", daemon=True).start()

    def submit(self, item):
        """Returns the future of the item's answer."""
        future = Future()
        self._waiting.put((item, future))
        return future

    def _run(self):
        while True:
            # Nobody waits any more for what was cancelled.
            batch = [(item, future) for item, future in self._take() if future.set_running_or_notify_cancel()]
            if batch:
                self._answer(batch)

    def _take(self):
        batch = [self._waiting.get()]
        until = time.monotonic() + self._delay
        while len(batch) < self._most:
            try:
                # After the delay, too, what is there already is taken.
                batch.append(self._waiting.get(timeout=max(0, until - time.monotonic())))
            except queue.Empty:
                break
        return batch

    def _answer(self, batch):
        try:
            answers = self._infer([item for item, _ in batch])
        except Exception as error:
            if len(batch) == 1:
                batch[0][1].set_exception(error)
                return
            # One item must not fail the others: each gets an inference of its own.
            for pair in batch:
                self._answer([pair])
            return
        self.sizes[len(batch)] += 1
        for (_, future), answer in zip(batch, answers):
            future.set_result(answer)
