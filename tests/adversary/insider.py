"""What code inside a task can say to the server: calls of the Execution API with the task's token."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from typing import Any

import httpx
import jwt

from tests.live.airflow_documents import PatientTransport

VERSION = "2026-06-30"


@dataclass(frozen=True)
class Insider:
    """The holder of one task instance's token; the token is the one a worker gets for it."""

    server: str
    secret: str
    ti_id: str

    @property
    def token(self) -> str:
        now = int(time.time())
        claims = {
            "jti": secrets.token_hex(8),
            "sub": self.ti_id,
            "scope": "execution",
            "aud": "urn:airflow.apache.org:task",
            "nbf": now,
            "iat": now,
            "exp": now + 600,
        }
        return jwt.encode(claims, self.secret, algorithm="HS512")

    def call(self, method: str, path: str, body: Any = None, version: str = VERSION) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.token}", "Airflow-API-Version": version}
        with httpx.Client(transport=PatientTransport(), trust_env=False, timeout=120) as client:
            return client.request(method, f"{self.server}/execution{path}", headers=headers, json=body)

    def connection(self, conn_id: str = "sink_a") -> httpx.Response:
        return self.call("GET", f"/connections/{conn_id}")
