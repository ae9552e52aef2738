"""What the server pins beside the ask when it registers a request."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from airflow_approvals.core.bar import Bar
from airflow_approvals.core.policy import Sink


@dataclass(frozen=True)
class Pins:
    """The bar, the sink and the code as they stood at registration.

    ``fingerprint`` is the keyed fingerprint of the sink's Connection, empty when it is not
    defined; ``consumers`` are the tasks that stand behind the gate;
    ``clear_number`` is how often tasks of the run had been cleared; ``source_hash`` is Airflow's
    hash of the DAG file, empty in requests from before it was pinned; ``endpoint`` is where the
    Connection leads, and ``endpoint_changed`` that people last approved another one for this sink.
    """

    bar: Bar
    connection: str
    uri_prefix: str
    assurance: str
    fingerprint: str
    dag_hash: str
    dag_version: int
    bundle_version: str
    consumers: tuple[str, ...]
    dev_mode: bool
    clear_number: int = 0
    source_hash: str = ""
    endpoint: str = ""
    endpoint_changed: bool = False

    def is_of(self, sink: Sink) -> bool:
        """Whether the sink is still what was pinned: the same connection, place and assurance."""
        pinned = (self.connection, self.uri_prefix, self.assurance)
        return pinned == (sink.connection, sink.uri_prefix, str(sink.assurance))

    def to_text(self) -> str:
        """Return the JSON text that is stored with a request."""
        fields: dict[str, Any] = {**asdict(self), "bar": self.bar.to_document()}
        return json.dumps(fields, sort_keys=True)

    @classmethod
    def from_text(cls, text: str) -> Pins:
        """Read the stored JSON text."""
        fields = json.loads(text)
        fields["bar"] = Bar.from_document(fields["bar"])
        fields["consumers"] = tuple(fields["consumers"])
        return cls(**fields)
