"""A masked copy has the same structure, and is there as a whole or not at all."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from airflow_approvals.core.manifest import Manifest, Reference
from airflow_approvals.data.masking import mask_data
from airflow_approvals.data.references import load_manifest
from airflow_approvals.data.staging import MARK
from airflow_approvals.detection.profiles import CLASSIFICATION
from airflow_approvals.errors import ConfigurationError, DataError, DetectionError
from tests.data.evil_fs import FailsAfter, FreshMemory, attached
from tests.detection import canaries
from tests.detection.engines import classification_engine, masking_engine


def _mask(source: Path | str, target: Path | str, profile: str = "llm-training") -> Manifest:
    reference = mask_data(str(source), str(target), profile=profile, engine=masking_engine(profile))
    return load_manifest(reference)


def _write(path: Path, data: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


def test_csv_keeps_dialect_header_quoting_and_line_ends(tmp_path: Path) -> None:
    text = '\ufeffid;email;note\r\n1;carol@example.com;"says ""hi"""\r\n\r\n"2";"dave@example.com";x'
    manifest = _mask(_write(tmp_path / "a.csv", text), tmp_path / "out")
    masked = (tmp_path / "out/a.csv").read_bytes().decode()
    assert masked == text.replace("carol@example.com", "<EMAIL_ADDRESS>").replace(
        "dave@example.com", "<EMAIL_ADDRESS>"
    )
    (entry,) = manifest.objects
    assert (entry.uri, entry.format, entry.rows, entry.columns) == (
        "a.csv",
        "csv",
        2,
        ("id", "email", "note"),
    )
    assert entry.size == len(masked.encode())
    assert [(c.column, c.entity_type, c.count) for c in manifest.counts] == [("email", "EMAIL_ADDRESS", 2)]


def test_folder_keeps_its_structure_and_skips_our_documents(tmp_path: Path) -> None:
    source = tmp_path / "in"
    _write(source / "b/deep/x.jsonl", '{"card": 4111111111111111, "n": 7}\n')
    _write(source / "a.txt", "Hello\n\nCall +49 30 23125 417.")
    _write(source / "_manifest.json", "{}")
    manifest = _mask(source, tmp_path / "out")
    assert [e.uri for e in manifest.objects] == ["a.txt", "b/deep/x.jsonl"]
    assert [e.rows for e in manifest.objects] == [3, 1]
    assert (tmp_path / "out/b/deep/x.jsonl").read_text() == '{"card": "<CREDIT_CARD>", "n": 7}\n'
    assert (tmp_path / "out/a.txt").read_text() == "Hello\n\nCall <PHONE_NUMBER>."


def test_glob_masks_what_it_matches(tmp_path: Path) -> None:
    for name in ("in/a.log", "in/b.log", "in/c.csv", "in/deep/d.log"):
        _write(tmp_path / name, "x,y\n1,2\n")
    manifest = _mask(tmp_path / "in/*.log", tmp_path / "out")
    assert [e.uri for e in manifest.objects] == ["a.log", "b.log"]


def test_manifest_depends_on_bytes_and_not_on_place_or_time(tmp_path: Path) -> None:
    digests = set()
    for place in ("one", "two"):
        source = _write(tmp_path / place / "a.csv", "id,email\n1,carol@example.com\n").parent
        digests.add(_mask(source, tmp_path / f"{place}-out").digest)
    assert len(digests) == 1


def test_log_profile_keeps_times_and_masks_keys_over_many_lines(tmp_path: Path) -> None:
    log = f"2026-03-01T10:00:00Z ERROR key:\n{KEY}\nend\n"
    manifest = _mask(_write(tmp_path / "a.log", log), tmp_path / "out", "logs")
    assert (tmp_path / "out/a.log").read_text() == "2026-03-01T10:00:00Z ERROR key:\n<PRIVATE_KEY>\nend\n"
    assert manifest.rows == 3


