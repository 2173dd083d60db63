# Written by stackmeter export --format dockerfile: nginx+gunicorn-w2-t2-unix.
# The lowest duration.
# Measured by run r1.
# This is one of the 2 services that were measured: stackmeter export --format compose
# writes all of them.
# measured with sha256:0123
FROM shop/app:1
ENV SEED="7"
# Give it when it starts, it is not recorded: docker run --env PRICE
HEALTHCHECK --interval=10s --timeout=10s --retries=3 --start-period=95s CMD ["python3","-c","import re, socket\ns = socket.socket(socket.AF_UNIX)\ns.settimeout(5)\ns.connect(\"/run/stackmeter/app.sock\")\ns.sendall(\"GET /healthz HTTP/1.0\\r\\nHost: localhost\\r\\n\\r\\n\".encode())\nraise SystemExit(not re.match(rb\"HTTP/1.. (2[0-9][0-9]) \", s.recv(64)))\n"]
ENTRYPOINT []
CMD ["gunicorn","--bind","unix:/run/stackmeter/app.sock","--workers","2","--worker-class","gthread","--threads","2","--timeout","100","--worker-tmp-dir","/dev/shm","--preload","--keep-alive=5","--log-level=warning","wsgi:app"]
# Memory: its measured peak was 301 MiB, and a quarter is added to it (at least 64 MiB).
# It was measured as with: docker run --init --cap-drop ALL --security-opt no-new-privileges --memory 376m --memory-swap 376m
