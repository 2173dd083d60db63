# Written by stackmeter export --format dockerfile: own.
# The lowest duration.
# Measured by run r1.
# measured with sha256:0123
FROM shop/app:1
USER 1000:1000
EXPOSE 8000
# no health check: it is not known what program in its image could ask
ENTRYPOINT []
CMD ["serve","--port=8000","a b","$HOME"]
# Memory: its measured peak was 301 MiB, and a quarter is added to it (at least 64 MiB).
# It was measured as with: docker run --init --cap-drop ALL --security-opt no-new-privileges --memory 376m --memory-swap 376m
