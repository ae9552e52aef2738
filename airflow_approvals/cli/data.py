"""``airflow approvals mask`` and ``classify``: on files, without a running Airflow."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Iterable, Sequence

from airflow_approvals.core.evidence import Evidence
from airflow_approvals.core.manifest import Manifest
from airflow_approvals.errors import ApprovalsError


def mask(args: Namespace) -> None:
    """Write a masked copy of ``source`` to ``target`` and print what was masked."""
    from airflow_approvals.data.masking import mask_data
    from airflow_approvals.data.references import load_manifest
    from airflow_approvals.operators.model import configured_model
    from airflow_approvals.operators.pseudonym_key import pseudonym_key

    try:
        key = pseudonym_key(args.key_conn_id)
        reference = mask_data(
            args.source,
            args.target,
            profile=args.profile,
            model=configured_model(),
            tier=args.tier,
            processes=args.processes,
            key=key,
        )
        manifest = load_manifest(reference)
    except ApprovalsError as error:
        raise _exit(error) from None
    _print_manifest(manifest)
    print(f"manifest {reference.uri}")
    print(f"digest   {reference.digest}")


def classify(args: Namespace) -> None:
    """Scan ``source`` and print its label and what was found, or the evidence as JSON."""
    from airflow_approvals.data.classifying import classify_data
    from airflow_approvals.operators.model import configured_model

    try:
        evidence = classify_data(args.source, model=configured_model())
    except ApprovalsError as error:
        raise _exit(error) from None
    if args.json:
        print(json.dumps(evidence.to_document(), indent=2, ensure_ascii=False))
    else:
        _print_evidence(evidence)


def _exit(error: ApprovalsError) -> SystemExit:
    # A text makes Python print it to stderr and exit with 1.
    return SystemExit(f"approvals: {error}")


def _print_manifest(manifest: Manifest) -> None:
    _print_table(
        ("object", "format", "rows", "bytes"),
        [(entry.uri, entry.format, str(entry.rows), str(entry.size)) for entry in manifest.objects],
    )
    _print_table(
        ("column", "entity", "masked"),
        [(count.column or "-", count.entity_type, str(count.count)) for count in sorted(manifest.counts)],
    )
    print(f"profile  {manifest.profile}")
    print(f"model    {manifest.model}")


def _print_evidence(evidence: Evidence) -> None:
    rows = []
    for column in sorted(evidence.columns, key=lambda c: (c.uri, c.column)):
        found = ", ".join(f"{kind} {count}" for kind, count in sorted(column.entities)) or "-"
        rows.append(
            (column.uri, column.column or "-", column.label.word, f"{column.scanned}/{column.total}", found)
        )
    _print_table(("object", "column", "label", "scanned", "found"), rows)
    for uri, reason in sorted(evidence.not_scanned):
        print(f"not scanned: {uri} ({reason})")
    print(f"label    {evidence.label.word}")
    print(f"model    {evidence.model}")


def _print_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    lines = [tuple(header), *rows]
    widths = [max(len(line[index]) for line in lines) for index in range(len(header))]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    print()
