"""One Socket Mode connection to Slack, over ``slack_sdk``'s client.

The client reconnects by itself, whatever the reason. Here it is told what it does not know: that a
disabled link or a dead token is for good, and that a connection which Slack counts and nobody
holds any more swallows clicks (a reconnect behind NAT leaves one; Slack sends each payload to any one
of an app's connections, at most ten).

Source: https://docs.slack.dev/apis/events-api/using-socket-mode/ (envelopes, ``hello``, ``disconnect``
and its reasons, ten connections, three seconds to acknowledge).
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError
from slack_sdk.socket_mode.builtin import SocketModeClient

from airflow_approvals.channels.slack_api import checked_url
from airflow_approvals.errors import ChannelError

log = logging.getLogger(__name__)

TIMEOUT_SECONDS = 10
PING_SECONDS = 5.0
#: How often a connection that is being closed is told so again.
CLOSE_SECONDS = 0.2
WORKERS = 10
#: What no later attempt changes: the app or its token has to be mended first.
FATAL_ERRORS = frozenset(
    {
        "account_inactive",
        "invalid_auth",
        "missing_scope",
        "no_permission",
        "not_allowed_token_type",
        "not_authed",
        "token_expired",
        "token_revoked",
    }
)
FATAL_REASONS = frozenset({"link_disabled"})

#: Takes an envelope's id, type and payload; returns what to acknowledge it with, ``None`` for no
#: acknowledgement: then Slack shows the person an error.
Take = Callable[[str, str, Mapping[str, Any]], Mapping[str, Any] | None]


class SocketFatalError(ChannelError):
    """Slack will not let this app connect again until somebody mends it."""

    code = "slack_socket_fatal"


class Socket:
    """A connection that comes back by itself.

    :param app_token: the app-level token (``xapp-…``, scope ``connections:write``).
    :param api_url: base URL of the Web API; a connection may lead elsewhere than to Slack only when
        this does.
    :param take: called for every envelope, several at once; see :data:`Take`.
    """

    def __init__(self, app_token: str, api_url: str, take: Take) -> None:
        self.ack_seconds = 0.0
        self.fatal: str | None = None
        self.hello_at: float | None = None
        self.connections = 0
        self._take = take
        web = WebClient(base_url=checked_url(api_url), timeout=TIMEOUT_SECONDS, retry_handlers=[])
        self._client = _Client(self, app_token, web, _trusted_host(api_url))

    @property
    def is_connected(self) -> bool:
        """Whether it is up now; a reconnect under way is not."""
        return self._client.is_connected()

    def connect(self) -> None:
        """Connect, or connect again.

        :raises SocketFatalError: when trying again is of no use.
        :raises ChannelError: when Slack cannot be reached now.
        """
        try:
            self._client.connect_to_new_endpoint()
        except Exception as error:
            self.raise_if_fatal()
            raise ChannelError(f"Slack's socket could not be opened ({type(error).__name__}).") from None
        if not self.is_connected:
            raise ChannelError("Slack's socket did not open.")

    def raise_if_fatal(self) -> None:
        """Raise :class:`SocketFatalError` when Slack has said that no connection is of any use."""
        if self.fatal is not None:
            raise SocketFatalError(
                f"Slack ended Socket Mode for this app: {self.fatal}.", _HINTS.get(self.fatal, "")
            )

    def close(self) -> None:
        """Close it for good."""
        self._client.close()

    def hear(self, message: Mapping[str, Any]) -> bool:
        """Look at a message before the client does; return whether the client may see it."""
        if message.get("type") == "hello":
            self.hello_at = time.monotonic()
            self.connections = _count(message.get("num_connections"))
        if message.get("type") == "disconnect" and message.get("reason") in FATAL_REASONS:
            self.fatal = str(message["reason"])
            return False
        return True

    def answer(self, message: Mapping[str, Any]) -> None:
        """Take an envelope and acknowledge it."""
        envelope_id, kind, payload = (message.get(name) for name in ("envelope_id", "type", "payload"))
        if not isinstance(envelope_id, str) or not isinstance(payload, Mapping):
            return
        started = time.monotonic()
        reply = self._take(envelope_id, str(kind), payload)
        if reply is not None:
            # A lost acknowledgement is the client's to log; the envelope is written down.
            answer = {"envelope_id": envelope_id, **({"payload": dict(reply)} if reply else {})}
            self._client.send_socket_mode_response(answer)
            self.ack_seconds = time.monotonic() - started


class _Client(SocketModeClient):
    """The SDK's client, with the token kept out of its log and the reasons looked at."""

    def __init__(self, socket: Socket, app_token: str, web: WebClient, trusted: str | None) -> None:
        quiet = logging.getLogger(f"{__name__}.sdk")
        # At DEBUG it prints whole messages, with names and response addresses in them.
        quiet.setLevel(logging.WARNING)
        self._socket = socket
        self._trusted = trusted
        super().__init__(
            app_token,
            logger=quiet,
            web_client=web,
            ping_interval=PING_SECONDS,
            concurrency=WORKERS,
            proxy=None,
        )
        self.message_listeners.append(lambda client, message, raw: socket.answer(message))

    def issue_new_wss_url(self) -> str:
        try:
            answer = self.web_client.apps_connections_open(app_token=self.app_token)
        except SlackApiError as error:
            code = (
                str((error.response.data or {}).get("error", ""))
                if isinstance(error.response.data, dict)
                else ""
            )
            if code in FATAL_ERRORS:
                self._socket.fatal = code
                self.auto_reconnect_enabled = False
            raise ChannelError(f"Slack refused to open a socket: {code or 'unknown'}.") from None
        return _checked(str(answer["url"]), self._trusted)

    def close(self) -> None:
        # The SDK's receiver says of a new connection that it is not at its end, even when it has been
        # closed just before that, and whoever closes it waits for the receiver: so it is told again.
        closing = Thread(target=super().close, name="approvals-slack-socket-close", daemon=True)
        closing.start()
        while closing.is_alive():
            self.current_session_state.terminated = True
            closing.join(CLOSE_SECONDS)

    def enqueue_message(self, message: str) -> None:
        if _passes(self._socket, message):
            super().enqueue_message(message)
        else:
            self.auto_reconnect_enabled = self.default_auto_reconnect_enabled = False


def _passes(socket: Socket, text: str) -> bool:
    try:
        message = json.loads(text)
    except ValueError:
        return False
    return not isinstance(message, Mapping) or socket.hear(message)


def _checked(url: str, trusted: str | None) -> str:
    """Return the address of a socket if it is Slack's own, over TLS."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if trusted is not None and host == trusted:
        return url
    # On any other port the SDK would connect without TLS.
    if parts.scheme == "wss" and parts.port in (None, 443) and host.endswith(".slack.com"):
        return url
    raise ChannelError("Slack named an address for the socket that is not its own.")


def _trusted_host(api_url: str) -> str | None:
    host = urlsplit(api_url).hostname
    return host if host in ("localhost", "127.0.0.1", "::1") else None


def _count(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


_HINTS = {
    "link_disabled": "Switch Socket Mode on in the app's settings, then start this again.",
    "missing_scope": "The app-level token needs the scope connections:write.",
    "not_allowed_token_type": "Name an app-level token (xapp-…) in slack_app_token_file.",
    "invalid_auth": "Check the app-level token file.",
    "token_revoked": "Make a new app-level token.",
}
