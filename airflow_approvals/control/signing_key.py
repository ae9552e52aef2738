"""The deployment's signing key, loaded once per process and file."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from airflow_approvals.config.settings import Settings
from airflow_approvals.control.signing import SigningKey
from airflow_approvals.errors import ConfigurationError


def load() -> SigningKey:
    """Return the signing key that ``[approvals] signing_key_file`` names.

    :raises ConfigurationError: when the option is not set or the file is not a usable key.
    """
    path = Settings.load().signing_key_file
    if path is None:
        raise ConfigurationError(
            "[approvals] signing_key_file is not set, so nothing can be approved.",
            "Generate a key with `airflow approvals keys generate FILE` and name the file there.",
        )
    return _load(path)


@lru_cache(maxsize=4)
def _load(path: Path) -> SigningKey:
    return SigningKey.load(path)
