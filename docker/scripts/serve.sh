#!/bin/sh
# Serve one part of Airflow (api-server, scheduler or dag-processor), after prepare.sh has run.
# Used by compose, the demo and the tests alike. There is no triggerer: a gate parks without one.
set -eu

part="${1:?serve.sh api-server | scheduler | dag-processor [options]}"
case "$part" in
    api-server | scheduler | dag-processor) exec airflow "$@" ;;
esac
echo "serve: unknown part $part; one of api-server, scheduler, dag-processor" >&2
exit 2
