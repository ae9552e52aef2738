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

#: Every key that the language has, but for conditions in CEL.
FULL: dict[str, Any] = {
    "version": 1,
    "dev_mode": False,
    "sinks": [
        *EXAMPLE["sinks"],
        {
            "id": "partner-bucket",
            "connection": "partner_bucket",
            "uri_prefix": "s3://partner/in",
            "assurance": "content-bound",
        },
    ],
    "groups": {
        "data-owners": {"users": ["bob", "carol"]},
        "security": {
            "fab_role": "Security Officer",
            "max_login_age": "PT12H",
            "managed_by": "identity_provider",
        },
        "platform": {"simple_role": "op"},
        "on-call": {"slack_usergroup": "S0123"},
        "commanders": {"users": ["dana", "erin"]},
    },
    "identities": {
        "slack": {
            "team": "T0001",
            "users": {"U0001": "bob", "U0002": "alice"},
            "email": {"domains": ["example.com", "corp.example.com"]},
        },
        "teams": {
            "tenant": "11111111-2222-3333-4444-555555555555",
            "users": {"aaaaaaaa-0000-4000-8000-00000000000b": "bob"},
            "oid_is_username": True,
        },
        "git": {"Bob@example.com": "bob", "bob@home.example": "bob"},
    },
    "rules": [
        {
            "id": "unscanned-never-leaves",
            "when": {"not_scanned": {"gte": 1}, "verified": False, "profile": {"glob": "llm-*"}},
            "effect": "forbid",
        },
        {
            "id": "small-and-clean",
            "when": {
                "sink": {"eq": "partner-bucket"},
                "dag": {"glob": "export_*"},
                "label": {"in": ["public", "internal"], "lte": "internal"},
                "rows": {"lte": 1000},
                "objects": 1,
                "bytes": {"gte": 1, "lte": 1000000},
                "residual": {"eq": 0},
                "coverage": {"gte": 0.98},
                "unattributed": {"eq": False},
            },
            "effect": "permit",
            "grant_ttl": "PT5M",
        },
        {
            "id": "two-groups",
            "when": {"action": {"in": ["export", "retrain"], "glob": "*"}},
            "effect": "require",
            "seats": [{"group": "data-owners", "count": 2}, {"group": "security", "count": 1}],
            "channels": {"slack": "view", "teams": "decide", "ui": "decide", "api": "decide"},
            "request_ttl": "PT8H",
            "grant_ttl": "PT1H",
            "requester_reason": ".{10,}",
            "approver_reason": "(?:checked|sampled) .{3,}",
            "ticket": "[A-Z]{2,10}-[0-9]{1,7}",
            "remind": ["PT4H", "PT1H"],
            "escalate": [{"after": "PT6H", "group": "on-call"}],
            "evidence": "verified",
            "unattributed": "forbid",
            "veto": False,
            "standing": {"uses": 5, "within": "P7D"},
        },
    ],
    "break_glass": {
        "group": "commanders",
        "reviewers": "commanders",
        "reason": ".{20,}",
        "ticket": "INC-[0-9]{1,7}",
        "review_within": "P2D",
        "uses": 3,
    },
    "tests": [
        {
            "name": "what nobody scanned stays here",
            "given": {
                "sink": "training-bucket",
                "label": "public",
                "profile": "llm-training",
                "not_scanned": 1,
            },
            "expect": "forbid",
        },
        {
            "given": {
                "sink": "partner-bucket",
                "action": "share",
                "label": "internal",
                "dag": "export_daily",
                "rows": 10,
                "objects": 1,
                "bytes": 100,
                "residual": 0,
                "coverage": 0.98,
                "verified": True,
                "unattributed": False,
            },
            "expect": {"effect": "permit", "seats": {}, "rules": ["small-and-clean"]},
        },
        {
            "given": {"sink": "training-bucket", "label": "restricted"},
            "expect": {"effect": "require", "seats": {"data-owners": 2, "security": 1}},
        },
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
