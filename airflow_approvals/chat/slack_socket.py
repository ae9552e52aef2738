"""The Socket Mode process: clicks from Slack where Slack cannot call in.

One process works, under a lease; others wait to take over. It holds two connections, so that
one that reconnects loses nothing, and looks at them all the time: what is wrong is logged, counted in
Airflow's metrics, and ends the process when only a person can mend it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from typing import Any

from airflow_approvals.channels.slack_socket import Socket, SocketFatalError
from airflow_approvals.chat import slack_callbacks
from airflow_approvals.config.named_secrets import named_secret
from airflow_approvals.config.settings import Settings
from airflow_approvals.control import faults, lease, metrics
from airflow_approvals.errors import ChannelError, ConfigurationError, ContractError
from airflow_approvals.store.session import run_transaction

log = logging.getLogger(__name__)

#: Two, and no more: Slack allows ten, and each that nobody reads any more loses clicks.
CONNECTIONS = 2
LOOK_SECONDS = 2.0
#: Slack gives three seconds.
SLOW_ACK_SECONDS = 2.5
#: A connection is renewed every few hours; with none up for this long, clicks are lost.
MAX_DOWN_SECONDS = 30.0
_INTERACTIVE = "interactive"


class SocketProcess:
    """Holds the connections while it holds the lease.

    :raises ConfigurationError: when no app-level token is named or its file cannot be read.
    """

    def __init__(self, settings: Settings) -> None:
        if settings.slack_app_token_file is None:
            raise ConfigurationError(
                "[approvals] slack_app_token_file is not set, so there is no socket to open.",
                "Put the app-level token (xapp-…) into a file and name it there.",
            )
        self._token = named_secret(settings, "slack_app_token")
        self._api_url = settings.slack_api_url
        self._holder = lease.new_holder()
        self._stop = threading.Event()
        self._sockets: list[Socket] = []
        self._after = ThreadPoolExecutor(max_workers=8, thread_name_prefix="approvals-slack")
        self._leads = False
        self._down_since: float | None = None
        self._alarms: frozenset[str] = frozenset()

    @property
    def alarms(self) -> frozenset[str]:
        """What is wrong now, in sentences."""
        return self._alarms

    @property
    def is_working(self) -> bool:
        """Whether every connection is up."""
        return len(self._sockets) == CONNECTIONS and all(one.is_connected for one in self._sockets)

    def request_stop(self) -> None:
        """Let the loop end; safe in a signal handler."""
        self._stop.set()

    def run(self) -> None:
        """Hold the connections until stopped.

        :raises SocketFatalError: when Slack will not let the app connect until somebody mends it.
        """
        try:
            while not self._stop.is_set():
                self._round()
                self._stop.wait(LOOK_SECONDS)
        finally:
            self._close()
            self._after.shutdown()
            run_transaction(
                partial(lease.release, name=lease.SLACK_SOCKET, holder=self._holder, now=datetime.now(UTC))
            )

    def _round(self) -> None:
        try:
            self._leads = self._holds_lease()
            if self._leads:
                self._keep_open()
            else:
                self._close()
        except SocketFatalError:
            raise
        except ChannelError as error:
            log.warning("approvals slack socket: %s", error)
        except Exception as error:
            faults.report("look after Slack's sockets", error)
        self._look()

    def _holds_lease(self) -> bool:
        acquire = partial(lease.acquire, name=lease.SLACK_SOCKET, holder=self._holder, now=datetime.now(UTC))
        return run_transaction(acquire)

    def _keep_open(self) -> None:
        for socket in self._sockets:
            socket.raise_if_fatal()
        while len(self._sockets) < CONNECTIONS:
            socket = Socket(self._token, self._api_url, self._take)
            try:
                socket.connect()
            except ChannelError:
                socket.close()
                raise
            self._sockets.append(socket)

    def _take(self, envelope_id: str, kind: str, payload: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """Take an envelope; ``{}`` acknowledges it with nothing, ``None`` not at all."""
        if kind != _INTERACTIVE:
            return {}
        try:
            answer = slack_callbacks.take(slack_callbacks.id_of_envelope(envelope_id), payload)
        except ContractError as error:
            log.info("approvals slack socket: %s", error)
            return {}
        except Exception as error:
            # It is not written down, so the person has to be shown that it did not arrive.
            faults.report("take what Slack sent", error)
            return None
        if answer.after is not None:
            self._after.submit(answer.after)
        return answer.body or {}

    def _look(self) -> None:
        """Tell what is wrong, once when it begins."""
        found = frozenset(self._problems())
        for sentence in sorted(found - self._alarms):
            log.error("approvals slack socket: %s", sentence)
        self._alarms = found
        if not self._leads:
            return  # the process that works reports
        counted = max((one.connections for one in self._sockets), default=0)
        slowest = max((one.ack_seconds for one in self._sockets), default=0.0)
        metrics.gauge("slack_socket.connections", counted)
        metrics.gauge("slack_socket.ack_seconds", slowest)
        metrics.gauge("slack_socket.alarms", len(found))

    def _problems(self) -> list[str]:
        if not self._leads:
            return []
        problems = []
        ghosts = max((one.connections for one in self._sockets), default=0) - len(self._sockets)
        if ghosts > 0:
            problems.append(
                f"Slack counts {ghosts} more connections of this app than are held here; clicks it sends to "
                "those are lost. End what else uses the app-level token, or wait until Slack drops them."
            )
        if any(one.ack_seconds > SLOW_ACK_SECONDS for one in self._sockets):
            problems.append("Acknowledging takes so long that people see errors in Slack.")
        if self._is_down():
            problems.append("No connection to Slack is up, so clicks do not arrive.")
        return problems

    def _is_down(self) -> bool:
        if any(one.is_connected for one in self._sockets):
            self._down_since = None
            return False
        self._down_since = self._down_since or time.monotonic()
        return time.monotonic() - self._down_since > MAX_DOWN_SECONDS

    def _close(self) -> None:
        for socket in self._sockets:
            socket.close()
        self._sockets.clear()
