"""Who wrote the commits of a real repository, whatever its files say."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_approvals.seams import git_history
from airflow_approvals.seams.git_history import Authors
from tests.control.git_repository import Repository


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "bare")


def wrote(*mails: str, committed: tuple[str, ...] = (), cut: bool = False) -> Authors:
    return Authors(frozenset(mails), frozenset(committed), cut)


def test_without_an_earlier_version_the_whole_history_counts(repository: Repository) -> None:
    repository.commit("Ann@Example.com")
    version = repository.commit("bob@example.com")
    repository.commit("later@example.com")
    assert git_history.authors(repository.path, version, None) == wrote("ann@example.com", "bob@example.com")


def test_with_one_only_what_came_after_it(repository: Repository) -> None:
    since = repository.commit("ann@example.com")
    version = repository.commit("bob@example.com")
    assert git_history.authors(repository.path, version, since) == wrote("bob@example.com")
    assert git_history.authors(repository.path, version, version) == wrote()


def test_a_version_that_is_gone_counts_as_none_approved(repository: Repository) -> None:
    repository.commit("ann@example.com")
    version = repository.commit("bob@example.com")
    found = git_history.authors(repository.path, version, "0" * 40)
    assert found == wrote("ann@example.com", "bob@example.com")


def test_co_authors_wrote_too_and_committers_are_told_apart(repository: Repository) -> None:
    trailer = "a change\n\nCo-authored-by: Carol <Carol@example.com>\nCo-authored-by: nobody"
    version = repository.commit("ann@example.com", by="merger@example.com", message=trailer)
    found = git_history.authors(repository.path, version, None)
    assert found == wrote("ann@example.com", "carol@example.com", committed=("merger@example.com",))


def test_a_history_longer_than_is_read_is_said_to_be(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(git_history, "MOST_COMMITS", 2)
    for name in "abc":
        version = repository.commit(f"{name}@example.com")
    found = git_history.authors(repository.path, version, None)
    assert found == wrote("b@example.com", "c@example.com", cut=True)


@pytest.mark.parametrize("name", ["shallow", "info/grafts"])
def test_a_repository_that_tells_another_history_than_its_commits_is_unknown(
    repository: Repository, name: str
) -> None:
    repository.commit("ann@example.com")
    version = repository.commit("bob@example.com")
    (repository.path / name).parent.mkdir(exist_ok=True)
    (repository.path / name).write_text(f"{version}\n")
    assert git_history.authors(repository.path, version, None) is None


def test_who_gave_no_address_is_told_and_hides_nobody(repository: Repository) -> None:
    repository.commit("ann@example.com")
    repository.commit("", message="a change\n\nCo-authored-by: Carol <carol@example.com>")
    repository.commit("", by="merger@example.com")
    version = repository.commit("bob@example.com")
    found = git_history.authors(repository.path, version, None)
    expected = ("ann@example.com", "bob@example.com", "carol@example.com", git_history.NO_ADDRESS)
    assert found == wrote(*expected, committed=("merger@example.com",))


@pytest.mark.parametrize(
    "text",
    [
        "a change\n\nCO-AUTHORED-BY: Carol\n  <carol@example.com>",
        "a change\n\nCo-authored-by: Carol <carol@example.com>\n\nan afterthought",
        "\n\n\x01\n\x02a\n\nCo-authored-by: a <b@c\nCo-authored-by: Carol <carol@example.com>",
    ],
    ids=["folded", "not at the end", "broken"],
)
def test_co_authors_are_found_wherever_they_stand(repository: Repository, text: str) -> None:
    version = repository.commit("ann@example.com", message=text)
    found = git_history.authors(repository.path, version, None)
    assert found == wrote("ann@example.com", "carol@example.com")


def test_a_commit_that_names_nobody_makes_the_history_unknown(repository: Repository) -> None:
    first = repository.commit("ann@example.com")
    version = repository.raw_commit("a change", parent=first)
    assert git_history.authors(repository.path, version, None) is None
    assert git_history.authors(repository.path, first, None) == wrote("ann@example.com")


def test_a_history_of_too_many_bytes_is_unknown(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = repository.commit("ann@example.com", message="x" * 500)
    monkeypatch.setattr(git_history, "MOST_BYTES", 500)
    assert git_history.authors(repository.path, version, None) is None


@pytest.mark.parametrize("version", ["", "HEAD", "--output=/tmp/x", "main", "0" * 40])
def test_what_is_no_version_of_it_is_unknown(repository: Repository, version: str) -> None:
    repository.commit("ann@example.com")
    assert git_history.authors(repository.path, version, None) is None


def test_a_folder_without_a_repository_is_unknown(tmp_path: Path) -> None:
    assert git_history.authors(tmp_path, "0" * 40, None) is None
    assert git_history.authors(tmp_path / "nowhere", "0" * 40, None) is None


def test_nothing_in_the_repository_runs_or_renames(repository: Repository, tmp_path: Path) -> None:
    """A signature program, a mail map and a replacement could each change what is told."""
    trailer = "a change\n\nCo-authored-by: Carol <carol@example.com>"
    honest = repository.commit("mallory@example.com", message=trailer)
    ran = tmp_path / "ran"
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\ntouch {ran}\n")
    program.chmod(0o755)
    with (repository.path / "config").open("a") as config:
        config.write(f'[log]\n\tshowSignature = true\n\tmailmap = true\n[gpg]\n\tprogram = "{program}"\n')
        config.write(f'[core]\n\tpager = "{program}"\n\tfsmonitor = "{program}"\n')
        config.write(f"[mailmap]\n\tfile = {tmp_path / 'map'}\n")
        config.write("[i18n]\n\tlogOutputEncoding = UTF-16\n\tcommitEncoding = UTF-7\n")
        config.write('[trailer]\n\tseparators = "#"\n')
    (tmp_path / "map").write_text("Ann <ann@example.com> <mallory@example.com>\n")
    other = Repository(tmp_path / "other")
    other.path = repository.path
    forged = other.commit("ann@example.com")
    (repository.path / "refs" / "replace").mkdir(parents=True)
    (repository.path / "refs" / "replace" / honest).write_text(f"{forged}\n")
    told = git_history.authors(repository.path, honest, None)
    assert told == wrote("mallory@example.com", "carol@example.com")
    assert not ran.exists()


def test_a_commit_graph_that_leaves_a_parent_out_is_not_believed(
    repository: Repository, tmp_path: Path
) -> None:
    """It is a copy of who follows whom that git believes unchecked: here, one of a grafted history."""
    repository.commit("mallory@example.com")
    version = repository.commit("ann@example.com")
    repository.forge_graph_without_parents(version)
    assert git_history.authors(repository.path, version, None) == wrote(
        "ann@example.com", "mallory@example.com"
    )
