"""The credentials of the custodian: a file of its own, which no task and no other server can read.

They become ``AIRFLOW_CONN_*`` variables of this process, where Airflow's own hooks and
``ObjectStoragePath`` find them; they are never written anywhere else.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path

import yaml

from airflow_approvals.config.settings import Settings, read_secret
from airflow_approvals.control import signing_key
from airflow_approvals.errors import ConfigurationError
from airflow_approvals.seams import airflow_seams

OPTION = "custodian_connections_file"
_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}")
#: The fields of a Connection in its JSON form.
_FIELDS = frozenset({"conn_type", "host", "port", "schema", "login", "password", "extra"})
_FORM = "It maps each connection id to a URI, or to the fields conn_type, host, port, login, password, …"


def open_connections(settings: Settings) -> dict[str, str]:
    """Put the custodian's Connections into this process's environment; return their fingerprints.

    :returns: the keyed fingerprint of each connection id that is served.
    :raises ConfigurationError: when the file is not named, can be read by others, or has no valid
        form; no value of it is quoted.
    """
    path = settings.custodian_connections_file
    if path is None:
        raise ConfigurationError(
            f"[approvals] {OPTION} is not set, so there is nothing the custodian could release to.",
            "Write a file that only the custodian's user can read, and name it there.",
        )
    variables = read_connections(path)
    os.environ.update({f"AIRFLOW_CONN_{name.upper()}": text for name, text in variables.items()})
    return {name: _fingerprint(name) for name in variables}


def read_connections(path: Path) -> dict[str, str]:
    """Return each connection id with its Connection, as the text of an environment variable.

    :raises ConfigurationError: when the file can be read by others or has no valid form.
    """
    try:
        document = yaml.safe_load(read_secret(path, OPTION))
    except (yaml.YAMLError, RecursionError):
        document = None
    if not isinstance(document, Mapping):
        # Raised outside the handler: the parser's error quotes the file.
        raise ConfigurationError(f"The file of [approvals] {OPTION} is no YAML or JSON mapping.", _FORM)
    connections = {_name(name): _text(name, value) for name, value in document.items()}
    if len({name.upper() for name in connections}) < len(document):
        raise ConfigurationError(f"[approvals] {OPTION}: two connection ids differ in case only.")
    return connections


def _name(name: object) -> str:
    if not isinstance(name, str) or not _ID.fullmatch(name):
        raise ConfigurationError(f"[approvals] {OPTION}: a connection id has no valid form.", _FORM)
    return name


def _text(name: object, value: object) -> str:
    if isinstance(value, str) and "://" in value:
        return value
    if isinstance(value, Mapping) and "conn_type" in value and set(value) <= _FIELDS:
        return json.dumps(dict(value))
    raise ConfigurationError(f"[approvals] {OPTION}: connection {name} has no valid form.", _FORM)


def _fingerprint(name: str) -> str:
    failure = ""
    try:
        if (parts := airflow_seams.connection_parts(name)) is not None:
            return signing_key.load().fingerprint(parts)
    except ConfigurationError:
        raise
    except Exception as error:
        failure = f" ({type(error).__name__})"
    # Raised outside the handler: Airflow's error may quote the URI.
    raise ConfigurationError(f"[approvals] {OPTION}: connection {name} cannot be read{failure}.", _FORM)
