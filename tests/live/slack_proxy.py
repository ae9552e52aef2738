"""What lies between a server and the emulated Slack: it remembers calls, and says more of people.

The emulator does not say of an account whether it is a guest's, a stranger's or has a confirmed
address; real Slack does.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import parse_qsl
from urllib.request import ProxyHandler, Request, build_opener

_direct = build_opener(ProxyHandler({}))


class SlackProxy:
    """A context manager: an HTTP server in front of a Web API.

    ``calls`` are (method, arguments, answer) in order; ``people`` maps Slack user ids to what
    ``users.info`` says besides (``profile`` is merged); ``down`` are methods that answer 503, and
    ``slow`` maps methods to the seconds they take.

    :param upstream: base URL of the Web API behind it.
    """

    def __init__(self, upstream: str) -> None:
        self.calls: list[tuple[str, dict[str, Any], dict[str, Any]]] = []
        self.people: dict[str, dict[str, Any]] = {}
        self.down: set[str] = set()
        self.slow: dict[str, float] = {}
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                method = self.path.rsplit("/", 1)[-1]
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                time.sleep(outer.slow.get(method, 0.0))
                if method in outer.down:
                    self.send_error(503)
                    return
                headers = {n: v for n, v in self.headers.items() if n.lower() not in ("host", "connection")}
                request = Request(upstream + method, data=body, headers=headers, method="POST")
                with _direct.open(request, timeout=10) as answer:
                    document = json.load(answer)
                outer.note(method, headers, body, document)
                # Whoever asked may have given up waiting for a slow method.
                with suppress(ConnectionError):
                    self.answer(document)

            def answer(self, document: Mapping[str, Any]) -> None:
                encoded = json.dumps(document).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(encoded)))
                self.end_headers()
                self.wfile.write(encoded)

            def log_message(self, *arguments: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/api/"

    def __enter__(self) -> SlackProxy:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def note(self, method: str, headers: Mapping[str, str], body: bytes, document: dict[str, Any]) -> None:
        if method == "users.info" and document.get("ok"):
            more = dict(self.people.get(document["user"]["id"], {}))
            document["user"]["profile"].update(more.pop("profile", {}))
            document["user"].update(more)
        self.calls.append((method, _arguments(headers, body), document))

    def asked(self, method: str) -> list[dict[str, Any]]:
        """Return the arguments of the calls of a method that were answered."""
        return [arguments for name, arguments, _ in self.calls if name == method]


def _arguments(headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
    kind = next((value for name, value in headers.items() if name.lower() == "content-type"), "")
    if "json" in kind:
        return dict(json.loads(body))
    return dict(parse_qsl(body.decode()))
