"""Profiles are read strictly."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_approvals.detection.profiles import Transformation, known_profiles, load_profile
from airflow_approvals.errors import ConfigurationError

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
    assert known_profiles() == ("llm-training", "logs")


def test_unknown_profile_lists_the_known_ones() -> None:
    with pytest.raises(ConfigurationError, match=r"no masking profile 'pci'.*llm-training, logs"):
        load_profile("pci")


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
