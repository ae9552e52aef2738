"""Every kind of secret is found whole in every surrounding, and nothing in clean logs is."""

from __future__ import annotations

import traceback
from collections import Counter, defaultdict
from functools import cache

import pytest

from airflow_approvals.detection import recognizers
from airflow_approvals.detection.masking import mask_text
from airflow_approvals.detection.profiles import load_profile
from airflow_approvals.detection.secret_rules import hinted
from airflow_approvals.detection.secrets import BLOCK_RULES, LINE_RULES, SECRET_ENTITIES, Secret, find_secrets
from airflow_approvals.errors import DetectionError
from benchmarks.corpora.clean_logs import lines
from benchmarks.corpora.secret_kinds import KINDS
from benchmarks.corpora.secret_surroundings import SURROUNDINGS, Case, cases
from tests.detection.engines import masking_engine


@cache
def _by_kind() -> dict[str, list[Case]]:
    found: dict[str, list[Case]] = defaultdict(list)
    for case in cases():
        found[case.kind].append(case)
    return found


def _covered(text: str, start: int, end: int, findings: list[Secret]) -> bool:
    left = set(range(start, end))
    for finding in findings:
        left.difference_update(range(finding.start, finding.end))
    return not left


@pytest.mark.parametrize("kind", [kind.name for kind in KINDS])
def test_every_character_of_a_secret_is_found_in_every_surrounding(kind: str) -> None:
    missed = Counter(
        case.surrounding
        for case in _by_kind()[kind]
        if not _covered(case.text, case.start, case.end, find_secrets(case.text))
    )
    assert missed == Counter()


def test_the_corpus_is_what_the_figures_speak_of() -> None:
    assert len(KINDS) >= 39
    assert {len(found) for found in _by_kind().values()} == {20 * len(SURROUNDINGS)}
    assert len({case.text for found in _by_kind().values() for case in found}) == 20 * 7 * len(KINDS)
    assert list(cases(1)) == list(cases(1))


def test_what_stands_around_a_secret_stays_readable() -> None:
    wider = set()
    for case in cases(5):
        found = find_secrets(case.text)
        if (min(s.start for s in found), max(s.end for s in found)) != (case.start, case.end):
            wider.add(case.kind)
    assert wider == {"Azure storage connection string", "URL with password"}  # masked as a whole


def test_clean_lines_have_no_finding() -> None:
    found = Counter(finding.entity_type for line in lines() for finding in find_secrets(line))
    assert found == Counter()


def test_clean_lines_together_have_no_finding() -> None:
    assert [finding.entity_type for finding in find_secrets("\n".join(lines(600)))] == []


@pytest.mark.parametrize(
    "before", ["😀 ", "e\u0301 ", "שלום ", "\u202e", "\U0001d518 ", "%C3%A9 ", "\ud83d "]
)
def test_offsets_are_characters_whatever_stands_before(before: str) -> None:
    for case in cases(1):
        text = before + case.text
        assert _covered(text, len(before) + case.start, len(before) + case.end, find_secrets(text)), case.kind


def test_hints_hide_no_match() -> None:
    hidden = {
        one.name
        for case in cases(1)
        for rules in (*LINE_RULES.values(), *BLOCK_RULES.values())
        for one in set(rules) - set(hinted(rules, case.text))
        if one.pattern.search(case.text)
    }
    assert hidden == set()


def test_no_secret_survives_masking() -> None:
    profile = load_profile("llm-training")
    recognizer = recognizers.SecretRecognizer()
    left = set()
    for case in cases(1):
        findings = recognizer.analyze(case.text, list(SECRET_ENTITIES))
        if case.text[case.start : case.end] in mask_text(case.text, findings, profile).text:
            left.add(case.kind)
    assert left == set()


def test_only_the_types_that_are_asked_for_are_given() -> None:
    text = "password=hunter2 " + next(cases(1)).text
    found = recognizers.SecretRecognizer().analyze(text, ["PASSWORD"])
    assert [(f.entity_type, f.start, f.end) for f in found] == [("PASSWORD", 9, 16)]


def test_a_rule_that_fails_gives_no_secret_away(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(text: str) -> list[Secret]:
        raise ValueError(f"cannot read {text}")

    case = next(cases(1))
    monkeypatch.setattr(recognizers, "find_secrets", fail)
    with pytest.raises(DetectionError) as caught:
        masking_engine().analyze([case.text])
    told = "".join(traceback.format_exception(caught.value)) + caplog.text
    assert case.text[case.start : case.end] not in told
