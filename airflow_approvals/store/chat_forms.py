"""Forms that were opened in a chat: each for one account, one verdict, and what it showed."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import delete, or_, update
from sqlalchemy.orm import Session

from airflow_approvals.core.digest import sha256_digest
from airflow_approvals.store.chat_tables import ChatFormRow

#: A form that was left open for longer has to be opened again.
LIFE = timedelta(hours=1)
#: Longer than a callback may take until it is given up.
_KEPT = timedelta(days=1)


def hash_of(nonce: str) -> str:
    """Return what is kept of a one-time number."""
    return sha256_digest(nonce.encode())


def put_aside(session: Session, form: ChatFormRow, *, now: datetime) -> None:
    """Keep a form that is about to be opened, and drop those that are long past."""
    session.execute(
        delete(ChatFormRow)
        .where(ChatFormRow.expires_at < now - _KEPT)
        .execution_options(synchronize_session=False)
    )
    session.add(form)
    session.flush()


def find(session: Session, nonce: str) -> ChatFormRow | None:
    """Return the form with that one-time number."""
    return session.get(ChatFormRow, hash_of(nonce), populate_existing=True)


def use(session: Session, nonce: str, callback_id: str) -> bool:
    """Use a form up; return whether it was unused, or used by this very callback."""
    used = session.execute(
        update(ChatFormRow)
        .where(
            ChatFormRow.nonce_hash == hash_of(nonce),
            or_(ChatFormRow.used_by.is_(None), ChatFormRow.used_by == callback_id),
        )
        .values(used_by=callback_id)
        .returning(ChatFormRow.nonce_hash)
        .execution_options(synchronize_session=False)
    )
    return used.first() is not None
