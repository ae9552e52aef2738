"""How fast the ledger appends and verifies, on a SQLite file of its own.

Every append is a transaction of its own, as in production; SQLite syncs each to the disk. The
last line is one JSON document: figures in entries per second, and which goals they reach.
"""

from __future__ import annotations

import json
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Engine, create_engine
from sqlalchemy.orm import Session

from airflow_approvals.core.models import Place
from airflow_approvals.store import ledger
from airflow_approvals.store.tables import metadata

APPENDS = 2_000
GOALS = {"append_per_second": 200, "verify_per_second": 10_000}


def append_all(engine: Engine) -> float:
    """Append entries, one transaction each; return entries per second."""
    place = Place("export", "manual__2026-01-02T03:04:05+00:00", "gate", -1)
    started = time.perf_counter()
    for number in range(APPENDS):
        with Session(engine) as session, session.begin():
            ledger.append(
                session,
                "vote_cast",
                at=datetime.now(UTC),
                actor="bob",
                channel="slack",
                request_id=f"request-{number // 4}",
                place=place,
                details={"verdict": "approve", "because": "the masked copy is what we agreed on"},
            )
    return APPENDS / (time.perf_counter() - started)


def verify_all(engine: Engine) -> float:
    """Verify everything; return entries per second."""
    started = time.perf_counter()
    with Session(engine) as session:
        report = ledger.verify_ledger(session)
    seconds = time.perf_counter() - started
    if not report.ok or report.size != APPENDS:
        raise SystemExit(f"The ledger of the benchmark does not verify: {report}")
    return APPENDS / seconds


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        engine = create_engine(f"sqlite:///{Path(folder) / 'ledger.db'}")
        metadata.create_all(engine)
        figures = {"append_per_second": append_all(engine), "verify_per_second": verify_all(engine)}
        engine.dispose()
    for name, figure in figures.items():
        print(f"{name}: {figure:,.0f}")
    rounded = {name: round(figure) for name, figure in figures.items()}
    reached = {name: figures[name] >= goal for name, goal in GOALS.items()}
    print(json.dumps({"name": "ledger", "figures": rounded, "reached": reached}))


if __name__ == "__main__":
    main()
