"""How ``airflow db migrate`` makes our tables (provider info key ``db-managers``).

A fresh install builds the tables from the metadata and stamps the newest revision; an upgrade
runs the migrations. Both end in the same schema; a test compares.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from airflow.utils.db_manager import BaseDBManager

from airflow_approvals.store.append_only import require_supported
from airflow_approvals.store.tables import metadata

_HERE = Path(__file__).parent
VERSION_TABLE = "alembic_version_approvals"


class ApprovalsDBManager(BaseDBManager):
    """Creates and migrates the control plane's tables in Airflow's metadata database.

    They are left alone when Airflow's own tables are dropped (``airflow db reset``): a record
    that an operator's reset wipes out is no record.
    """

    metadata = metadata
    migration_dir = str(_HERE / "migrations")
    alembic_file = str(_HERE / "alembic.ini")
    version_table_name = VERSION_TABLE
    supports_table_dropping = False
    revision_heads_map = {"0.1.0": "0003"}  # noqa: RUF012 - as declared by the base class

    def initdb(self, use_migration_files: bool = False) -> None:
        """Make the tables; :raises ConfigurationError: on a database that is not supported."""
        self._require_supported()
        super().initdb(use_migration_files=use_migration_files)  # type: ignore[no-untyped-call]

    def upgradedb(
        self,
        to_revision: str | None = None,
        from_revision: str | None = None,
        show_sql_only: bool = False,
        use_migration_files: bool = False,
    ) -> None:
        """Migrate the tables; :raises ConfigurationError: on a database that is not supported."""
        self._require_supported()
        super().upgradedb(  # type: ignore[no-untyped-call]
            to_revision, from_revision, show_sql_only, use_migration_files
        )

    def downgrade(
        self, to_revision: str, from_revision: str | None = None, show_sql_only: bool = False
    ) -> None:
        """Go back to an older revision. Going back to ``base`` drops the tables, ledger included.

        :param from_revision: only for ``show_sql_only``, where no database is asked.
        """
        from alembic import command

        span = f"{from_revision}:{to_revision}" if show_sql_only and from_revision else to_revision
        config = self.get_alembic_config()  # type: ignore[no-untyped-call]
        command.downgrade(config, revision=span, sql=show_sql_only)

    def _require_supported(self) -> None:
        bind: Any = self.session.get_bind()
        require_supported(bind.dialect.name)
