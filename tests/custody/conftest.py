"""A content-bound sink in a real metadata database, with real files and a custodian's own secrets."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from airflow_approvals.config.settings import Settings
from airflow_approvals.control.signing import SigningKey, generate_key_file
from airflow_approvals.core.ask import Ask, ReportedData, ReportedEvidence
from airflow_approvals.core.classification import Label
from airflow_approvals.core.digest import canonical_bytes, sha256_digest
from airflow_approvals.core.evidence import ColumnEvidence, Evidence
from airflow_approvals.core.manifest import Manifest, ObjectEntry
from airflow_approvals.custody.process import Custodian
from airflow_approvals.store.release_tables import CustodianRow, CustodyRow, ReleasedObjectRow
from airflow_approvals.store.tables import RequestRow
from tests.control.airflow_database import (
    airflow,
    bare_airflow,
    postgres_airflow,
    postgres_metadata,
    sqlite_metadata,
)
from tests.control.airflow_scene import Airflow, Run
from tests.detection.engines import classification_engine

__all__ = ["airflow", "bare_airflow", "postgres_airflow", "postgres_metadata", "sqlite_metadata"]

POLICY = """
version: 1
sinks:
  - {id: sink-c, connection: sink_c, uri_prefix: "@SINK@", assurance: content-bound}
groups:
  owners: {users: [bob, carol]}
rules:
  - id: export
    when: {sink: sink-c, action: export}
    effect: require
    seats: [{group: owners, count: 1}]
    channels: {ui: decide, api: decide}
    request_ttl: PT1H
    grant_ttl: PT30M
  - id: checked
    when: {sink: sink-c, action: checked}
    effect: require
    seats: [{group: owners, count: 1}]
    channels: {ui: decide, api: decide}
    evidence: verified
    request_ttl: PT1H
    grant_ttl: PT30M
  - id: waved-through
    when: {sink: sink-c, action: waved, label: {in: [public, internal]}}
    effect: permit
    evidence: verified
    request_ttl: PT1H
    grant_ttl: PT30M
