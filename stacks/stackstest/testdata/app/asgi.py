"""The application as a server of ASGI applications calls it: each request in a thread."""

from starlette.middleware.wsgi import WSGIMiddleware

from wsgi import app as flask_app

app = WSGIMiddleware(flask_app)
