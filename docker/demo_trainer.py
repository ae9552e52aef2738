"""A training service that only writes down what it is asked to train on: PORT FILE."""

from __future__ import annotations

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Trainer(BaseHTTPRequestHandler):
    """Takes ``POST /jobs`` and adds the body as one line to the file."""

    jobs: Path

    def do_POST(self) -> None:
        """Record one job."""
        job = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        with self.jobs.open("ab") as file:
            file.write(job + b"\n")
        self.send_response(202)
        self.end_headers()


if __name__ == "__main__":
    Trainer.jobs = Path(sys.argv[2])
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Trainer).serve_forever()
