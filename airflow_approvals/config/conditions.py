"""Conditions in CEL, the Common Expression Language, by an optional library.

The library has no limit on cost: comprehensions nest and build texts without end, so they are
refused here, and the length of a condition is bounded where policies are read. It compares
values of different types without a word (``label != 3`` is true), so every condition is tried
at load on facts of the right types.

Source: https://github.com/google/cel-spec, "Macros".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Any, TypeVar

from airflow_approvals.core.classification import Label
from airflow_approvals.core.facts import Facts
from airflow_approvals.core.matching import Compiler

T = TypeVar("T")

_MACROS = re.compile(
    r"\b(all|exists|exists_?one|map|filter|reduce|sort_?by|transform\w*)\s*\(", re.IGNORECASE
)
_ORDERED_LABEL = re.compile(r"\blabel\s*[<>]|[<>]=?\s*label\b")
#: A condition that errs on all of these errs always.
_SAMPLES = (
    Facts("export", "sink", Label.INTERNAL, "dag", 10, 2, 1000, "profile", 3, 90, 100, 1),
    Facts("export", "sink", Label.PUBLIC, "dag", 1, 1, 1, "profile", 1, 1, 1, 1, True, True),
    Facts("export", "sink", Label.RESTRICTED, "dag", 0, 0, 0, "", 0, 0, 0, 0),
)


def compiler() -> Compiler | None:
    """Return what compiles conditions, ``None`` where the library is not installed."""
    return _compile if find_spec("cel") is not None else None


def _compile(source: str) -> Callable[[Mapping[str, Any]], object]:
    if macro := _MACROS.search(source):
        raise ValueError(f"must do without {macro[1]}(), which has no limit on its cost")
    if _ORDERED_LABEL.search(source):
        raise ValueError("compares label as a text; use level, 0 for public to 3 for restricted")
    library = import_module("cel")
    evaluate = _guarded(_guarded(library.compile)(source).execute)
    _try(evaluate)
    return evaluate


def _guarded(work: Callable[[T], Any]) -> Callable[[T], Any]:
    def run(given: T) -> Any:
        try:
            return work(given)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # a panic of the library is not even an Exception
            raise ValueError(f"is no condition: {_first_line(error)}") from None

    return run


def _try(evaluate: Callable[[Mapping[str, Any]], object]) -> None:
    """Refuse what never has an answer, such as a misspelt name."""
    problems = [_problem(evaluate, sample) for sample in _SAMPLES]
    if all(problems):
        raise ValueError(problems[0])


def _problem(evaluate: Callable[[Mapping[str, Any]], object], sample: Facts) -> str:
    try:
        answer = evaluate(sample.to_document())
    except ValueError as error:
        return str(error)
    return "" if isinstance(answer, bool) else f"must be true or false, and is {type(answer).__name__}"


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200].rstrip(".")
