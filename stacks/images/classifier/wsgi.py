"""The sample application: an image classifier behind HTTP.

GET  /healthz   200 once the model has answered itself in this process
POST /predict   an image file, as the multipart field "file" or as the body

The model is loaded where this module is imported, in each server process of
its own. A server process takes no request before the import is done, so no
request ever meets a worker without a model.
"""

import os

from settings import Settings

settings = Settings.from_env()

# OpenMP and OpenBLAS read these once, when torch loads them.
os.environ.setdefault("OMP_NUM_THREADS", str(settings.threads))
os.environ.setdefault("OPENBLAS_NUM_THREADS", str(settings.threads))

import torch  # noqa: E402
from flask import Flask, abort, jsonify, request  # noqa: E402
from werkzeug.exceptions import HTTPException  # noqa: E402

from classifier import Classifier, NotAnImage  # noqa: E402

MAX_BODY = 32 << 20  # bytes of one request

app = Flask(__name__)
app.config["MAX_CONTENT_LENGTH"] = MAX_BODY
classifier = Classifier(settings)


@app.get("/healthz")
def healthz():
    state = {
        "model": classifier.model,
        "weights": classifier.weights,
        "device": classifier.device.type,
        "device_name": classifier.device_name,
        "torch": torch.__version__,
        "torch_threads": torch.get_num_threads(),
        "pid": os.getpid(),
    }
    if not loaded_here():
        return jsonify(state | {"status": "unavailable", "error": NOT_LOADED_HERE}), 503
    return jsonify(state | {"status": "ok"})


@app.post("/predict")
def predict():
    if not loaded_here():
        abort(503, NOT_LOADED_HERE)
    try:
        answer = classifier.classify(image_file())
    except NotAnImage as error:
        abort(400, str(error))
    return jsonify(model=classifier.model, top5=answer)


def image_file():
    """The bytes of the image in the current request."""
    if request.mimetype == "multipart/form-data":
        file = request.files.get("file")
        if file is None:
            abort(400, 'the form has no file in its field "file"')
        data = file.read()
    else:
        data = request.get_data(cache=False)
        if len(data) >= MAX_BODY:
            # A body without a Content-Length is cut off there, and says nothing.
            abort(413)
    if not data:
        abort(400, 'no image: send one as the multipart field "file" or as the body')
    return data


NOT_LOADED_HERE = (
    "the model was loaded in another process and this one is its fork, "
    "where neither CUDA nor torch's threads work; start the server without preloading the application"
)


def loaded_here():
    return classifier.pid == os.getpid()


@app.errorhandler(HTTPException)
def refuse(error):
    return jsonify(error=error.description), error.code
