"""What Alembic runs: our tables in Airflow's database, with a version table of our own."""

from __future__ import annotations

from typing import Any

from airflow import settings
from alembic import context

from airflow_approvals.store.db_manager import VERSION_TABLE
from airflow_approvals.store.tables import metadata


def _is_ours(item: Any, name: str | None, kind: str, reflected: bool, compared_to: Any) -> bool:
    """Keep Airflow's tables, which lie beside ours, out of every comparison."""
    table = name if kind == "table" else getattr(getattr(item, "table", None), "name", None)
    return table in metadata.tables


OPTIONS: dict[str, Any] = {
    "target_metadata": metadata,
    "version_table": VERSION_TABLE,
    "include_object": _is_ours,
    "compare_type": True,
    "compare_server_default": True,
    "transaction_per_migration": True,
}


def run_offline() -> None:
    """Print the SQL instead of executing it."""
    url = context.config.get_main_option("sqlalchemy.url")
    context.configure(url=url, literal_binds=True, **OPTIONS)
    with context.begin_transaction():
        context.run_migrations()


def run_online() -> None:
    """Migrate through Airflow's engine."""
    engine = settings.get_engine()
    with engine.connect() as connection:
        # SQLite cannot alter a table in place; Alembic then copies it.
        batch = connection.dialect.name == "sqlite"
        context.configure(connection=connection, render_as_batch=batch, **OPTIONS)
        with context.begin_transaction():
            context.run_migrations()


if context.is_offline_mode():
    run_offline()
else:
    run_online()
