"""What batching.py promises, where a request from outside cannot cause it."""

import threading
import unittest

from batching import Batcher

LONG = 60  # seconds; nothing here lasts so long


class Model:
    """Answers 10 for 1, 20 for 2 and so on, once it may go on, and keeps what it got."""

    def __init__(self):
        self.batches = []
        self.began = threading.Semaphore(0)
        self.go_on = threading.Semaphore(0)

    def infer(self, items):
        self.batches.append(items)
        self.began.release()
        if not self.go_on.acquire(timeout=LONG):
            raise TimeoutError
        if "poison" in items:
            raise ValueError("poison")
        return [10 * item for item in items]


class BatcherTest(unittest.TestCase):
    def setUp(self):
        self.model = Model()

    def begun(self, most, delay=0):
        """A batcher whose first batch, of a 1, is being computed."""
        batcher = Batcher(self.model.infer, most, delay)
        first = batcher.submit(1)
        self.assertTrue(self.model.began.acquire(timeout=LONG))
        return batcher, first

    def test_what_waits_is_one_batch_of_at_most_so_many(self):
        batcher, first = self.begun(most=4)
        others = [batcher.submit(item) for item in range(2, 8)]
        self.model.go_on.release(3)
        self.assertEqual([f.result(LONG) for f in [first, *others]], [10, 20, 30, 40, 50, 60, 70])
        self.assertEqual(self.model.batches, [[1], [2, 3, 4, 5], [6, 7]])
        self.assertEqual(dict(batcher.sizes), {1: 1, 4: 1, 2: 1})

    def test_a_full_batch_does_not_wait(self):
        batcher = Batcher(self.model.infer, 2, delay=10 * LONG)
        self.model.go_on.release()
        pair = [batcher.submit(1), batcher.submit(2)]
        self.assertEqual([f.result(LONG) for f in pair], [10, 20])

    def test_one_alone_waits_for_the_delay_only(self):
        batcher = Batcher(self.model.infer, 2, delay=0.01)
        self.model.go_on.release()
        self.assertEqual(batcher.submit(1).result(LONG), 10)

    def test_a_failing_item_fails_alone(self):
        batcher, _ = self.begun(most=4)
        futures = [batcher.submit(item) for item in [2, "poison", 3]]
        self.model.go_on.release(5)
        self.assertEqual([futures[0].result(LONG), futures[2].result(LONG)], [20, 30])
        with self.assertRaisesRegex(ValueError, "poison"):
            futures[1].result(LONG)
        self.assertEqual(self.model.batches, [[1], [2, "poison", 3], [2], ["poison"], [3]])

    def test_what_was_cancelled_is_not_computed(self):
        batcher, _ = self.begun(most=4)
        futures = [batcher.submit(item) for item in [2, 3]]
        self.assertTrue(futures[0].cancel())
        self.model.go_on.release(2)
        self.assertEqual(futures[1].result(LONG), 30)
        self.assertEqual(self.model.batches, [[1], [3]])


if __name__ == "__main__":
    unittest.main()
