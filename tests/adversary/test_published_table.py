"""The published table of attacks and the suite name the same tests."""

from __future__ import annotations

import ast
import re
from pathlib import Path

HERE = Path(__file__).parent
TABLE = HERE.parents[1] / "docs" / "adversary.md"


def test_the_table_names_every_attack_and_nothing_else() -> None:
    attacks = {
        node.name
        for path in HERE.glob("test_*.py")
        if path != Path(__file__)
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }
    assert attacks
    assert set(re.findall(r"`(test_\w+)`", TABLE.read_text())) == attacks
