"""How the client talks: over TLS, with a bearer token that no error ever shows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx

from airflow_approvals.errors import ApprovalsError, ConfigurationError, ContractError, UnavailableError

TIMEOUT_SECONDS = 30.0
#: Connections that could not be made are tried again; a call that was sent is not.
CONNECT_RETRIES = 2
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class RefusalError(ApprovalsError):
    """The server refused. ``code`` is stable (``self_approval``), ``status`` the HTTP status."""

    def __init__(self, code: str, sentence: str, status: int) -> None:
        super().__init__(sentence)
        self.code = code
        self.status = status


def open_http(base_url: str, token: str) -> httpx.Client:
    """Return an HTTP client for an Airflow.

    :param base_url: Airflow's address, without ``/approvals``.
    :param token: an Airflow access token; empty when there is none yet.
    :raises ConfigurationError: when the address would send the token in the clear.
    """
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return httpx.Client(
        base_url=_checked(base_url),
        headers=headers,
        timeout=TIMEOUT_SECONDS,
        transport=httpx.HTTPTransport(retries=CONNECT_RETRIES),
        follow_redirects=False,
    )


def call(
    http: httpx.Client,
    method: str,
    path: str,
    *,
    body: Any = None,
    params: Mapping[str, str | int] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Any:
    """Call the server; return the JSON it answers with.

    :raises RefusalError: when it refuses, with its code and sentence.
    :raises UnavailableError: when it cannot be reached or fails.
    :raises ContractError: when what answers is no approvals server.
    """
    try:
        answer = http.request(method, path, json=body, params=params, headers=headers)
    except httpx.HTTPError as error:
        raise UnavailableError(
            f"The Airflow server could not be reached ({type(error).__name__}).",
            "Nothing is known to have changed; ask again.",
        ) from None
    if answer.is_success:
        return _json(answer)
    if answer.status_code >= 500:
        raise UnavailableError(f"The Airflow server failed (HTTP {answer.status_code}).", "Try again later.")
    raise _refusal(answer)


def _refusal(answer: httpx.Response) -> ApprovalsError:
    if answer.is_redirect:
        return ContractError(
            f"The server redirects (HTTP {answer.status_code}).", "Use Airflow's own address."
        )
    document = _json(answer)
    detail = document.get("detail") if isinstance(document, Mapping) else None
    sentence = detail if isinstance(detail, str) else "The server refused the call."
    code = document.get("code") if isinstance(document, Mapping) else None
    return RefusalError(code if isinstance(code, str) else "refused", sentence, answer.status_code)


def _json(answer: httpx.Response) -> Any:
    try:
        return answer.json()
    except ValueError:
        raise ContractError(
            f"The server's answer (HTTP {answer.status_code}) is no JSON.",
            "Check that the address is an Airflow with airflow-approvals installed.",
        ) from None


def _checked(base_url: str) -> str:
    parts = urlsplit(base_url)
    if parts.scheme == "https" and parts.hostname:
        return base_url.rstrip("/")
    if parts.scheme == "http" and parts.hostname in _LOOPBACK:
        return base_url.rstrip("/")
    raise ConfigurationError(
        "The server's address must start with https://, since your token is sent there.",
        "http:// is accepted for this machine only (localhost, 127.0.0.1).",
    )
