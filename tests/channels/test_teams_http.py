"""Calls to Microsoft end, whatever the other side does."""

from __future__ import annotations

import socket
import threading

import pytest

from airflow_approvals.channels.teams_http import call
from airflow_approvals.errors import ChannelError


def _drips(listener: socket.socket, over: threading.Event) -> None:
    """Answer one call with a byte now and then, up to what was announced."""
    connection, _ = listener.accept()
    with connection:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\n")
        for _ in range(40):
            if over.wait(0.05):
                return
            connection.sendall(b" ")


def test_an_answer_that_drips_in_is_given_up() -> None:
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=_drips, args=(listener, over))
        server.start()
        try:
            with pytest.raises(ChannelError, match="ReadTimeout"):
                call("GET", f"http://127.0.0.1:{listener.getsockname()[1]}/", to="It", timeout=0.2)
        finally:
            over.set()
            server.join()
