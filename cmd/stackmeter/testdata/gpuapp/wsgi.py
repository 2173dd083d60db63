"""An application that "allocates" on the FAKE GPU of the tests the way an
inference service does on a real one: a context and a model for each process,
and a workspace for each thread that has ever computed, which stays.

It computes on the first device that it sees, and through MPS where a control
daemon answers, as CUDA does.

Environment:
STACKMETER_FAKE_GPU      the fake driver's folder
CUDA_VISIBLE_DEVICES     the devices of a local process
FAKE_DEVICES             the devices of a container, from the fake toolkit
CUDA_MPS_PIPE_DIRECTORY  where the control daemon would be
"""

import os
import socket
import sys
import threading
import time

from flask import Flask, jsonify, request

sys.path.insert(0, os.environ["STACKMETER_FAKE_GPU"])
import fakegpu  # noqa: E402

MIB = 1 << 20
CONTEXT_AND_MODEL = 2600 * MIB  # of each process
WORKSPACE = 500 * MIB  # of each thread that computes


def through_mps():
    control = os.environ.get("CUDA_MPS_PIPE_DIRECTORY", "/tmp/nvidia-mps") + "/control"
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
        try:
            s.connect(control)
        except OSError:
            return False  # and CUDA goes on without
        return True


visible = os.environ.get("CUDA_VISIBLE_DEVICES") or os.environ.get("FAKE_DEVICES") or "0"
app = Flask(__name__)
lock = threading.Lock()
gpu = fakegpu.open(device=visible.replace(",", " ").split()[0], kind="m" if through_mps() else "c")
workspaces = 0
mine = threading.local()
gpu.allocate(CONTEXT_AND_MODEL)


def hold(extra=0):
    """lock is held."""
    gpu.allocate(CONTEXT_AND_MODEL + workspaces * WORKSPACE + extra)


@app.get("/healthz")
def healthz():
    return jsonify(status="ok")


@app.post("/predict")
def predict():
    global workspaces
    request.get_data()
    if not hasattr(mine, "workspace"):
        with lock:
            hold(WORKSPACE)  # refused where the device is full, and asked for again
            workspaces += 1
            mine.workspace = True
    time.sleep(float(request.args.get("ms", 4)) / 1000)
    return jsonify(pid=os.getpid())


@app.get("/spike")
def spike():
    """4 GiB for 30 ms, as an autotuner takes and frees them."""
    with lock:
        hold(4096 * MIB)
    time.sleep(0.03)
    with lock:
        hold()
    return jsonify(pid=os.getpid())
