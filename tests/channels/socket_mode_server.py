"""Slack's side of Socket Mode on the loopback, with the limits of the real one.

``apps.connections.open`` wants the app-level token and gives an address that is good once; at most
ten connections; a payload goes to any one of them. Built from https://docs.slack.dev/apis/events-api/using-socket-mode/.
"""

from __future__ import annotations

import json
import secrets
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.server import Server, ServerConnection, serve

TOKEN = "xapp-1-A0-loopback"
MOST = 10
#: Slack waits three seconds; how long that is on a busy machine is no test of ours.
PATIENCE_SECONDS = 30.0


@dataclass
class SocketModeServer:
    """``opened`` counts calls of ``apps.connections.open``; ``errors`` are answers it gives first."""

    api_url: str = ""
    opened: int = 0
    errors: list[tuple[int, str, dict[str, str]]] = field(default_factory=list)
    ghosts: int = 0
    acknowledged: dict[str, Any] = field(default_factory=dict)
    _tickets: set[str] = field(default_factory=set)
    _live: list[ServerConnection] = field(default_factory=list)
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _port: int = 0

    # -- what Slack does -----------------------------------------------------------------------

    def open(self, token: str | None) -> tuple[int, dict[str, Any], dict[str, str]]:
        self.opened += 1
        if self.errors:
            status, error, headers = self.errors.pop(0)
            return status, {"ok": False, "error": error}, headers
        if token != f"Bearer {TOKEN}":
            return 200, {"ok": False, "error": "invalid_auth"}, {}
        ticket = secrets.token_hex(8)
        self._tickets.add(ticket)
        return 200, {"ok": True, "url": f"ws://127.0.0.1:{self._port}/link/?ticket={ticket}"}, {}

    def handle(self, connection: ServerConnection) -> None:
        path = connection.request.path if connection.request else ""
        ticket = path.partition("ticket=")[2]
        if ticket not in self._tickets:
            return
        self._tickets.discard(ticket)
        with self._changed:
            crowded = len(self._live) >= MOST
            if not crowded:
                self._live.append(connection)
            self._changed.notify_all()
        if crowded:
            connection.send(json.dumps({"type": "disconnect", "reason": "too_many_websockets"}))
            return
        hello = {"type": "hello", "num_connections": len(self._live) + self.ghosts}
        connection.send(json.dumps({**hello, "debug_info": {"approximate_connection_time": 18060}}))
        with suppress(ConnectionClosed):
            for text in connection:
                self._acknowledge(json.loads(text))
        with self._changed:
            if connection in self._live:
                self._live.remove(connection)
            self._changed.notify_all()

    def _acknowledge(self, message: dict[str, Any]) -> None:
        with self._changed:
            self.acknowledged[message["envelope_id"]] = message.get("payload")
            self._changed.notify_all()

    # -- what a test says ----------------------------------------------------------------------

    def send(
        self, payload: dict[str, Any], *, envelope_id: str | None = None, kind: str = "interactive"
    ) -> str:
        """Send an envelope to any one connection; return its id."""
        envelope_id = envelope_id or secrets.token_hex(16)
        envelope = {
            "envelope_id": envelope_id,
            "type": kind,
            "payload": payload,
            "accepts_response_payload": True,
        }
        secrets.choice(self._live).send(json.dumps(envelope))
        return envelope_id

    def disconnect(self, reason: str, index: int = 0) -> None:
        """Tell a connection to go; nothing more is sent to it."""
        with self._changed:
            connection = self._live.pop(index)
        connection.send(json.dumps({"type": "disconnect", "reason": reason}))

    def drop(self, index: int = 0) -> None:
        """Close a connection without a word."""
        with self._changed:
            connection = self._live.pop(index)
        connection.socket.shutdown(socket.SHUT_RDWR)

    def until_connections(self, count: int, timeout: float = 30.0) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self._live) == count, timeout), (
                f"{len(self._live)} are live"
            )

    def until_acknowledged(self, envelope_id: str, timeout: float = PATIENCE_SECONDS) -> Any:
        """Return what an envelope was acknowledged with."""
        with self._changed:
            assert self._changed.wait_for(lambda: envelope_id in self.acknowledged, timeout), (
                "Slack shows an error"
            )
        return self.acknowledged[envelope_id]


@contextmanager
def a_socket_mode_server() -> Iterator[SocketModeServer]:
    slack = SocketModeServer()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, document, headers = slack.open(self.headers.get("Authorization"))
            body = json.dumps(document).encode()
            self.send_response(status)
            for name, value in {"Content-Type": "application/json", **headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            """Keep the test's output to itself."""

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    sockets: Server = serve(slack.handle, "127.0.0.1", 0, ping_interval=None)
    slack.api_url = f"http://127.0.0.1:{http.server_address[1]}/api/"
    slack._port = sockets.socket.getsockname()[1]
    for run in (http.serve_forever, sockets.serve_forever):
        threading.Thread(target=run, daemon=True).start()
    try:
        yield slack
    finally:
        http.shutdown()
        http.server_close()
        sockets.shutdown()
