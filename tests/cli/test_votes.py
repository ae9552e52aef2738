from __future__ import annotations

import json
from argparse import Namespace

import pytest

from airflow_approvals.cli import votes as cli
from tests.client.a_server import a_server
from tests.client.test_client import DETAIL

DECIDED = {"request": "r1", "state": "approved", "sentence": "1 of 1 people have agreed."}


@pytest.fixture
def server():
    with a_server() as server:
        yield server


@pytest.fixture
def args(server, tmp_path):
    token = tmp_path / "token"
    token.touch(mode=0o600)
    token.write_text("tok\n")
    return Namespace(
        request_id="r1", reason="seen", yes=True, server=server.url, token_file=str(token), username=""
    )


def test_a_vote_shows_the_request_and_what_it_did(server, args, capsys):
    server.say(DETAIL)
    server.say(DECIDED)
    cli.approve(args)
    said = capsys.readouterr().out
    assert DETAIL["manifest_digest"] in said
    assert said.endswith("1 of 1 people have agreed.\n")
    assert json.loads(server.calls[1].body) == {"verdict": "approve", "reason": "seen"}
    assert server.calls[1].headers["authorization"] == "Bearer tok"


def test_rejecting_says_reject(server, args):
    server.say(DETAIL)
    server.say(DECIDED)
    cli.reject(args)
    assert json.loads(server.calls[1].body)["verdict"] == "reject"


def test_a_refusal_is_a_sentence_with_its_code(server, args):
    server.say(DETAIL)
    server.say({"code": "self_approval", "detail": "You started this run."}, 403)
    with pytest.raises(SystemExit, match=r"approvals: You started this run\. \[self_approval\]"):
        cli.approve(args)


def test_without_yes_nothing_is_sent_unless_a_person_says_so(server, args, monkeypatch):
    server.say(DETAIL)
    args.yes = False
    with pytest.raises(SystemExit, match="--yes"):
        cli.approve(args)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("builtins.input", lambda _: "no")
    with pytest.raises(SystemExit, match="nothing was sent"):
        cli.approve(args)
    assert {call.method for call in server.calls} == {"GET"}


def test_the_token_comes_from_the_environment_and_is_asked_for_by_name(server, args, monkeypatch):
    args.token_file = ""
    monkeypatch.delenv("APPROVALS_TOKEN", raising=False)
    with pytest.raises(SystemExit, match="APPROVALS_TOKEN"):
        cli.approve(args)
    monkeypatch.setenv("APPROVALS_TOKEN", "from-the-environment")
    server.say(DETAIL)
    server.say(DECIDED)
    cli.approve(args)
    assert server.calls[0].headers["authorization"] == "Bearer from-the-environment"


def test_a_token_file_that_others_read_is_refused(server, args, tmp_path):
    (tmp_path / "token").chmod(0o644)
    with pytest.raises(SystemExit, match="chmod 600"):
        cli.approve(args)
    assert server.calls == []


def test_what_others_wrote_moves_no_cursor(server, args, capsys):
    server.say({**DETAIL, "sink": "s\x1b[2Jfaked\rline"})
    server.say(DECIDED)
    cli.approve(args)
    assert "\x1b" not in capsys.readouterr().out