def test_sensitive_names_are_masked_everywhere(tmp_path: Path) -> None:
    source = tmp_path / "in"
    for user in ("carol", "dave", "erin"):
        _write(source / f"{user}@corp.internal/{user}@corp.internal.csv", f"id,{user}@corp.internal\n1,2\n")
    manifest = _mask(source, tmp_path / "out")
    masked = [f"_EMAIL_ADDRESS_/_EMAIL_ADDRESS_{number}.csv" for number in ("-2", "-3", "")]
    assert [e.uri for e in manifest.objects] == masked
    assert all((tmp_path / "out" / name).exists() for name in masked)
    assert {e.columns for e in manifest.objects} == {("id", "<EMAIL_ADDRESS>")}
    counted = {(c.column, c.entity_type): c.count for c in manifest.counts}
    assert counted == {("(name)", "EMAIL_ADDRESS"): 6, ("<EMAIL_ADDRESS>", "EMAIL_ADDRESS"): 3}


def test_value_known_from_its_column_is_masked_in_the_rest_of_the_row(tmp_path: Path) -> None:
    text = "customer_name,note\nQuorra Zzyzx,ask for Quorra Zzyzx now\n"
    _mask(_write(tmp_path / "a.csv", text), tmp_path / "out")
    assert (tmp_path / "out/a.csv").read_text() == "customer_name,note\n<PERSON>,ask for <PERSON> now\n"


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.csv", b"", "a.csv is empty"),
        ("a.csv", b"a,b\n1,2,3\n", "a.csv line 2 has 3 cells"),
        ("a.csv", b"Karen,Springfield,1984-02-03,hunter2\n", "the first line is not a header. Add a header"),
        ("a.jsonl", b'{"a": 1}\n{"a"', "a.jsonl line 2 is not a JSON value"),
        ("a.txt", b"caf\xe9", "a.txt line 1 is not UTF-8"),
        ("a.parquet", b"PAR1", r"a.parquet has no format.*\.csv \.tsv \.jsonl \.ndjson \.txt \.log"),
    ],
)
def test_bad_object_is_one_clear_error_and_leaves_nothing(
    tmp_path: Path, name: str, data: bytes, message: str
) -> None:
    _write(tmp_path / "in/0-good.txt", "fine\n")
    _write(tmp_path / "in" / name, data)
    with pytest.raises(DataError, match=message) as caught:
        _mask(tmp_path / "in", tmp_path / "out")
    assert caught.value.hint
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in"]


def test_source_and_target_faults_are_named(tmp_path: Path) -> None:
    good = _write(tmp_path / "in/a.txt", "fine\n")
    (tmp_path / "empty").mkdir()
    _write(tmp_path / "taken/x", "x")
    for source, target, message in (
        (tmp_path / "none.csv", tmp_path / "out", r"none\.csv does not exist"),
        (tmp_path / "empty", tmp_path / "out", "empty holds no files"),
        (tmp_path / "in/*.csv", tmp_path / "out", "holds no files"),
        (good, tmp_path / "taken", "taken exists already"),
        (tmp_path / "in", tmp_path / "in/out", "lies inside the source"),
        (good, tmp_path / "taken/x/below", r"taken/x/below cannot be written"),
        (good, good / "below", "overlaps the source"),
        (good, "nowhere://x/y", "cannot be opened"),
        (good, "", "A path is empty"),
    ):
        with pytest.raises(DataError, match=message):
            _mask(source, target)
    assert (tmp_path / "taken/x").read_text() == "x"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["empty", "in", "taken"]


def test_single_sensitive_header_is_masked_and_the_rest_stays(tmp_path: Path) -> None:
    source = _write(tmp_path / "a.csv", "id,city,carol@example.com,2024_total\n1,,2,3\n")
    (entry,) = _mask(source, tmp_path / "out").objects
    assert entry.columns == ("id", "city", "<EMAIL_ADDRESS>", "2024_total")


def test_source_beside_the_target_is_never_the_staging_place(tmp_path: Path) -> None:
    source = _write(tmp_path / "tickets.partial/a.txt", "fine\n").parent
    (tmp_path / "alias.partial").symlink_to(source)
    for given, target in (
        (source, "tickets"),
        (source, "alias"),
        (source / "a.txt", "tickets"),
        (source / "*.txt", "tickets"),
    ):
        with pytest.raises(DataError, match="overlaps the source"):
            _mask(given, tmp_path / target)
    assert (source / "a.txt").read_text() == "fine\n"


