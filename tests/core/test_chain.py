from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_approvals.core.chain import (
    GENESIS,
    MAX_PROBLEMS,
    ChainEntry,
    Head,
    ProblemKind,
    entry_hash,
    leaf_hash,
    verify_chain,
)
from airflow_approvals.core.digest import canonical_bytes
from airflow_approvals.errors import ContractError

VECTORS = json.loads((Path(__file__).parent / "vectors" / "chain_v1.json").read_text(encoding="utf-8"))


def chain(length, note="", start=1, previous=GENESIS):
    """A chain as the ledger writes it, from ``start`` on."""
    entries = []
    for seq in range(start, start + length):
        body = canonical_bytes({"v": 1, "seq": seq, "prev": previous, "note": note})
        leaf = leaf_hash(body)
        previous = entry_hash(previous, leaf)
        entries.append(ChainEntry(seq, body, leaf, previous))
    return entries


def head_of(entries):
    return Head(entries[-1].seq, entries[-1].entry) if entries else Head(0, GENESIS)


def kinds(entries, head):
    return [(problem.seq, problem.kind.value) for problem in verify_chain(entries, head).problems]


def test_published_vectors_of_rfc_6962():
    # Leaves "" and 0x00 of the Certificate Transparency reference tree, and its root of size 2.
    empty = "sha256:6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    zero = "sha256:96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7"
    root = "sha256:fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"
    assert (leaf_hash(b""), leaf_hash(b"\x00"), entry_hash(empty, zero)) == (empty, zero, root)


def test_own_vectors_of_version_1():
    entries = [
        ChainEntry(entry["seq"], entry["body"].encode(), entry["leaf"], entry["entry"])
        for entry in VECTORS["entries"]
    ]
    assert VECTORS["genesis"] == GENESIS
    assert [leaf_hash(entry.body) for entry in entries] == [entry.leaf for entry in entries]
    assert [canonical_bytes(json.loads(entry.body)) for entry in entries] == [entry.body for entry in entries]
    report = verify_chain(entries, (VECTORS["head"]["seq"], VECTORS["head"]["entry"]))
    assert (report.ok, report.size, report.problems) == (True, 3, ())


@pytest.mark.parametrize("length", [0, 1, 5])
def test_whole_chain_verifies(length):
    entries = chain(length)
    report = verify_chain(iter(entries), head_of(entries))
    assert (report.ok, report.size, report.problems) == (True, length, ())


def test_hash_of_something_else_than_a_digest_is_refused():
    with pytest.raises(ContractError):
        entry_hash("not a digest", GENESIS)


def test_edited_body_names_its_row_alone():
    entries = chain(5)
    entries[2] = entries[2]._replace(body=entries[2].body.replace(b'"note":""', b'"note":"x"'))
    assert kinds(entries, head_of(entries)) == [(3, "edit")]


def test_edit_with_the_leaf_recomputed_names_its_row():
    entries = chain(5)
    body = entries[2].body.replace(b'"note":""', b'"note":"x"')
    entries[2] = entries[2]._replace(body=body, leaf=leaf_hash(body))
    assert kinds(entries, head_of(entries)) == [(3, "edit")]


def test_edit_with_every_hash_of_the_row_recomputed_shows_at_the_next():
    entries = chain(5)
    head = head_of(entries)
    entries[2] = chain(1, "x", start=3, previous=entries[1].entry)[0]
    assert kinds(entries, head) == [(4, "fork")]
    assert kinds(entries[:3], Head(3, chain(3)[2].entry)) == [(3, "fork")]


def test_rewritten_tail_shows_at_the_head():
    entries = chain(5)
    forged = entries[:2] + chain(3, "x", start=3, previous=entries[1].entry)
    assert kinds(forged, head_of(entries)) == [(5, "fork")]


def test_body_that_states_another_number_is_an_edit_even_with_good_hashes():
    entries = chain(2)
    stray = chain(1, start=9, previous=entries[1].entry)[0]._replace(seq=3)
    assert kinds([*entries, stray], Head(3, stray.entry)) == [(3, "edit")]


