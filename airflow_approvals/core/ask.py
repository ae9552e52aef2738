"""The ask: what a gate's task says it wants, on the wire from worker to server.

It travels as ``params["approvals"]`` of Airflow's own human-in-the-loop call. Everything in it
is the word of a task: it is shown as *reported*, and what binds is pinned by the server.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

from airflow_approvals.core.classification import Label
from airflow_approvals.core.digest import document_digest, require_digest
from airflow_approvals.core.documents import Fields
from airflow_approvals.core.evidence import Evidence, parse_label
from airflow_approvals.core.manifest import EntityCount, Manifest, ObjectEntry
from airflow_approvals.errors import ContractError

ASK_VERSION = 1
ASK_PARAM = "approvals"
#: An ask carries at most this many objects by name; the digest covers them all.
MAX_LISTED_OBJECTS = 20
MAX_LISTED_COUNTS = 200
#: Authors' text is cut to this many characters each before it is sent.
MAX_TEXT = 4000
MAX_TICKET = 100
MAX_TIMEOUT_SECONDS = 366 * 24 * 3600

_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")

Text = TypeVar("Text", str, str | None)


@dataclass(frozen=True)
class ReportedData:
    """The manifest in brief: its digest, totals, the first objects and the counts."""

    uri: str
    digest: str
    object_count: int
    size: int
    rows: int
    profile: str
    profile_digest: str
    model: str
    objects: tuple[ObjectEntry, ...]
    counts: tuple[EntityCount, ...]

    @classmethod
    def of(cls, uri: str, manifest: Manifest) -> ReportedData:
        """Summarise a manifest that lies at ``uri``."""
        objects = sorted(manifest.objects, key=lambda entry: entry.uri)
        return cls(
            uri=uri,
            digest=manifest.digest,
            object_count=len(objects),
            size=manifest.size,
            rows=manifest.rows,
            profile=manifest.profile,
            profile_digest=manifest.profile_digest,
            model=manifest.model,
            objects=tuple(objects[:MAX_LISTED_OBJECTS]),
            counts=tuple(sorted(manifest.counts)[:MAX_LISTED_COUNTS]),
        )

    def to_document(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {
            "uri": self.uri,
            "digest": self.digest,
            "object_count": self.object_count,
            "bytes": self.size,
            "rows": self.rows,
            "profile": self.profile,
            "profile_digest": self.profile_digest,
            "model": self.model,
            "objects": [entry.to_document() for entry in self.objects],
            "counts": [count.to_document() for count in self.counts],
        }

    @classmethod
    def from_document(cls, document: object) -> ReportedData:
        """Read the JSON object; :raises ContractError: when it breaks the schema."""
        fields = Fields(document, "ask: manifest")
        data = cls(
            uri=fields.text("uri"),
            digest=require_digest(fields.raw("digest"), "ask: manifest digest"),
            object_count=fields.count("object_count"),
            size=fields.count("bytes"),
            rows=fields.count("rows"),
            profile=fields.text("profile"),
            profile_digest=require_digest(fields.raw("profile_digest"), "ask: profile digest"),
            model=fields.text("model"),
            objects=tuple(ObjectEntry.from_document(item) for item in fields.items("objects")),
            counts=tuple(EntityCount.from_document(item) for item in fields.items("counts")),
        )
        fields.end()
        return data


@dataclass(frozen=True)
class ReportedEvidence:
    """The evidence in brief: its digest, label, coverage in cells, and what was found."""

    digest: str
    subject: str | None
    label: Label
    scanned: int
    total: int
    findings: tuple[tuple[str, int], ...]
    not_scanned: int
    engine: str
    model: str

    @classmethod
    def of(cls, evidence: Evidence) -> ReportedEvidence:
        """Summarise evidence."""
        return cls(
            digest=evidence.digest,
            subject=evidence.subject,
            label=evidence.label,
            scanned=evidence.scanned,
            total=evidence.total,
            findings=tuple(evidence.findings.items()),
            not_scanned=len(evidence.not_scanned),
            engine=evidence.engine,
            model=evidence.model,
        )

    def to_document(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {
            "digest": self.digest,
            "subject": self.subject,
            "label": self.label.word,
            "scanned": self.scanned,
            "total": self.total,
            "findings": [{"entity_type": kind, "count": n} for kind, n in self.findings],
            "not_scanned": self.not_scanned,
            "engine": self.engine,
            "model": self.model,
        }

    @classmethod
    def from_document(cls, document: object) -> ReportedEvidence:
        """Read the JSON object; :raises ContractError: when it breaks the schema."""
        fields = Fields(document, "ask: evidence")
        subject = fields.optional_text("subject")
        evidence = cls(
            digest=require_digest(fields.raw("digest"), "ask: evidence digest"),
            subject=None if subject is None else require_digest(subject, "ask: evidence subject"),
            label=parse_label(fields.raw("label")),
            scanned=fields.count("scanned"),
            total=fields.count("total"),
            findings=tuple(_finding(item) for item in fields.items("findings")),
            not_scanned=fields.count("not_scanned"),
            engine=fields.text("engine"),
            model=fields.text("model"),
        )
        fields.end()
        return evidence


@dataclass(frozen=True)
class Ask:
    """What a gate asks for: this action, with this data, at this sink."""

    action: str
    sink: str
    data: ReportedData
    evidence: ReportedEvidence | None
    reason: str | None
    subject: str | None
    body: str | None
    timeout_seconds: int
    ticket: str | None = None

    @property
    def evidence_of_this_data(self) -> ReportedEvidence | None:
        """The evidence, when there is any: evidence of another manifest says nothing about this one."""
        if self.evidence is None or self.evidence.subject != self.data.digest:
            return None
        return self.evidence

    @property
    def label(self) -> Label:
        """The label the policy goes by: the evidence's, restricted without usable evidence."""
        evidence = self.evidence_of_this_data
        return Label.RESTRICTED if evidence is None else evidence.label

    @cached_property
    def digest(self) -> str:
        """``sha256:<hex>`` over the canonical bytes: what makes two asks the same."""
        return document_digest(self.to_document())

    def to_document(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {
            "version": ASK_VERSION,
            "action": self.action,
            "sink": self.sink,
            "manifest": self.data.to_document(),
            "evidence": None if self.evidence is None else self.evidence.to_document(),
            "reason": self.reason,
            "subject": self.subject,
            "body": self.body,
            "timeout_seconds": self.timeout_seconds,
            "ticket": self.ticket,
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Ask:
        """Read the JSON object; :raises ContractError: when it breaks the schema."""
        fields = Fields(document, "ask")
        fields.version(ASK_VERSION)
        evidence = fields.raw("evidence")
        ask = cls(
            action=_word(fields.text("action"), "action"),
            sink=_word(fields.text("sink"), "sink"),
            data=ReportedData.from_document(fields.raw("manifest")),
            evidence=None if evidence is None else ReportedEvidence.from_document(evidence),
            reason=_bounded(fields.optional_text("reason"), "reason", MAX_TEXT),
            subject=_bounded(fields.optional_text("subject"), "subject", MAX_TEXT),
            body=_bounded(fields.optional_text("body"), "body", MAX_TEXT),
            timeout_seconds=fields.count("timeout_seconds"),
            ticket=_bounded(fields.optional_text("ticket"), "ticket", MAX_TICKET),
        )
        fields.end()
        if not 1 <= ask.timeout_seconds <= MAX_TIMEOUT_SECONDS:
            raise ContractError("ask: timeout_seconds must be between one second and a year.")
        return ask


def _word(text: str, name: str) -> str:
    """Require a plain word: it stands in headlines, where nothing may pass for another fact."""
    if not _WORD.fullmatch(text):
        raise ContractError(
            f"ask: {name} must be a word of letters, digits, '.', '_' and '-', at most 100 long."
        )
    return text


def _bounded(text: Text, name: str, limit: int) -> Text:
    if text is not None and "\x00" in text:
        raise ContractError(f"ask: {name} holds a NUL character.")
    if text is not None and len(text) > limit:
        raise ContractError(f"ask: {name} is longer than {limit} characters.")
    return text


def _finding(item: object) -> tuple[str, int]:
    fields = Fields(item, "ask: finding")
    finding = fields.text("entity_type"), fields.count("count")
    fields.end()
    return finding
