# Written by stackmeter export --format dockerfile: haproxy+flask-r2.
# The lowest duration.
# Measured by run r1.
# In doubt: no process that ran as service app-2 shows the command that stands here, so it is
# as stackmeter writes it today. Compare it with stackmeter report --format json.
# This is one of the 3 services that were measured: stackmeter export --format compose
# writes all of them.
# measured with sha256:0123
FROM shop/app:1
ENV FLASK_DEBUG="0"
ENV FLASK_RUN_CERT=""
ENV FLASK_RUN_KEY=""
ENV SEED="7"
# Give it when it starts, it is not recorded: docker run --env PRICE
EXPOSE 5000
HEALTHCHECK --interval=10s --timeout=10s --retries=3 --start-period=95s CMD ["python3","-c","import re, socket\ns = socket.create_connection((\"127.0.0.1\", 5000), 5)\ns.sendall(\"GET /healthz HTTP/1.0\\r\\nHost: localhost\\r\\n\\r\\n\".encode())\nraise SystemExit(not re.match(rb\"HTTP/1.. (2[0-9][0-9]) \", s.recv(64)))\n"]
ENTRYPOINT []
CMD ["flask","--app","wsgi:app","run","--host","0.0.0.0","--port","5000","--no-reload","--no-debugger","--with-threads"]
# Memory: its measured peak was 301 MiB, and a quarter is added to it (at least 64 MiB).
# It was measured as with: docker run --init --cap-drop ALL --security-opt no-new-privileges --memory 376m --memory-swap 376m
