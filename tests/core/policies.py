"""Policy documents that tests start from."""

from __future__ import annotations

from typing import Any

EXAMPLE: dict[str, Any] = {
    "version": 1,
    "dev_mode": False,
    "sinks": [
        {
            "id": "training-bucket",
            "connection": "training_bucket",
            "uri_prefix": "file:///srv/training",
            "assurance": "run-bound",
        }
    ],
    "groups": {"data-owners": {"users": ["bob", "carol"]}},
    "identities": {"slack": {"team": "T0001", "users": {"U0001": "bob", "U0002": "alice"}}},
    "rules": [
        {
            "id": "export-to-training",
            "when": {
                "sink": "training-bucket",
                "action": {"in": ["export", "retrain"]},
                "label": {"gte": "internal"},
            },
            "effect": "require",
            "seats": [{"group": "data-owners", "count": 1}],
            "channels": {"slack": "decide", "ui": "decide", "api": "view"},
            "request_ttl": "PT24H",
            "grant_ttl": "PT1H",
        }
    ],
}


def rule(name: str, **changes: Any) -> dict[str, Any]:
    """A rule that requires one data owner for everything, with changes."""
    plain = {
        "id": name,
        "when": {},
        "effect": "require",
        "seats": [{"group": "data-owners", "count": 1}],
        "channels": {"ui": "decide"},
    }
    return {**plain, **changes}


def with_rules(*rules: dict[str, Any]) -> dict[str, Any]:
    """The example with other rules."""
    return {**EXAMPLE, "rules": list(rules)}
