"""How ``edited_module`` sends; tests edit their copy of this while a gate waits."""

from __future__ import annotations

import urllib.request
from urllib.parse import quote

from airflow.sdk.bases.hook import BaseHook


def send(run_id: str, which: str) -> None:
    connection = BaseHook.get_connection("sink_a")
    url = f"http://{connection.host}:{connection.port}/{quote(run_id, safe='')}/{quote(which, safe='')}"
    call = urllib.request.Request(url, method="POST", headers={"X-Password": connection.password or ""})
    urllib.request.build_opener(urllib.request.ProxyHandler({})).open(call, timeout=10).close()
