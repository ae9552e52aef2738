"""Headers, JSON keys and file names that are themselves sensitive."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from airflow_approvals.data.formats import extension, is_known
from airflow_approvals.detection.engine import Engine
from airflow_approvals.detection.findings import Finding
from airflow_approvals.detection.masking import PLACEHOLDER, mask_text, residual
from airflow_approvals.detection.names import name_findings, spaced
from airflow_approvals.detection.profiles import Profile, Transformation

_MEMO = 50_000


#: The column under which findings in object names are counted.
NAME_COLUMN = "(name)"


class NameScanner:
    """Makes names fit to be shown, and counts what was found in them.

    :param engine: what scans.
    :param profile: how findings are treated; what it would keep is replaced, because names are
        shown to approvers.
    """

    def __init__(self, engine: Engine, profile: Profile) -> None:
        #: (name as shown, entity type) -> how often it was met.
        self.counts: Counter[tuple[str, str]] = Counter()
        self._engine = engine
        self._profile = Profile(profile.name, profile.threshold, Transformation.REPLACE)
        self._placeholders = engine.entity_types
        self._memo: dict[str, tuple[str, Counter[str]]] = {}

    def shown(self, name: str) -> str:
        """Return a header or key with what is sensitive in it replaced by placeholders.

        Line breaks become spaces: a name is one line wherever it is shown. Lone surrogates,
        which have no canonical form, become the replacement character.
        """
        shown, found = self._looked_up(name)
        for kind, count in found.items():
            self.counts[shown, kind] += count
        return shown

    def as_values(self, names: Sequence[str]) -> list[list[Finding]]:
        """Return what is found in each name when it is taken for a value, nothing counted.

        A name that holds a placeholder was masked before, and is a name.
        """
        return self._engine.analyze(["" if PLACEHOLDER.search(name) else name for name in names])

    def shown_path(self, path: str) -> tuple[str, Counter[str]]:
        """Return a relative path whose parts are fit to be shown, and what was found in them."""
        parts, total = [], Counter[str]()
        for part in path.split("/"):
            suffix = extension(part)
            stem = part[: len(part) - len(suffix)] if is_known(suffix) else part
            shown, found = self._looked_up(stem)
            # Angle brackets are not allowed in the file names of some systems.
            shown = PLACEHOLDER.sub(lambda match: f"_{match[1]}_", shown)
            parts.append(shown + part.removeprefix(stem))
            total += found
        return "/".join(parts), total

    def _looked_up(self, name: str) -> tuple[str, Counter[str]]:
        if name not in self._memo:
            if len(self._memo) >= _MEMO:
                self._memo.clear()
            self._memo[name] = self._masked(name)
        return self._memo[name]

    def _masked(self, name: str) -> tuple[str, Counter[str]]:
        variants = [name, spaced(name)]
        findings = [
            finding
            for text, found in zip(variants, self._engine.analyze(variants), strict=True)
            for finding in name_findings(text, found)
        ]
        masked = mask_text(name, findings, self._profile)
        shown = re.sub(r"[\ud800-\udfff]", "\ufffd", re.sub(r"[\r\n]+", " ", masked.text))
        return shown, residual(name, findings, self._placeholders)
