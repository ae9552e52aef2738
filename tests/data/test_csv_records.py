"""CSV comes out as it went in, and is cut as Python's csv module cuts it."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_approvals.data.csv_records import CsvReader, encode_cell, sniff_delimiter
from airflow_approvals.data.records import Record
from airflow_approvals.detection.findings import Finding
from airflow_approvals.errors import FormatError

CELL = st.text(alphabet="ab1 ,;\t|\"\n'é<", max_size=8)


class Names:
    """Shows every name as it is, but for one."""

    def shown(self, name: str) -> str:
        return name.replace("carol", "<PERSON>")

    def as_values(self, names: Sequence[str]) -> list[list[Finding]]:
        return [[] for _ in names]


def _read(text: str, delimiter: str | None = None) -> tuple[CsvReader, list[Record]]:
    reader = CsvReader("t.csv", Names(), delimiter)
    return reader, list(reader.records(io.StringIO(text, newline="\n")))


@given(
    rows=st.integers(2, 5).flatmap(
        lambda n: st.lists(st.lists(CELL, min_size=n, max_size=n), min_size=2, max_size=6)
    ),
    delimiter=st.sampled_from([",", ";", "\t", "|"]),
    end=st.sampled_from(["\n", "\r\n"]),
    quoting=st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]),
)
def test_records_are_lossless_and_agree_with_the_csv_module(
    rows: list[list[str]], delimiter: str, end: str, quoting: int
) -> None:
    rows = [["head", *("c" * n for n in range(1, len(rows[0])))], *rows[1:]]
    out = io.StringIO(newline="")
    csv.writer(out, delimiter=delimiter, lineterminator=end, quoting=quoting).writerows(rows)
    reader, records = _read(out.getvalue(), delimiter)
    assert "".join(record.spliced({}) for record in records) == out.getvalue()
    read = [[field.text for field in record.fields] for record in records if record.counts_as_row]
    assert [reader.columns, *read] == rows


@given(text=CELL, quoted=st.booleans(), delimiter=st.sampled_from([",", ";"]))
def test_cell_that_was_replaced_reads_back(text: str, quoted: bool, delimiter: str) -> None:
    raw = f"x{delimiter}{encode_cell(text, delimiter=delimiter, quoted=quoted)}"
    assert list(csv.reader(io.StringIO(raw, newline=""), delimiter=delimiter)) == [["x", text]]


@pytest.mark.parametrize(
    ("text", "delimiter"),
    [
        ("a,b\n1,2\n", ","),
        ("a;b\n1,5;2\n", ";"),
        ("a\tb\n1, 2\t3\n", "\t"),
        ("a|b|c\n1|2|3\n", "|"),
        ('a;b\n"x;y,z";2\n', ";"),
        ("just one\nline each\n", ","),
        ("a,b\n1\n2,3,4\n", ","),
        ("", ","),
    ],
)
def test_delimiter_is_what_cuts_all_rows_alike(text: str, delimiter: str) -> None:
    assert sniff_delimiter(text.splitlines(keepends=True)) == delimiter


def test_blank_lines_and_missing_last_line_end_stay() -> None:
    text = "a,b\r\n\r\n1,2\r\n\r\n3,4"
    _, records = _read(text)
    assert "".join(r.raw for r in records) == text
    assert sum(r.counts_as_row for r in records) == 2


def test_sensitive_header_is_replaced_and_doubles_are_numbered() -> None:
    reader, records = _read('id,carol,carol,"carol"\n1,2,3,4\n')
    assert reader.columns == ["id", "<PERSON>", "<PERSON>#2", "<PERSON>#3"]
    assert records[0].spliced({}) == 'id,<PERSON>,<PERSON>,"<PERSON>"\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\ncanary\n", "line 3 has 1 cells where the header has 2"),
        ("a,b\n1,2,canary\n", "line 2 has 3 cells where the header has 2"),
        ('a,b\n1,"canary\n2,3\n', "line 2 has a quote that is never closed"),
        ('a,b\n"x\ny",2\n1,"canary"s\n', "line 4 has text after a closing quote"),
        ("a,b\r1,canary\r", "line 1 has a bare carriage return"),
        ("x" * 2000 + ",canary\n1,2\n", "column name of more than 1000"),
    ],
)
def test_malformed_line_is_named_and_never_quoted(text: str, message: str) -> None:
    with pytest.raises(FormatError, match=message) as caught:
        _read(text, ",")
    assert caught.value.reason == "malformed"
    assert "canary" not in str(caught.value)
