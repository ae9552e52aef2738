"""Real git repositories for tests, made with the ``git`` command."""

from __future__ import annotations

import subprocess
from pathlib import Path


class Repository:
    """A bare repository, as a git bundle keeps one, and words to write its history."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._git("init", "--quiet", "--bare", str(path), within=False)
        self.head: str | None = None

    def commit(self, mail: str, *, by: str | None = None, message: str = "a change") -> str:
        """Add a commit by ``mail`` (committed by somebody else when told); return its hash."""
        people = {
            "GIT_AUTHOR_NAME": "a",
            "GIT_AUTHOR_EMAIL": mail,
            "GIT_COMMITTER_NAME": "c",
            "GIT_COMMITTER_EMAIL": by or mail,
        }
        parent = ("-p", self.head) if self.head else ()
        tree = self._git("mktree", stdin="")
        self.head = self._git("commit-tree", tree, *parent, "-m", message, environment=people)
        self._git("update-ref", "HEAD", self.head)
        return self.head

    def raw_commit(self, message: str, *, parent: str) -> str:
        """Add a commit that names neither author nor committer; return its hash."""
        tree = self._git("mktree", stdin="")
        text = f"tree {tree}\nparent {parent}\n\n{message}\n"
        return self._git("hash-object", "-t", "commit", "-w", "--stdin", "--literally", stdin=text)

    def forge_graph_without_parents(self, commit: str) -> None:
        """Write a commit graph in which that commit has no parent.

        Source: https://git-scm.com/docs/gitformat-commit-graph (chunks OIDL and CDAT).
        """
        self._git("commit-graph", "write", "--reachable")
        path = self.path / "objects" / "info" / "commit-graph"
        graph = bytearray(path.read_bytes())
        table = {bytes(graph[at : at + 4]): at for at in range(8, 8 + 12 * (graph[6] + 1), 12)}
        start = {name: int.from_bytes(graph[at + 4 : at + 12], "big") for name, at in table.items()}
        row = (graph.index(bytes.fromhex(commit), start[b"OIDL"]) - start[b"OIDL"]) // 20
        parent = start[b"CDAT"] + row * 36 + 20
        graph[parent : parent + 4] = (0x70000000).to_bytes(4, "big")
        path.chmod(0o644)
        path.write_bytes(graph)

    def _git(
        self, *arguments: str, within: bool = True, stdin: str = "", environment: dict[str, str] | None = None
    ) -> str:
        where = ["--git-dir", str(self.path)] if within else []
        done = subprocess.run(
            ["git", *where, *arguments],
            input=stdin,
            env={
                "PATH": "/usr/local/bin:/usr/bin:/bin",
                "GIT_CONFIG_GLOBAL": "/dev/null",
                **(environment or {}),
            },
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()