"""
FILES = {"a.txt": b"masked line one\n", "deep/b.txt": b"masked line two\n"}
PASSWORD = "hunter2-of-the-custodian"


@dataclass
class Custody:
    """The scene, and words for what is staged, asked, copied and visible."""

    airflow: Airflow
    folder: Path

    @property
    def policy(self) -> str:
        return POLICY.replace("@SINK@", self.sink.as_uri())

    @property
    def sink(self) -> Path:
        return self.folder / "sink"

    @property
    def staged(self) -> Path:
        return self.folder / "copy"

    def stage(self, files: dict[str, bytes] = FILES) -> Manifest:
        """Write a masked copy with its manifest, as MaskDataOperator leaves it."""
        for name, data in files.items():
            path = self.staged / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        entries = tuple(
            ObjectEntry(name, sha256_digest(data), len(data), data.count(b"\n"), "text")
            for name, data in files.items()
        )
        manifest = Manifest(entries, "test", sha256_digest(b"profile"), "none", "0", ())
        (self.staged / "_manifest.json").write_bytes(canonical_bytes(manifest.to_document()))
        return manifest

    def ask(self, manifest: Manifest, action: str = "export", label: Label | None = None, **data: Any) -> Ask:
        """What the gate's task reports; ``label`` is what it says an independent scan found."""
        reported = ReportedData.of((self.staged / "_manifest.json").as_uri(), manifest)
        return Ask(action, "sink-c", reported, _evidence(manifest, label), "a test", None, None, 7200, **data)

    def asked(self, action: str = "export", label: Label | None = None) -> tuple[Run, RequestRow]:
        run = self.airflow.a_run()
        return run, run.ask(self.ask(self.stage(), action, label))

    def approved(self) -> tuple[Run, RequestRow]:
        run, request = self.asked()
        run.vote(request)
        return run, request

    def custodian(self) -> Custodian:
        """A custodian of this process. Loading its model anew would take seconds."""
        made = Custodian(Settings.load())
        made.__dict__["_engine"] = classification_engine()
        return made

    def work(self) -> int:
        return self.custodian().run_once()

    def job(self, request: RequestRow, kind: str = "release") -> CustodyRow:
        rows = self.airflow.look(
            lambda s: s.query(CustodyRow).filter_by(request_id=request.id, kind=kind).all()
        )
        assert len(rows) == 1
        return rows[0]

    def let_lease_run_out(self, request: RequestRow) -> None:
        """What a minute does to the job of a custodian that died."""
        past = self.airflow.now - timedelta(seconds=1)
        job_id = self.job(request).id
        self.airflow.do(lambda s: setattr(s.get_one(CustodyRow, job_id), "due_at", past))

    def released(self, request: RequestRow) -> list[str]:
        """Names of the objects that are entered as released."""
        grant = self.airflow.look(
            lambda s: [row.name for row in s.query(ReleasedObjectRow).all() if self._is_of(s, row, request)]
        )
        return sorted(grant)

    def _is_of(self, session: Any, row: ReleasedObjectRow, request: RequestRow) -> bool:
        from airflow_approvals.store.tables import GrantRow

        return session.get_one(GrantRow, row.grant_id).request_id == request.id

    def visible(self) -> list[str]:
        """What somebody at the sink sees that counts as released, and the rest, which must be nothing."""
        return sorted(str(p.relative_to(self.sink)) for p in self.sink.rglob("*") if p.is_file())

    def objects(self) -> dict[str, bytes]:
        """Data at the sink, by its name below the release's folder."""
        found = {}
        for name in self.visible():
            folder, _, rest = name.partition("/")
            assert ".partial" not in folder, name
            if not rest.startswith("_receipt"):
                found[rest] = (self.sink / name).read_bytes()
        return found

    def kinds(self, run: Run) -> list[str]:
        """Ledger kinds of the run that the custodian writes."""
        ours = ("release_", "evidence_", "grant_", "request_forbidden")
        return [kind for kind in self.airflow.kinds(run) if kind.startswith(ours)]


def _evidence(manifest: Manifest, label: Label | None) -> ReportedEvidence | None:
    if label is None:
        return None
    columns = tuple(ColumnEvidence(e.uri, "", label, e.rows, e.rows) for e in manifest.objects)
    return ReportedEvidence.of(Evidence(manifest.digest, label, columns, "an engine", "a model"))


def write_connections(folder: Path, connections: dict[str, Any], mode: int = 0o600) -> Path:
    path = folder / "connections.yaml"
    path.touch(mode=0o600)
    path.write_text(json.dumps(connections))
    path.chmod(mode)
    return path


@pytest.fixture(params=["airflow", "postgres_airflow"], ids=["sqlite", "postgresql"])
def custody(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Custody:
    """A scene with an active policy, keys, connections, and a custodian that has announced itself."""
    # Set and so restored: the custodian puts its own credentials into its process's environment.
    monkeypatch.setenv("AIRFLOW_CONN_SINK_C", "unset://")
    scene: Airflow = request.getfixturevalue(request.param)
    made = Custody(scene, tmp_path)
    made.sink.mkdir()
    scene.activate(made.policy)
    generate_key_file(tmp_path / "custodian.pem")
    connections = {"sink_c": {"conn_type": "generic", "host": "sink.invalid", "password": PASSWORD}}
    scene.conf("custodian_key_file", str(tmp_path / "custodian.pem"))
    scene.conf("custodian_sources", str(tmp_path))
    scene.conf("custodian_connections_file", str(write_connections(tmp_path, connections)))
    scene.do(lambda s: s.query(CustodyRow).delete())
    scene.do(lambda s: s.query(CustodianRow).delete())
    made.work()
    return made


def custodian_key(custody: Custody) -> SigningKey:
    return SigningKey.load(custody.folder / "custodian.pem")
