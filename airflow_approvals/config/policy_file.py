"""The policy file: YAML, read so strictly that what a person sees is what the server reads.

Doubled keys are errors (YAML parsers commonly let the last one win), and so are aliases: they
let one line of a file stand for many, and nested ones for billions.
"""

from __future__ import annotations

from collections.abc import Hashable
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from yaml.composer import Composer

from airflow_approvals.config import conditions
from airflow_approvals.core.policy import Policy
from airflow_approvals.core.policy_parsing import parse_policy
from airflow_approvals.errors import PolicyError

MAX_POLICY_BYTES = 1024 * 1024


def read_policy_file(path: Path) -> Policy:
    """Read and check a policy file.

    :param path: a UTF-8 file of at most 1 MiB.
    :raises PolicyError: naming the file, and the line or the path inside it.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_POLICY_BYTES + 1)
    except OSError as error:
        raise PolicyError(
            f"The policy file {path} cannot be read: {error.strerror or type(error).__name__}.",
            "Set [approvals] policy_file, or name a file that the server's user can read.",
        ) from error
    if len(data) > MAX_POLICY_BYTES:
        raise PolicyError(f"The policy file {path} is larger than {MAX_POLICY_BYTES} bytes.")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise PolicyError(
            f"The policy file {path} is not UTF-8 at byte {error.start}.", "Save it as UTF-8."
        ) from None
    return read_policy_text(text, str(path))


def read_policy_text(text: str, name: str) -> Policy:
    """Read and check a policy.

    :param text: the YAML; the policy's digest is over its bytes.
    :param name: how to call it in an error.
    :raises PolicyError: naming ``name``, and the line or the path inside it.
    """
    document = _load(text, name)
    if not isinstance(document, dict):
        raise PolicyError(f"{name}: a policy is a mapping that begins with `version: 1`.")
    try:
        return parse_policy(document, text, conditions.compiler())
    except PolicyError as error:
        raise PolicyError(f"{name}: {error.message}", error.hint) from None


def schema_text() -> str:
    """Return the JSON Schema of a policy file, as it is published."""
    return files(__package__).joinpath("policy.schema.json").read_text(encoding="utf-8")


def _load(text: str, name: str) -> Any:
    try:
        return yaml.load(text, Loader=_StrictLoader)  # noqa: S506 - derives from CSafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f", line {mark.line + 1}" if mark else ""
        raise PolicyError(f"{name}{line}: {error.problem or error.context}.") from None
    except yaml.YAMLError as error:
        problem = getattr(error, "reason", "") or "not YAML"
        raise PolicyError(f"{name}: {problem}.") from None
    except RecursionError:
        raise PolicyError(f"{name}: nested too deeply for a policy.") from None
    except ValueError:
        # Dates and numbers that look like one and are none, such as 2026-02-30.
        raise PolicyError(f"{name}: a date or number has no valid form; put it in quotes.") from None


class _StrictLoader(Composer, yaml.CSafeLoader):
    """Plain YAML without aliases, merge keys and doubled keys.

    Read by libyaml, which is ten times as fast, and composed here, where aliases are seen.
    """

    def __init__(self, text: str) -> None:
        yaml.CSafeLoader.__init__(self, text)
        Composer.__init__(self)

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if isinstance(event := self.peek_event(), yaml.AliasEvent):
            line = event.start_mark.line if event.start_mark else 0
            mark = yaml.error.Mark("", 0, line, 0, None, 0)
            raise yaml.composer.ComposerError(None, None, "aliases are not allowed in a policy", mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[object] = set()
        for key_node, _ in node.value:
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
            if key_node.tag == "tag:yaml.org,2002:merge" or key is None:
                problem = "merge keys and keys that are not text are not allowed in a policy"
                raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
            if key in seen:
                problem = f"the key {key} stands here twice"
                raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)
