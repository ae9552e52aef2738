"""An HTTP server that answers as it is told: what the emulator never does (429, 500, nonsense)."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any


class ScriptedSlack:
    """``answers`` are (status, headers, body) in the order in which calls get them.

    ``calls`` are the methods that were called, ``said`` the texts that came with them. Without an
    answer left, a call succeeds.
    """

    def __init__(self) -> None:
        self.answers: list[tuple[int, dict[str, str], bytes]] = []
        self.calls: list[str] = []
        self.said: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                if body and self.headers.get("Content-Type", "").startswith("application/json"):
                    outer.said.append(str(json.loads(body).get("text", "")))
                outer.calls.append(self.path.rsplit("/", 1)[-1])
                status, headers, body = outer.answers.pop(0) if outer.answers else outer.success()
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/api/"

    def __enter__(self) -> ScriptedSlack:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def will_say(self, status: int, document: Any, **headers: str) -> None:
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.answers.append((status, {"Content-Type": "application/json", **named}, body))

    def success(self) -> tuple[int, dict[str, str], bytes]:
        number = len(self.calls)
        body = {"ok": True, "channel": "C0SCRIPTED", "ts": f"1700000000.{number:06}", "user_id": "U0APP"}
        return 200, {"Content-Type": "application/json"}, json.dumps(body).encode()
