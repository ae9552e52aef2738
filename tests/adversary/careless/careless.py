"""What an honest author gets wrong: the sink's Connection in plain sight, and no gate before it."""

from __future__ import annotations

import urllib.request
from urllib.parse import quote

from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG
from airflow.sdk.bases.hook import BaseHook


def send(run_id: str, conn_id: str) -> None:
    connection = BaseHook.get_connection(conn_id)
    url = f"http://{connection.host}:{connection.port}/{quote(run_id, safe='')}/use"
    call = urllib.request.Request(url, method="POST", headers={"X-Password": connection.password or ""})
    urllib.request.build_opener(urllib.request.ProxyHandler({})).open(call, timeout=10).close()


with DAG("careless", schedule=None, catchup=False):
    PythonOperator(
        task_id="use", python_callable=send, op_kwargs={"run_id": "{{ run_id }}", "conn_id": "sink_a"}
    )