def test_unknown_profile_or_model_leaves_nothing(tmp_path: Path) -> None:
    good = _write(tmp_path / "in/a.txt", "fine\n")
    with pytest.raises(ConfigurationError, match="no masking profile 'nope'"):
        mask_data(str(good), str(tmp_path / "out"), profile="nope")
    with pytest.raises(DetectionError, match="not installed"):
        mask_data(str(good), str(tmp_path / "out"), profile="logs", model="no_such_model")
    with pytest.raises(DetectionError, match=CLASSIFICATION.name):
        mask_data(str(good), str(tmp_path / "out"), profile="logs", engine=classification_engine())
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in"]


KEY = canaries.SECRETS["private key"][1]

KILLED = """
import os, signal, sys
from airflow_approvals.data import masking
from airflow_approvals.data.staging import Staging
Staging.publish = lambda self, last: os.kill(os.getpid(), signal.SIGKILL)
masking.mask_data(sys.argv[1], sys.argv[2], profile="logs")
"""


def test_killed_run_leaves_nothing_that_looks_finished_and_a_retry_mends_it(tmp_path: Path) -> None:
    source = _write(tmp_path / "in/a.log", "user carol@example.com\n")
    target = tmp_path / "out"
    done = subprocess.run([sys.executable, "-c", KILLED, str(source), str(target)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert not target.exists()
    assert (tmp_path / "out.partial/_manifest.json").exists()
    _write(tmp_path / "out.partial/stale.log", "left over")
    manifest = _mask(source, target, "logs")
    assert sorted(p.name for p in target.iterdir()) == ["_manifest.json", "a.log"]
    assert manifest.digest == _mask(source, tmp_path / "undisturbed", "logs").digest
    assert not (tmp_path / "out.partial").exists()


def test_object_store_is_masked_in_place_of_a_disk() -> None:
    with attached(FreshMemory) as fs:
        fs.pipe_file("/bucket/in/a.csv", b"id,email\n1,carol@example.com\n")
        fs.pipe_file("/bucket/in/deep/b.txt", b"fine")
        manifest = _mask("fresh://bucket/in", "fresh://bucket/out")
        assert [e.uri for e in manifest.objects] == ["a.csv", "deep/b.txt"]
        assert fs.cat("/bucket/out/a.csv") == b"id,email\n1,<EMAIL_ADDRESS>\n"
        assert sorted(fs.find("/bucket")) == [
            "/bucket/in/a.csv",
            "/bucket/in/deep/b.txt",
            "/bucket/out/_manifest.json",
            "/bucket/out/a.csv",
            "/bucket/out/deep/b.txt",
        ]


def test_half_copied_target_on_an_object_store_is_made_again() -> None:
    with attached(FreshMemory) as fs:
        fs.pipe_file("/bucket/in/a.txt", b"fine")
        fs.pipe_file("/bucket/out/_incomplete", MARK)
        fs.pipe_file("/bucket/out/stale.txt", b"left over")
        _mask("fresh://bucket/in", "fresh://bucket/out")
        assert sorted(fs.find("/bucket/out")) == ["/bucket/out/_manifest.json", "/bucket/out/a.txt"]


def test_file_system_that_quotes_content_is_not_quoted() -> None:
    with attached(FailsAfter) as fs:
        fs.pipe_file("/bucket/a.csv", b"canary,canary\n1,2\n")
        with pytest.raises(DataError, match=r"a\.csv cannot be read to its end \(ValueError\)") as caught:
            _mask("failing://bucket/a.csv", "failing://bucket/out")
        assert "canary" not in str(caught.value)
        assert fs.find("/bucket") == ["/bucket/a.csv"]


def test_reference_leads_to_the_manifest(tmp_path: Path) -> None:
    source = _write(tmp_path / "a.txt", "fine\n")
    reference = mask_data(
        str(source), f"file://{tmp_path}/out", profile="logs", engine=masking_engine("logs")
    )
    assert reference == Reference(f"file://{tmp_path}/out/_manifest.json", load_manifest(reference).digest)
