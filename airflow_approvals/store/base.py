"""What every table of the control plane is made of."""

from __future__ import annotations

from sqlalchemy import BigInteger, Integer, MetaData, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from airflow_approvals.core.models import Place

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(column_0_label)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "pk": "pk_%(table_name)s",
    }
)

NAME = String(250)
DIGEST = String(71)
WORD = String(50)
ID = String(32)
SEQUENCE = BigInteger().with_variant(Integer, "sqlite")


class Base(DeclarativeBase):
    """Declarative base with its own metadata."""

    metadata = metadata


class PlaceColumns:
    """The four columns that say where a gate stands."""

    dag_id: Mapped[str] = mapped_column(NAME)
    run_id: Mapped[str] = mapped_column(NAME)
    task_id: Mapped[str] = mapped_column(NAME)
    map_index: Mapped[int] = mapped_column(Integer)

    @property
    def place(self) -> Place:
        """The four columns as one value."""
        return Place(self.dag_id, self.run_id, self.task_id, self.map_index)
