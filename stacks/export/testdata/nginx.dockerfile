# Written by stackmeter export --format dockerfile: nginx+gunicorn-w1-t4.
# The lowest duration.
# Measured by run r1.
# This is one of the 2 services that were measured: stackmeter export --format compose
# writes all of them.
# measured with sha256:0123
FROM shop/app:1
ENV SEED="7"
# Give it when it starts, it is not recorded: docker run --env PRICE
EXPOSE 5000
HEALTHCHECK --interval=10s --timeout=10s --retries=3 --start-period=95s CMD ["python3","-c","import re, socket\ns = socket.create_connection((\"127.0.0.1\", 5000), 5)\ns.sendall(\"GET /healthz HTTP/1.0\\r\\nHost: localhost\\r\\n\\r\\n\".encode())\nraise SystemExit(not re.match(rb\"HTTP/1.. (2[0-9][0-9]) \", s.recv(64)))\n"]
ENTRYPOINT []
CMD ["gunicorn","--bind","0.0.0.0:5000","--workers","1","--worker-class","gthread","--threads","4","--timeout","100","--worker-tmp-dir","/dev/shm","wsgi:app"]
# Memory: its measured peak was 301 MiB, and a quarter is added to it (at least 64 MiB).
# It was measured as with: docker run --init --cap-drop ALL --security-opt no-new-privileges --memory 376m --memory-swap 376m --cpus 2