def test_gap_names_the_first_missing_row_and_nothing_after_it():
    entries = chain(6)
    assert kinds([*entries[:1], *entries[3:]], head_of(entries)) == [(2, "gap")]
    assert kinds(entries[1:], head_of(entries)) == [(1, "gap")]


def test_cut_tail_and_lost_chain_and_lost_head():
    entries = chain(4)
    assert kinds(entries[:2], head_of(entries)) == [(3, "tail_cut")]
    assert kinds([], head_of(entries)) == [(0, "empty")]
    assert kinds(entries, None) == [(0, "empty")]
    assert kinds([], None) == [(0, "empty")]


def test_entries_beyond_the_head_are_told():
    entries = chain(4)
    assert kinds(entries, head_of(entries[:2])) == [(3, "fork")]


def test_two_entries_for_one_number_are_told():
    entries = chain(3)
    twice = [*entries[:2], chain(1, "x", start=2, previous=entries[0].entry)[0], entries[2]]
    assert (2, "fork") in kinds(twice, head_of(entries))


@pytest.mark.parametrize("body", [b"", b"[]", b"\xff", b"{", b"[" * 100_000])
def test_body_that_is_no_object_is_an_edit_even_with_good_hashes(body):
    leaf = leaf_hash(body)
    entry = ChainEntry(1, body, leaf, entry_hash(GENESIS, leaf))
    assert kinds([entry], Head(1, entry.entry)) == [(1, "edit")]


def test_hashes_that_are_no_digests_are_edits():
    entries = chain(1)
    assert kinds([entries[0]._replace(entry="")], Head(1, "")) == [(1, "edit")]
    assert kinds([entries[0]._replace(leaf="x")], head_of(entries)) == [(1, "edit")]


def test_report_of_a_ruin_stays_bounded():
    entries = [entry._replace(leaf=GENESIS) for entry in chain(MAX_PROBLEMS + 5)]
    report = verify_chain(entries, head_of(entries))
    assert (report.ok, report.size, len(report.problems)) == (False, MAX_PROBLEMS + 5, MAX_PROBLEMS)


def test_every_problem_kind_that_a_chain_can_show_is_covered():
    assert {kind.value for kind in ProblemKind} == {"edit", "gap", "fork", "tail_cut", "empty", "projection"}


chains = st.integers(2, 8).map(chain)


@given(chains, st.data())
def test_any_change_of_any_byte_breaks_it(entries, data):
    head = head_of(entries)
    at = data.draw(st.integers(0, len(entries) - 1))
    body = bytearray(entries[at].body)
    where = data.draw(st.integers(0, len(body) - 1))
    body[where] ^= data.draw(st.integers(1, 255))
    entries[at] = entries[at]._replace(body=bytes(body))
    assert not verify_chain(entries, head).ok


@given(chains, st.data(), st.booleans())
def test_any_swap_breaks_it(entries, data, with_numbers):
    head = head_of(entries)
    a, b = data.draw(st.lists(st.integers(0, len(entries) - 1), min_size=2, max_size=2, unique=True))
    one, two = entries[a], entries[b]
    entries[a] = two._replace(seq=one.seq) if with_numbers else two
    entries[b] = one._replace(seq=two.seq) if with_numbers else one
    assert not verify_chain(entries, head).ok


@given(chains, st.data(), st.booleans())
def test_any_drop_breaks_it(entries, data, renumber):
    head = head_of(entries)
    del entries[data.draw(st.integers(0, len(entries) - 1))]
    if renumber:
        entries = [entry._replace(seq=seq) for seq, entry in enumerate(entries, 1)]
    assert not verify_chain(entries, head).ok


@given(chains, st.data(), st.booleans())
def test_any_insert_breaks_it(entries, data, renumber):
    head = head_of(entries)
    at = data.draw(st.integers(0, len(entries)))
    previous = entries[at - 1].entry if at else GENESIS
    entries.insert(at, chain(1, "inserted", start=at + 1, previous=previous)[0])
    if renumber:
        entries = [entry._replace(seq=seq) for seq, entry in enumerate(entries, 1)]
    assert not verify_chain(entries, head).ok
