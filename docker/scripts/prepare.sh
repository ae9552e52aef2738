#!/bin/sh
# What has to be done once before serving, and may be done again: the tables, the Connections,
# the policy in force. Used by compose and by the demo alike.
#
#   APPROVALS_CONNECTIONS_FILE   Connections to import, in Airflow's JSON form (may be unset)
#
# The policy is the file that [approvals] policy_file names.
set -eu

echo "prepare: tables"
airflow db migrate

if [ -n "${APPROVALS_CONNECTIONS_FILE:-}" ]; then
    echo "prepare: connections"
    airflow connections import --overwrite "$APPROVALS_CONNECTIONS_FILE"
fi

echo "prepare: policy"
airflow approvals policy activate
