"""JSON lines come out as they went in, but for what is replaced."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_approvals.data import json_records
from airflow_approvals.data.json_records import JsonLinesReader
from airflow_approvals.data.records import Record
from airflow_approvals.detection.findings import Finding
from airflow_approvals.errors import FormatError

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=12,
)


class Names:
    """Shows every name as it is, but for one."""

    def shown(self, name: str) -> str:
        return "<PERSON>" if name.startswith("carol") else name

    def as_values(self, names: Sequence[str]) -> list[list[Finding]]:
        return [[] for _ in names]


def _read(text: str) -> tuple[JsonLinesReader, list[Record]]:
    reader = JsonLinesReader("t.jsonl", Names())
    return reader, list(reader.records(text.splitlines(keepends=True)))


def _leaves(value: object) -> list[object]:
    if isinstance(value, dict):
        return [leaf for inner in value.values() for leaf in _leaves(inner)]
    if isinstance(value, list):
        return [leaf for inner in value for leaf in _leaves(inner)]
    return [] if value is None or isinstance(value, bool) else [value]


@given(VALUES, st.booleans(), st.sampled_from([(", ", ": "), (",", ":")]))
def test_every_string_and_number_is_a_field_in_place(
    value: object, ascii_only: bool, marks: tuple[str, str]
) -> None:
    raw = json.dumps(value, ensure_ascii=ascii_only, separators=marks) + "\n"
    record = next(iter(JsonLinesReader("t", Names()).records([raw])))
    assert record.spliced({}) == raw
    in_place = [json.loads(raw[field.start : field.end]) for field in record.fields]
    assert in_place == _leaves(value)
    assert [f.text for f in record.fields] == [x if isinstance(x, str) else json.dumps(x) for x in in_place]


@given(VALUES, st.text())
def test_replaced_leaves_read_back(value: object, replacement: str) -> None:
    record = next(iter(JsonLinesReader("t", Names()).records([json.dumps(value) + "\n"])))
    masked = json.loads(record.spliced(dict.fromkeys(range(len(record.fields)), replacement)))
    assert _leaves(masked) == [replacement] * len(record.fields)


def test_columns_are_dotted_paths_in_order_of_appearance() -> None:
    reader, _ = _read('{"b": {"c": "x"}, "a": [1, {"d": 2}]}\n\n{"e": "y", "b": {"c": "z"}}\n')
    assert reader.columns == ["b.c", "a[]", "a[].d", "e"]


def test_sensitive_keys_are_replaced_and_stay_apart() -> None:
    reader, records = _read('{"carol@a": 1, "carol@b": {"x": 2}}\n')
    assert json.loads(records[0].spliced({})) == {"<PERSON>": 1, "<PERSON>#2": {"x": 2}}
    assert reader.columns == ["<PERSON>", "<PERSON>#2.x"]


def test_equal_keys_are_all_read() -> None:
    _, records = _read('{"a": "one", "a": "two"}\n')
    assert [f.text for f in records[0].fields] == ["one", "two"]


def test_columns_made_of_data_share_a_name_beyond_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_records, "MAX_COLUMNS", 2)
    reader, records = _read('{"a": 1, "b": 2, "c": 3, "d": 4}\n')
    assert reader.columns == ["a", "b", json_records.FURTHER_COLUMNS]
    assert len(records[0].fields) == 4


@pytest.mark.parametrize(
    "line",
    [
        '{"canary": 1',
        '{"a": canary}',
        '{"a": 1} canary',
        "canary",
        '{"a" "canary"}',
        '["canary",]',
        '"canary',
        '{"a": NaN}',
        '{"a": 01}',
        '"\x01canary"',
        "[" * 70 + "]" * 70,
        "[" * 100_000,
    ],
)
def test_line_that_is_not_json_is_named_and_never_quoted(line: str) -> None:
    with pytest.raises(FormatError, match=r"t\.jsonl line 2 is not a JSON value") as caught:
        _read(f'{{"ok": 1}}\n{line}\n')
    assert caught.value.reason == "malformed"
    assert "canary" not in str(caught.value)
    assert caught.value.__context__ is None


def test_json_numbers_and_escapes_keep_their_spelling() -> None:
    raw = '{"n": 1.50e3, "u": "\\u00e9\\/", "big": 12345678901234567890}\n'
    _, records = _read(raw)
    assert records[0].spliced({2: "<X>"}) == raw.replace("12345678901234567890", '"<X>"')
