"""A whole run over data full of canaries: none of them is anywhere but in the source."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, inspect

from tests.detection import canaries
from tests.flows.gated import Gated
from tests.live.slack_emulator import SlackEmulator

pytestmark = pytest.mark.live
VALUES = {name: value for name, (_, value) in canaries.ALL.items()}


def needles(value: str) -> list[str]:
    return [line for line in value.split("\n") if "PRIVATE KEY" not in line]


def write_source(folder: Path, *, malformed: bool) -> None:
    folder.mkdir(parents=True)
    table = io.StringIO()
    writer = csv.writer(table)
    writer.writerow(["ticket_id", "amount", "message", VALUES["e-mail"]])
    for number, value in enumerate(VALUES.values()):
        writer.writerow([value, value, f"Please see {value} and answer.", number])
    if malformed:
        table.write(",".join(["x", VALUES["github"], VALUES["card"], "1", "one", "too", "many"]) + "\n")
    (folder / "tickets.csv").write_text(table.getvalue())
    (folder / "app.log").write_text("".join(f"2026-01-01 INFO got {v} here\n" for v in VALUES.values()))
    (folder / f"{VALUES['e-mail']}.txt").write_text("nothing\n")


def rows(database_url: str) -> Iterator[str]:
    """Every row of every table."""
    engine = create_engine(database_url)
    with engine.connect() as connection:
        for table in inspect(engine).get_table_names():
            for row in connection.exec_driver_sql(f'SELECT * FROM "{table}"'):
                yield repr([bytes(value) if isinstance(value, memoryview) else value for value in row])
    engine.dispose()


def surfaces(gated: Gated, slack: SlackEmulator) -> Iterator[tuple[str, str]]:
    """Everything that people or programs can read, by name."""
    for log in gated.airflow.log_files():
        yield f"log {log}", log.read_text(errors="replace")
    yield "database", "\n".join(rows(gated.airflow.database_url))
    yield "Slack", str(slack.messages())
    client = gated.as_user("alice")
    yield "requests", client.get("/approvals/api/v1/requests", params={"dag_id": "canaries"}).text
    for folder in ("sink", "room/masked"):
        for path in sorted((gated.home / folder).rglob("*")):
            yield f"name {path}", path.name
            if path.is_file():
                yield f"file {path}", path.read_text(errors="replace")


def test_no_canary_leaves_the_source(gated: Gated, slack: SlackEmulator) -> None:
    write_source(gated.home / "room" / "clean", malformed=False)
    write_source(gated.home / "room" / "ragged", malformed=True)
    broken = gated.start("canaries", source="ragged")
    run_id = gated.start("canaries", source="clean")
    gated.until(
        lambda: gated.state("canaries", run_id, "gate") == "awaiting_input", "the gate parks", patience=180
    )
    request = gated.request(run_id)
    detail = gated.as_user("bob").get(f"/approvals/api/v1/requests/{request['id']}").text
    gated.vote(request["id"], "bob")
    assert gated.finish("canaries", run_id) == "success"
    assert gated.finish("canaries", broken) == "failed"
    assert gated.state("canaries", broken, "mask") == "failed"
    seen = {**dict(surfaces(gated, slack)), "request": detail}
    # The look itself works: what may be known is found where it should be.
    assert "Masked 3 objects" in "".join(text for where, text in seen.items() if where.startswith("log"))
    assert all(request["manifest_digest"] in seen[where] for where in ("database", "Slack", "request"))
    told = [
        (where, name)
        for where, text in seen.items()
        for name, value in VALUES.items()
        if any(needle in text for needle in needles(value))
    ]
    assert told == []
    assert [path.name for path in (gated.home / "sink").rglob("tickets.csv")] == ["tickets.csv"]
