#!/bin/sh
# The admin port stays on the container's loopback; --admin-host 0.0.0.0 opens it, for Prometheus outside of the container.
# `exec` makes the server process 1, which gets SIGTERM. "serve" comes from SageMaker, or from the image's CMD.
[ "$1" = serve ] && shift
exec node node_modules/tapegrad/dist/cli/index.js serve --host 0.0.0.0 --allow-unauthenticated "$@"
