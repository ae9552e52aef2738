"""Profiles are read strictly."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_approvals.detection.profiles import Transformation, known_profiles, load_profile
from airflow_approvals.errors import ConfigurationError

LOGS_DIGEST = "sha256:29a9b180e5ba5b07c757c6e12a1b6f3e2882c515b3271f941a008962728e6082"
GOOD = "version: 1\nname: own\nthreshold: 0.5\ndefault: replace\nentities:\n  URL: {transformation: keep}\n"


def _write(folder: Path, text: str) -> str:
    path = folder / "own.yaml"
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize("name", known_profiles())
def test_shipped_profile_loads_under_its_own_name(name: str) -> None:
    profile = load_profile(name)
    assert profile.name == name
    assert profile.digest.startswith("sha256:")
    assert profile.treatment("SOMETHING_NEW").transformation is Transformation.REPLACE


def test_shipped_profiles_are_the_documented_ones() -> None:
    assert known_profiles() == ("gdpr", "hipaa-safe-harbor", "llm-training", "logs", "pci")


def test_unknown_profile_lists_the_known_ones() -> None:
    with pytest.raises(ConfigurationError, match=r"no masking profile 'ferpa'.*llm-training, logs"):
        load_profile("ferpa")


def test_own_profile_is_read_from_a_file(tmp_path: Path) -> None:
    profile = load_profile(_write(tmp_path, GOOD))
    assert profile.treatment("URL").transformation is Transformation.KEEP
    assert profile.treatment("URL").threshold == 0.5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("version: 1", "version: 2"), "version"),
        (("threshold: 0.5", "threshold: 5"), "threshold"),
        (("threshold: 0.5", "threshold: 0.12345"), "three decimals"),
        (("default: replace", "default: shred"), "no known transformation"),
        (("default: replace", "default: keep"), "cannot be kept"),
        (("keep}", "keep, colour: red}"), "unknown fields"),
        (("entities:", "entity:"), "unknown fields"),
        (("name: own\n", ""), "name is missing"),
        (("URL:", "PASSWORD:"), "cannot be kept"),
        (("keep}", "generalise, to: day}"), "to is month or year"),
        (("keep}", "keep, to: year}"), "goes with generalise"),
        (("keep}", "mask, show_last: 5}"), "show_last is 0 to 4"),
        (("keep}", "mask, show_last: true}"), "show_last is 0 to 4"),
        (("keep}", "replace, show_last: 2}"), "goes with mask"),
        (("URL: {transformation: keep}", "API_KEY: {transformation: mask, show_last: 4}"), "nothing of it"),
        (("entities:", "entities: ["), "not valid YAML"),
    ],
)
def test_profile_with_a_fault_is_refused(tmp_path: Path, change: tuple[str, str], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        load_profile(_write(tmp_path, GOOD.replace(*change)))


def test_missing_profile_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"none\.yaml cannot be read"):
        load_profile(str(tmp_path / "none.yaml"))


def test_digest_follows_content_and_not_spelling(tmp_path: Path) -> None:
    first = load_profile(_write(tmp_path, GOOD)).digest
    assert load_profile(_write(tmp_path, GOOD.replace("0.5", "0.50") + "# remark\n")).digest == first
    assert load_profile(_write(tmp_path, GOOD.replace("0.5", "0.6"))).digest != first


def test_the_digest_covers_how_coarse_and_how_much_is_shown(tmp_path: Path) -> None:
    def digest(treatment: str) -> str:
        return load_profile(_write(tmp_path, GOOD.replace("keep", treatment))).digest

    said = [
        "mask",
        "mask, show_last: 2",
        "mask, show_last: 4",
        "generalise",
        "generalise, to: year",
        "replace",
    ]
    assert len({digest(one) for one in said}) == len(said)
    assert digest("mask") == digest("mask, show_last: 0")
    assert digest("generalise") == digest("generalise, to: month")


def test_the_digest_of_what_could_be_said_before_has_not_changed() -> None:
    assert load_profile("logs").digest == LOGS_DIGEST
