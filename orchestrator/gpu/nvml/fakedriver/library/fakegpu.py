"""Memory on the FAKE GPU, for test applications.

    gpu = fakegpu.open("/fake-gpu")   # in the process that allocates, after fork
    gpu.allocate(300 << 20)           # bytes in use by this process from now on

What the device does not have is refused, in the words of CUDA.

The folder is the one that STACKMETER_FAKE_GPU names, or what a container has
mounted of it. The fake driver finds the owner of an allocation by the lock on
its file, which the kernel translates to a PID of the host and drops when the
process ends: so neither a container nor a fork needs to know a PID. A forked
child has to open its own.
"""
import fcntl
import io
import os
import struct
import uuid

mine = {}  # what this process has opened, by file; after a fork also its parent's


class OutOfMemoryError(RuntimeError):
    pass


class Memory:
    def __init__(self, folder, device, kind):
        self.folder, self.device, self.kind = folder, device, kind
        self.pid, self.held, self.peak = os.getpid(), 0, 0
        path = os.path.join(folder, "alloc", uuid.uuid4().hex)
        mine[path] = self
        self.file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        # Closing any other descriptor of the file would give the lock up.
        fcntl.lockf(self.file, fcntl.LOCK_EX)

    def allocate(self, total):
        """Say how many bytes this process holds now, all in all."""
        alone = os.open(os.path.join(self.folder, "alloc"), os.O_RDONLY)
        try:
            fcntl.flock(alone, fcntl.LOCK_EX)  # of two that ask for the last of the memory one gets it
            if total > self.held and total > self.room():
                raise OutOfMemoryError(f"CUDA out of memory. Tried to allocate {(total - self.held) / (1 << 20):.2f} MiB.")
            self.held, self.peak = total, max(self.peak, total)
            # One write of a fixed width: a reader never sees half of it.
            os.pwrite(self.file, b"%s %20d %20d %s\n" % (self.device.encode(), total, self.peak, self.kind.encode()), 0)
        finally:
            os.close(alone)

    def room(self):
        """What the device has beside what others hold."""
        with io.open(os.path.join(self.folder, "devices")) as file:
            devices = [line.split() for line in file if line.startswith("device ")]
        for index, (_, name, total, _, base, *_) in enumerate(devices):
            if self.device in (name, str(index)):
                return int(total) - int(base) - sum(self.others(name, str(index)))
        raise OutOfMemoryError(f"CUDA error: there is no device {self.device}")

    def others(self, *names):
        """What each other living process holds on the device."""
        folder = os.path.join(self.folder, "alloc")
        for name in os.listdir(folder):
            known = mine.get(os.path.join(folder, name))
            if known and known.pid == os.getpid():
                if known is not self and known.device in names:
                    yield known.held
                continue
            for line in living(os.path.join(folder, name)).splitlines():
                if line.split()[0].decode() in names:
                    yield int(line.split()[1])


def living(path):
    """What a file says, or nothing where its process is gone."""
    try:
        file = os.open(path, os.O_RDONLY)
    except OSError:
        return b""
    try:
        # A struct flock. F_GETLK takes no lock, it says who would be in the way.
        asked = struct.pack("hhqqi", fcntl.F_RDLCK, os.SEEK_SET, 0, 0, 0)
        found, *_ = struct.unpack("hhqqi", fcntl.fcntl(file, fcntl.F_GETLK, asked))
        return os.pread(file, 4096, 0) if found == fcntl.F_WRLCK else b""
    finally:
        os.close(file)


def open(folder=None, device="0", kind="c"):
    """kind: c compute, g graphics, m a client of MPS."""
    return Memory(folder or os.environ["STACKMETER_FAKE_GPU"], device, kind)
