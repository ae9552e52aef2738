"""Strict reading of JSON documents: one clear error for each way a document can be wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_approvals.errors import ContractError


class Fields:
    """The fields of one JSON object, taken one by one; what is left over is an error.

    :param document: the object, as parsed.
    :param what: how to name it in an error.
    """

    def __init__(self, document: object, what: str) -> None:
        if not isinstance(document, Mapping):
            raise ContractError(f"{what} is not an object.")
        self._left: dict[str, Any] = dict(document)
        self._what = what

    def text(self, name: str) -> str:
        """Take a string."""
        return self._take(name, str)  # type: ignore[no-any-return]

    def optional_text(self, name: str) -> str | None:
        """Take a string that may be null or absent."""
        value = self._left.pop(name, None)
        if value is not None and not isinstance(value, str):
            raise ContractError(f"{self._what}: {name} must be text or null.")
        return value

    def count(self, name: str) -> int:
        """Take an integer of at least 0."""
        value = self._take(name, int)
        if isinstance(value, bool) or value < 0:
            raise ContractError(f"{self._what}: {name} must be a whole number of at least 0.")
        return value  # type: ignore[no-any-return]

    def items(self, name: str) -> list[Any]:
        """Take an array."""
        return self._take(name, list)  # type: ignore[no-any-return]

    def texts(self, name: str) -> tuple[str, ...]:
        """Take an array of strings."""
        values = self.items(name)
        if not all(isinstance(value, str) for value in values):
            raise ContractError(f"{self._what}: {name} must be a list of text.")
        return tuple(values)

    def raw(self, name: str) -> Any:
        """Take a value of any kind; null when absent."""
        return self._left.pop(name, None)

    def version(self, expected: int) -> None:
        """Take ``version`` and require the expected one."""
        if self.count("version") != expected:
            raise ContractError(f"{self._what}: version must be {expected}.")

    def end(self) -> None:
        """Require that nothing is left."""
        if self._left:
            raise ContractError(f"{self._what}: unknown fields {sorted(map(str, self._left))}.")

    def _take(self, name: str, kind: type) -> Any:
        if name not in self._left:
            raise ContractError(f"{self._what}: {name} is missing.")
        value = self._left.pop(name)
        if not isinstance(value, kind):
            raise ContractError(f"{self._what}: {name} must be of type {kind.__name__}.")
        return value
