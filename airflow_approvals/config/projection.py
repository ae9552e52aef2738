"""The projection: what DAG parsers and workers may know of the policy, ids only.

``airflow approvals policy activate`` writes it; the form is
:meth:`airflow_approvals.core.policy.Policy.projection`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airflow_approvals.errors import ConfigurationError

_HINT = "Run `airflow approvals policy activate`, and let parsers and workers read the file."
_MAX_BYTES = 1024 * 1024


@dataclass(frozen=True)
class Projection:
    """Connection id by sink id."""

    sinks: dict[str, str]


def read_projection(path: Path | None) -> Projection:
    """Read the projection.

    :param path: ``[approvals] projection_file``; ``None`` when the option is not set.
    :raises ConfigurationError: when there is none, or it is not what ``activate`` writes.
    """
    if path is None:
        raise ConfigurationError("[approvals] projection_file is not set.", _HINT)
    try:
        with path.open("rb") as file:
            document = json.loads(file.read(_MAX_BYTES))
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ConfigurationError(f"The projection {path} cannot be read: {reason}.", _HINT) from error
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"The projection {path} is not JSON.", _HINT) from error
    return Projection(_sinks(document, path))


def _sinks(document: Any, path: Path) -> dict[str, str]:
    try:
        if document["version"] == 1:
            return {str(sink): str(entry["connection"]) for sink, entry in document["sinks"].items()}
    except (KeyError, TypeError, AttributeError):
        pass
    raise ConfigurationError(f"The projection {path} is not a projection of version 1.", _HINT)
