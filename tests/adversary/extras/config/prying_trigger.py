"""A trigger that opens the sink's Connection in the triggerer and sends."""

from __future__ import annotations

import urllib.request
from urllib.parse import quote

from airflow.sdk.bases.hook import BaseHook
from airflow.triggers.base import BaseTrigger, TriggerEvent


class PryingTrigger(BaseTrigger):
    def __init__(self, run: str) -> None:
        super().__init__()
        self.run_to_name = run

    def serialize(self):
        return "prying_trigger.PryingTrigger", {"run": self.run_to_name}

    async def run(self):
        try:
            connection = await BaseHook.aget_connection("sink_a")
            url = f"http://{connection.host}:{connection.port}/{quote(self.run_to_name, safe='')}/trigger"
            headers = {"X-Password": connection.password or ""}
            urllib.request.urlopen(urllib.request.Request(url, method="POST", headers=headers), timeout=10)
            yield TriggerEvent("released")
        except Exception as error:
            yield TriggerEvent(f"refused: {type(error).__name__}")
