"""What Airflow's provider machinery learns about this package."""

from __future__ import annotations

from typing import Any


def get_provider_info() -> dict[str, Any]:
    """Return the provider info (Airflow's ``provider_info.schema.json``)."""
    return {
        "package-name": "airflow-approvals",
        "name": "Approvals",
        "description": "Masking, human approvals and a verifiable audit ledger.",
    }
