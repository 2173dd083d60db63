"""The sample application as ASGI: what wsgi.py answers, for uvicorn and its like.

A server process has one event loop, which stands still while anything computes
in it. EXECUTOR says where the model computes:

threads   in a pool of THREADS threads, while the loop takes further requests
loop      in the loop itself, as an `async def` does that calls a model: one
          request at a time, however many wait

With BATCH above 1 that is where images are decoded, and one more thread
computes what waits, up to BATCH images at once (batching.py).
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from starlette.applications import Starlette
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route

import stream
from batching import Batcher
from classifier import MAX_BODY, NO_FILE, NO_IMAGE, NOT_LOADED_HERE, Classifier, NotAnImage
from settings import SettingsError, settings

classifier = Classifier(settings)
batcher = Batcher(classifier.infer, settings.batch, settings.delay) if settings.batch > 1 else None
pool = ThreadPoolExecutor(settings.threads)


async def healthz(request):
    state = classifier.state()
    if batcher:
        state["batches"] = batcher.sizes
    return JSONResponse(state, 200 if classifier.loaded_here() else 503)


async def predict(request):
    if not classifier.loaded_here():
        raise HTTPException(503, NOT_LOADED_HERE)
    try:
        answer = await classify(await image_file(request))
    except NotAnImage as error:
        raise HTTPException(400, str(error)) from error
    return JSONResponse({"model": classifier.model, "top5": answer})


async def classify(data):
    if batcher:
        image = await compute(classifier.prepare, data)
        return await asyncio.wrap_future(batcher.submit(image))
    return await compute(classifier.classify, data)


async def compute(function, data):
    if settings.executor == "loop":
        return function(data)
    return await asyncio.get_running_loop().run_in_executor(pool, function, data)


async def image_file(request):
    """The bytes of the image in a request."""
    length = request.headers.get("content-length")
    if length is None:
        raise HTTPException(411)  # it could grow without end
    if int(length) > MAX_BODY:
        raise HTTPException(413)
    if request.headers.get("content-type", "").startswith("multipart/form-data"):
        async with request.form() as form:
            file = form.get("file")
            if not isinstance(file, UploadFile):
                raise HTTPException(400, NO_FILE)
            data = await file.read()
    else:
        data = await request.body()
    if not data:
        raise HTTPException(400, NO_IMAGE)
    return data


async def events(request):
    try:
        count, gap = stream.pace(request.query_params)
    except SettingsError as error:
        raise HTTPException(400, str(error)) from error

    async def paced():
        for i, text in enumerate(stream.texts(count)):
            if i:
                await asyncio.sleep(gap)
            yield text

    return StreamingResponse(paced(), headers=stream.HEADERS)


async def refuse(request, error):
    return JSONResponse({"error": error.detail}, error.status_code)


app = Starlette(
    routes=[
        Route("/healthz", healthz),
        Route("/predict", predict, methods=["POST"]),
        Route("/stream", events),
    ],
    exception_handlers={HTTPException: refuse},
)
