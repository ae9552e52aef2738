"""The people and policies around :mod:`tests.control.grant_machine`, as the product knows them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from airflow_approvals.core.models import Person
from tests.control.airflow_scene import Airflow
from tests.control.grant_model import BARS, CHANNELS, Bar

PEOPLE = ("alice", "bob", "carol", "dave", "erin")
GROUPS = {"owners": {"alice", "bob", "carol"}, "security": {"carol", "dave"}}


def policy_text(name: str) -> str:
    """The policy file that asks for what the model's bar says; the same text for the same name."""
    sinks = '- {id: sink-a, connection: sink_a, uri_prefix: "file:///srv/sink", assurance: run-bound}'
    groups = "".join(f"  {group}: {{fab_role: {group}}}\n" for group in GROUPS)
    return f"version: 1\nsinks:\n  {sinks}\ngroups:\n{groups}rules:\n{_rule(name, BARS[name])}"


def _rule(name: str, bar: Bar) -> str:
    lines = [f"- id: {name}", "  when: {sink: sink-a, action: export}", f"  effect: {bar.effect}"]
    if bar.effect == "require":
        seats = ", ".join(f"{{group: {group}, count: {count}}}" for group, count in bar.seats)
        channels = ", ".join(f"{c}: {'decide' if c in bar.channels else 'view'}" for c in sorted(CHANNELS))
        lines += [f"  seats: [{seats}]", f"  channels: {{{channels}}}"]
        lines += [f"  request_ttl: PT{bar.request_ttl}S", f"  veto: {str(bar.veto).lower()}"]
    if bar.effect != "forbid":
        lines.append(f"  grant_ttl: PT{bar.grant_ttl}S")
    return "\n".join(f"  {line}" for line in lines) + "\n"


class World:
    """What all runs of the machine share: the database, its people, and a count of what happened."""

    def __init__(self, airflow: Airflow, ids: Mapping[str, str]) -> None:
        self.airflow, self.ids = airflow, ids
        self.seen: Counter[str] = Counter()

    def person(self, name: str) -> Person:
        return Person(self.ids[name], name)

    def put(self, name: str, group: str, *, there: bool) -> None:
        """Give or take FAB's role, whether the person has it or not."""
        of = f"user_id = {int(self.ids[name])} AND role_id = (SELECT id FROM ab_role WHERE name = '{group}')"
        self.airflow.database.execute(f"DELETE FROM ab_user_role WHERE {of}")
        if there:
            self.airflow.database.execute(
                "INSERT INTO ab_user_role (id, user_id, role_id) SELECT"
                " (SELECT coalesce(max(id), 0) + 1 FROM ab_user_role), "
                f"{int(self.ids[name])}, id FROM ab_role WHERE name = '{group}'"
            )
