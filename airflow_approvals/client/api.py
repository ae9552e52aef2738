"""``ApprovalsClient``: ask, look, decide, wait."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from datetime import timedelta
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

from airflow_approvals.client.documents import (
    PENDING,
    ApprovalRequest,
    Asked,
    Decision,
    RequestDetail,
)
from airflow_approvals.client.transport import call, open_http
from airflow_approvals.errors import ContractError, UnavailableError

_REQUESTS = "/approvals/api/v1/requests"
_PAGE = 200
POLL = timedelta(seconds=2)


class ApprovalsClient:
    """The REST API of one Airflow, as one of its users.

    Every method raises :class:`~airflow_approvals.client.RefusalError` when the server refuses,
    :class:`~airflow_approvals.errors.UnavailableError` when it cannot be reached, and
    :class:`~airflow_approvals.errors.ContractError` when what answers is no approvals server.

    :param base_url: Airflow's address, such as ``https://airflow.example.com``; ``http`` only to
        this machine.
    :param token: the user's Airflow access token; see :meth:`sign_in`.
    :raises ConfigurationError: when the address would send the token in the clear.
    """

    def __init__(self, base_url: str, token: str) -> None:
        self._http = open_http(base_url, token)

    @classmethod
    def sign_in(cls, base_url: str, username: str, password: str) -> Self:
        """Sign in with a password, where the auth manager takes one, and return a client.

        Source: https://airflow.apache.org/docs/apache-airflow/stable/security/api.html (``/auth/token``).
        """
        with open_http(base_url, "") as http:
            answer = call(http, "POST", "/auth/token", body={"username": username, "password": password})
        token = answer.get("access_token") if isinstance(answer, Mapping) else None
        if not isinstance(token, str):
            raise ContractError("The server's answer holds no access token.")
        return cls(base_url, token)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def ask(self, dag_id: str, conf: Mapping[str, Any], *, key: str) -> Asked:
        """Start a DAG that holds a gate, and so ask people; the caller becomes the requester.

        :param conf: JSON; the run's configuration.
        :param key: idempotency key, 1 to 200 characters: asking again with it starts nothing.
        """
        headers = {"Idempotency-Key": key}
        document = {"dag_id": dag_id, "conf": dict(conf)}
        return Asked.read(call(self._http, "POST", _REQUESTS, body=document, headers=headers))

    def requests(self, **wanted: str) -> Iterator[ApprovalRequest]:
        """Iterate over the requests the user may see, newest first.

        :param wanted: ``state``, ``dag_id``, ``run_id`` or ``sink``, each to be equal.
        """
        after: str | None = None
        while True:
            params: dict[str, str | int] = {**wanted, "limit": _PAGE}
            page = call(self._http, "GET", _REQUESTS, params=params | ({"after": after} if after else {}))
            if not isinstance(page, Mapping) or not isinstance(page.get("requests"), list):
                raise ContractError("The server's answer is no page of requests.")
            yield from map(ApprovalRequest.read, page["requests"])
            after = page.get("next")
            if not after:
                return

    def request(self, request_id: str) -> RequestDetail:
        """Read one request with its votes, its requester set and its grant."""
        return RequestDetail.read(call(self._http, "GET", self._path(request_id)))

    def approve(self, request_id: str, reason: str = "") -> Decision:
        """Vote to approve, as the person whose token this is.

        :param reason: at most 2,000 characters; the rule may ask for a form.
        """
        return self._vote(request_id, "approve", reason)

    def reject(self, request_id: str, reason: str = "") -> Decision:
        """Vote to reject, as the person whose token this is."""
        return self._vote(request_id, "reject", reason)

    def take_back(self, request_id: str) -> Decision:
        """Take back one's own vote while the request is pending."""
        return Decision.read(call(self._http, "DELETE", f"{self._path(request_id)}/votes"))

    def withdraw(self, request_id: str) -> Decision:
        """Close a pending request without a decision; its gate stays shut."""
        return Decision.read(call(self._http, "POST", f"{self._path(request_id)}/withdraw"))

    def wait_for_requests(
        self, asked: Asked, *, timeout: timedelta, poll: timedelta = POLL
    ) -> tuple[ApprovalRequest, ...]:
        """Wait until a run has asked for something; return what it has asked for by then.

        :raises UnavailableError: when it has not in time.
        """
        run = {"dag_id": asked.dag_id, "run_id": asked.run_id}
        for _ in _moments(timeout, poll):
            if found := tuple(self.requests(**run)):
                return found
        raise UnavailableError(
            f"Run {asked.run_id} has not asked for anything in time.", "Look at its tasks."
        )

    def wait(self, request_id: str, *, timeout: timedelta, poll: timedelta = POLL) -> RequestDetail:
        """Wait until a request is final.

        :raises UnavailableError: when it is not in time; it goes on waiting for people all the same.
        """
        for _ in _moments(timeout, poll):
            found = self.request(request_id)
            if found.state != PENDING:
                return found
        raise UnavailableError(f"Nobody has decided request {request_id} in time.", "It is still pending.")

    def _vote(self, request_id: str, verdict: str, reason: str) -> Decision:
        body = {"verdict": verdict, "reason": reason}
        return Decision.read(call(self._http, "POST", f"{self._path(request_id)}/votes", body=body))

    def _path(self, request_id: str) -> str:
        return f"{_REQUESTS}/{quote(request_id, safe='')}"


def _moments(timeout: timedelta, poll: timedelta) -> Iterator[None]:
    """Yield now, and then after each rest until the time is up; the last time right at its end."""
    deadline = time.monotonic() + timeout.total_seconds()
    yield
    while (left := deadline - time.monotonic()) > 0:
        time.sleep(min(poll.total_seconds(), left))
        yield
