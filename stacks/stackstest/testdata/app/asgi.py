"""The application as an ASGI server calls it: one request at a time, in a thread."""

from asgiref.wsgi import WsgiToAsgi

from wsgi import app as flask_app

app = WsgiToAsgi(flask_app)
