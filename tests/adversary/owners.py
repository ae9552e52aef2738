"""What the owner of the metadata database can do to it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine, create_engine
from sqlalchemy.orm import Session

from tests.adversary.world import World


def patient_engine(url: str) -> Engine:
    """An engine that waits for Airflow's writers: on SQLite one writes at a time."""
    return create_engine(url, connect_args={"timeout": 60} if url.startswith("sqlite") else {})


@contextmanager
def as_owner(world: World) -> Iterator[Session]:
    """A session on the deployment's database; nothing in it is committed."""
    engine = patient_engine(world.airflow.database_url)
    try:
        with Session(engine) as session:
            _begin(session)
            yield session
            session.rollback()
    finally:
        engine.dispose()


def _begin(session: Session) -> None:
    """Open the transaction: SQLite's driver opens none for DDL, and would keep a DROP."""
    connection = session.connection()
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def drop_triggers(session: Session) -> None:
    connection = session.connection()
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("DROP TRIGGER approvals_ledger_append_only ON approvals_ledger")
        return
    for what in ("update", "delete", "replace"):
        connection.exec_driver_sql(f"DROP TRIGGER approvals_ledger_no_{what}")
