from __future__ import annotations

import hashlib
import textwrap
from pathlib import Path

import pytest
import yaml

from airflow_approvals.config.policy_file import MAX_POLICY_BYTES, read_policy_file, read_policy_text
from airflow_approvals.core.policy_parsing import parse_policy
from airflow_approvals.errors import PolicyError
from tests.core.policies import EXAMPLE

YAML = textwrap.dedent("""\
    # Grüße
    version: 1
    sinks:
      - id: training-bucket
        connection: training_bucket
        uri_prefix: file:///srv/training
        assurance: run-bound
    groups:
      data-owners: {users: [bob, carol]}
    identities:
      slack: {team: T0001, users: {U0001: bob, U0002: alice}}
    rules:
      - id: export-to-training
        when: {sink: training-bucket, action: {in: [export, retrain]}, label: {gte: internal}}
        effect: require
        seats: [{group: data-owners, count: 1}]
        channels: {slack: decide, ui: decide, api: view}
        request_ttl: PT24H
        grant_ttl: PT1H
    """)


@pytest.fixture
def file(tmp_path):
    return tmp_path / "policy.yaml"


def refusal(file, text):
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(PolicyError) as caught:
        read_policy_file(file)
    assert str(file) in caught.value.message
    return caught.value.message


def test_file_is_read_and_its_bytes_are_digested(file):
    file.write_text(YAML.replace("\n", "\r\n"), encoding="utf-8", newline="")
    policy = read_policy_file(file)
    assert policy.digest == "sha256:" + hashlib.sha256(file.read_bytes()).hexdigest()
    assert policy.rules == parse_policy(EXAMPLE, "").rules
    assert read_policy_text(policy.text, "stored") == policy


def test_missing_file_says_which_option(file):
    with pytest.raises(PolicyError, match="policy_file") as caught:
        read_policy_file(file)
    assert "No such file" in caught.value.message


def test_folder_is_refused(tmp_path):
    with pytest.raises(PolicyError, match="cannot be read"):
        read_policy_file(tmp_path)


def test_doubled_key_is_refused_with_its_line(file):
    assert "line 19: the key request_ttl stands here twice" in refusal(
        file, YAML.replace("grant_ttl: PT1H", "request_ttl: PT1H")
    )


def test_doubled_key_in_a_flow_mapping_is_refused(file):
    assert "the key ui stands here twice" in refusal(file, YAML.replace("api: view", "ui: view"))


def test_broken_yaml_is_refused_with_its_line(file):
    assert "line 9" in refusal(file, YAML.replace("[bob, carol]", "[bob, carol"))


def test_path_of_a_wrong_value_is_named(file):
    assert "rules[0].effect: must be one of" in refusal(file, YAML.replace("effect: require", "effect: ask"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "a policy is a mapping"),
        ("- 1", "a policy is a mapping"),
        ("--- {}\n--- {}\n", "but found another document"),
        ("a: &x [1]\nb: *x\n", "line 2: aliases are not allowed"),
        ("a: &x {k: 1}\nb:\n  <<: *x\n", "line 3: aliases are not allowed"),
        ("a:\n  <<: {k: 1}\n", "line 2: merge keys"),
        ("? [1, 2]\n: x\n", "line 1: merge keys and keys that are not text"),
        ("a: !!python/object/apply:os.system [id]\n", "line 1: could not determine a constructor"),
        ("a: 2026-02-30\n", "a date or number has no valid form"),
        ("a: " + "9" * 5000, "a date or number has no valid form"),
        ("[" * 20_000, "nested too deeply"),
        ("a: \x07\n", "control characters are not allowed"),
        (b"a: \xff\n", "is not UTF-8 at byte 3"),
        ("#" * (MAX_POLICY_BYTES + 1), "is larger than"),
    ],
)
def test_what_is_no_policy_is_one_clear_error(file, text, expected):
    assert expected in refusal(file, text)


def test_bomb_of_aliases_is_refused_before_it_grows(file):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    assert "aliases are not allowed" in refusal(file, "\n".join(lines))


def test_example_in_the_handbook_loads():
    handbook = Path(__file__).parents[2] / "docs" / "policy.md"
    example = handbook.read_text(encoding="utf-8").split("```yaml\n")[1].split("```")[0]
    policy = read_policy_text(example, "docs/policy.md")
    assert [rule.bar.effect.value for rule in policy.rules] == ["forbid", "require", "permit"]


def test_example_of_the_documents_agrees_with_the_yaml():
    assert yaml.safe_load(YAML)["rules"] == EXAMPLE["rules"]
