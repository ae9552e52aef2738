#!/bin/sh
# Serve one part of Airflow (api-server, scheduler, dag-processor or custodian), after prepare.sh has run.
# Used by compose, the demo and the tests alike. There is no triggerer: a gate parks without one.
set -eu

part="${1:?serve.sh api-server | scheduler | dag-processor | custodian [options]}"
case "$part" in
    api-server | scheduler | dag-processor) exec airflow "$@" ;;
    custodian) exec airflow approvals custodian ;;
esac
echo "serve: unknown part $part; one of api-server, scheduler, dag-processor, custodian" >&2
exit 2
