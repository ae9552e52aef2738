#!/bin/sh
# Serve one part of Airflow (api-server, scheduler or dag-processor) once the tables are there.
set -eu

part="$1"
shift
case "$part" in
    api-server | scheduler | dag-processor) ;;
    *)
        echo "serve: unknown part $part; one of api-server, scheduler, dag-processor" >&2
        exit 2
        ;;
esac

airflow db check-migrations --migration-wait-timeout "${APPROVALS_MIGRATION_SECONDS:-120}"
exec airflow "$part" "$@"
