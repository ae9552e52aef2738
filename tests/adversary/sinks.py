"""Destinations on the loopback that count what reaches them with the sink's password."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self
from urllib.parse import unquote

PASSWORD = "hunter2-sink-password"


class Sink:
    """An HTTP endpoint; a ``POST`` to ``/<run id>/<task id>`` with the password is a release."""

    def __init__(self) -> None:
        self._calls: list[tuple[str, str]] = []
        #: What a run's task sent last, by run id and task.
        self.bodies: dict[tuple[str, str], bytes] = {}
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                allowed = self.headers.get("X-Password") == PASSWORD
                if allowed:
                    _, run_id, task = self.path.split("/", 2)
                    outer._calls.append((unquote(run_id), unquote(task)))
                    size = int(self.headers.get("Content-Length") or 0)
                    outer.bodies[unquote(run_id), unquote(task)] = self.rfile.read(size)
                self.send_response(200 if allowed else 403)
                self.end_headers()

            def log_message(self, *args: object) -> None:
                """Keep the test's output to itself."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def calls(self, run_id: str | None = None) -> list[str]:
        """Return the tasks that released something, of one run or of all."""
        return [task for run, task in list(self._calls) if run_id in (None, run)]

    def runs(self) -> set[str]:
        """Return every run that released something."""
        return {run for run, _ in list(self._calls)}
