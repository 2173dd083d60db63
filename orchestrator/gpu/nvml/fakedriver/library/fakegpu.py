"""Memory on the FAKE GPU, for test applications.

    gpu = fakegpu.open("/fake-gpu")   # in the process that allocates, after fork
    gpu.allocate(300 << 20)           # bytes in use by this process from now on

The folder is the one that STACKMETER_FAKE_GPU names, or what a container has
mounted of it. The fake driver finds the owner of an allocation by the lock on
its file, which the kernel translates to a PID of the host and drops when the
process ends: so neither a container nor a fork needs to know a PID. A forked
child has to open its own.
"""
import fcntl
import os
import uuid


class Memory:
    def __init__(self, folder, device, kind):
        self.device, self.kind, self.peak = device, kind, 0
        path = os.path.join(folder, "alloc", uuid.uuid4().hex)
        self.file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        # Closing any other descriptor of the file would give the lock up.
        fcntl.lockf(self.file, fcntl.LOCK_EX)

    def allocate(self, total):
        """Say how many bytes this process holds now, all in all."""
        self.peak = max(self.peak, total)
        # One write of a fixed width: a reader never sees half of it.
        os.pwrite(self.file, b"%s %20d %20d %s\n" % (self.device.encode(), total, self.peak, self.kind.encode()), 0)


def open(folder=None, device="0", kind="c"):
    """kind: c compute, g graphics, m a client of MPS."""
    return Memory(folder or os.environ["STACKMETER_FAKE_GPU"], device, kind)
