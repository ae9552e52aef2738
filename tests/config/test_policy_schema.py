from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from airflow_approvals.config import conditions
from airflow_approvals.config.policy_file import schema_text
from airflow_approvals.core.policy_parsing import parse_policy
from airflow_approvals.errors import PolicyError
from tests.core.policies import EXAMPLE, FULL, rule, with_rules

SCHEMA = Draft202012Validator(json.loads(schema_text()))
HANDBOOK = Path(__file__).parents[2] / "docs" / "policy.md"
EXAMPLES = [
    EXAMPLE,
    FULL,
    with_rules(rule("cel", **{"if": "level > 1"})),
    *(
        yaml.safe_load(block)
        for block in re.findall(r"```yaml\n(version:.*?)```", HANDBOOK.read_text(encoding="utf-8"), re.DOTALL)
    ),
]


@pytest.mark.parametrize("document", EXAMPLES)
def test_every_example_fits_the_schema_loads_and_passes_its_tests(document):
    SCHEMA.validate(document)
    assert list(parse_policy(document, "", conditions.compiler()).failures()) == []


def test_schema_is_one():
    Draft202012Validator.check_schema(SCHEMA.schema)


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    if isinstance(value, dict | list):
        for key, below in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _places(below, (*path, key))


_WRONG = (None, 1.5, -7, "", " padded", [], {"surprise": 1})


def _mutants(document: Any) -> Iterator[tuple[str, Any]]:
    """Every value replaced by others, in turn; every object with a key more."""
    for number, path in enumerate(_places(document)):
        for wrong in (_WRONG[number % len(_WRONG)], _WRONG[(number + 3) % len(_WRONG)]):
            yield f"{path} := {wrong!r}", _changed(document, path, wrong)
        if isinstance(_at(document, path), dict):
            yield f"{path} + surprise", _changed(document, path, {**_at(document, path), "surprise": 1})


def _at(document: Any, path: tuple[Any, ...]) -> Any:
    for step in path:
        document = document[step]
    return document


def _changed(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    changed = copy.deepcopy(document)
    _at(changed, path[:-1])[path[-1]] = value
    return changed


@pytest.mark.parametrize("document", [EXAMPLE, FULL], ids=["example", "full"])
def test_schema_and_parser_agree_on_what_is_malformed(document):
    for what, mutant in _mutants(document):
        if not isinstance(mutant, dict):
            continue  # that a policy is a mapping is seen where the file is read
        error = _refusal(mutant)
        if SCHEMA.is_valid(mutant):
            assert not error or _CROSS_CHECKS.search(error), f"{what} is taken by the schema alone"
        else:
            assert error, f"{what} is taken by the parser alone"


#: What only the parser can know: how the parts of a policy go together.
_CROSS_CHECKS = re.compile(
    r"there is no (group|sink|rule)|no sink fits|nothing in the list|Nobody can satisfy"
)


def _refusal(document: Any) -> str:
    try:
        parse_policy(document, "", conditions.compiler())
    except PolicyError as error:
        return error.message
    return ""
