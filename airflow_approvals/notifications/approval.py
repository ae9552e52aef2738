"""``ApprovalNotifier``: tell a webhook of the author's own what became of a gated run.

The server announces every request and decision by itself, whatever a DAG says. This is for what only
the DAG's author knows to be worth telling: that the task behind the gate failed, that an export
is late. It runs where callbacks run, with a Connection of the author's, and holds no secret of the
control plane; so what it tells is the author's word, and its CloudEvent names the DAG as its source.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk.bases.notifier import BaseNotifier

from airflow_approvals.errors import ConfigurationError

if TYPE_CHECKING:
    from airflow.sdk import Connection, Context

MAX_TEXT = 2000
_GRANT_FIELDS = ("request", "grant", "manifest_digest", "sink", "not_after")


class ApprovalNotifier(BaseNotifier):
    """Send a signed CloudEvent about the task or run of a callback.

    ::

        ReleaseDataOperator(..., on_failure_callback=ApprovalNotifier("ops_webhook", gate="gate"))

    :param conn_id: a Connection of yours: the receiver's address in ``host`` (with ``schema``, ``port``
        and the path in ``extra`` ``{"path": "/hooks"}``), its secret (``whsec_…``) as the password.
    :param text: what to say; a template. Put no data into it.
    :param gate: task id of the gate, whose outcome is added where there is one.
    """

    template_fields: Sequence[str] = ("conn_id", "text", "gate")

    def __init__(
        self,
        conn_id: str,
        *,
        text: str = "{{ ti.task_id }} of {{ dag.dag_id }}, run {{ run_id }}: {{ ti.state }}",
        gate: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.conn_id = conn_id
        self.text = text
        self.gate = gate

    def notify(self, context: Context) -> None:
        """Send the event; Airflow logs a failure, and the task's state stays what it is.

        :raises ConfigurationError: when the Connection lacks an address or a secret.
        :raises ChannelError: when the receiver refused or could not be reached.
        """
        from airflow.sdk.bases.hook import BaseHook

        from airflow_approvals.channels.webhook import WebhookChannel, WebhookEvent, parse_secrets

        connection = BaseHook.get_connection(self.conn_id)
        secrets = parse_secrets(connection.password or "")
        now = datetime.now(UTC)
        event = WebhookEvent(
            number=time.time_ns(),
            kind="reported",
            source=f"dag:{_name(context, 'dag_id')}",
            subject=f"{_name(context, 'dag_id')}/{_name(context, 'run_id')}",
            at=now,
            data=self._data(context),
        )
        WebhookChannel(_address(connection), secrets, time.time).send(event)

    def _data(self, context: Context) -> dict[str, Any]:
        ti = context.get("ti")
        return {
            "dag_id": _name(context, "dag_id"),
            "run_id": _name(context, "run_id"),
            "task_id": getattr(ti, "task_id", None),
            "map_index": getattr(ti, "map_index", None),
            "try_number": getattr(ti, "try_number", None),
            "state": str(getattr(ti, "state", None) or "") or None,
            "text": str(self.text)[:MAX_TEXT],
            "gate": self.gate,
            "grant": self._grant(ti),
        }

    def _grant(self, ti: Any) -> Any:
        """What the gate handed on, as far as it is no secret."""
        if not self.gate or ti is None:
            return None
        found = ti.xcom_pull(task_ids=self.gate)
        if not isinstance(found, Mapping):
            return None
        return {name: found[name] for name in _GRANT_FIELDS if isinstance(found.get(name), str)}


def _name(context: Context, name: str) -> str:
    if name == "dag_id" and context.get("dag") is not None:
        return str(context["dag"].dag_id)
    return str(context.get(name) or "")


def _address(connection: Connection) -> str:
    host = (connection.host or "").strip()
    if not host:
        raise ConfigurationError(
            f"Connection {connection.conn_id} has no host, so ApprovalNotifier has nobody to tell.",
            "Put the receiver's address there.",
        )
    if re.match(r"[a-z][a-z0-9+.-]*://", host):
        return host
    path = json.loads(connection.extra or "{}").get("path", "/")
    port = f":{connection.port}" if connection.port else ""
    return f"{connection.schema or 'https'}://{host}{port}{path}"
