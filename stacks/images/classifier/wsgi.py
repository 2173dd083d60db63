"""The sample application as WSGI: an image classifier behind HTTP.

GET  /healthz   200 once the model has answered itself in this process
POST /predict   an image file, as the multipart field "file" or as the body
GET  /stream    server-sent events: ?events=20&gap_ms=20

The model is loaded where this module is imported, in each server process of
its own. A server process takes no request before the import is done, so no
request ever meets a worker without a model. asgi.py is the same as ASGI.
"""

import time

from flask import Flask, Response, abort, jsonify, request
from werkzeug.exceptions import HTTPException

import stream
from batching import Batcher
from classifier import MAX_BODY, NO_FILE, NO_IMAGE, NOT_LOADED_HERE, Classifier, NotAnImage
from settings import SettingsError, settings

app = Flask(__name__)
app.config["MAX_CONTENT_LENGTH"] = MAX_BODY
classifier = Classifier(settings)
batcher = Batcher(classifier.infer, settings.batch, settings.delay) if settings.batch > 1 else None


@app.get("/healthz")
def healthz():
    state = classifier.state()
    if batcher:
        state["batches"] = batcher.sizes
    return jsonify(state), 200 if classifier.loaded_here() else 503


@app.post("/predict")
def predict():
    if not classifier.loaded_here():
        abort(503, NOT_LOADED_HERE)
    try:
        answer = classify(image_file())
    except NotAnImage as error:
        abort(400, str(error))
    return jsonify(model=classifier.model, top5=answer)


def classify(data):
    if batcher:
        return batcher.submit(classifier.prepare(data)).result()
    return classifier.classify(data)


def image_file():
    """The bytes of the image in the current request."""
    if request.mimetype == "multipart/form-data":
        file = request.files.get("file")
        if file is None:
            abort(400, NO_FILE)
        data = file.read()
    else:
        data = request.get_data(cache=False)
        if len(data) >= MAX_BODY:
            # A body without a Content-Length is cut off there, and says nothing.
            abort(413)
    if not data:
        abort(400, NO_IMAGE)
    return data


@app.get("/stream")
def events():
    try:
        count, gap = stream.pace(request.args)
    except SettingsError as error:
        abort(400, str(error))

    def paced():
        for i, text in enumerate(stream.texts(count)):
            if i:
                time.sleep(gap)
            yield text

    return Response(paced(), headers=stream.HEADERS)


@app.errorhandler(HTTPException)
def refuse(error):
    return jsonify(error=error.description), error.code
