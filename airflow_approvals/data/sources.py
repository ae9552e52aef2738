"""What a source names: one file, a glob, or a folder with everything below it."""

from __future__ import annotations

from dataclasses import dataclass

from airflow_approvals.data.places import Place
from airflow_approvals.errors import DataError


@dataclass(frozen=True)
class Source:
    """A folder and the relative names of the objects in it that are meant, sorted.

    ``whole`` says that everything below the folder is meant.
    """

    base: Place
    names: tuple[str, ...]
    whole: bool = False

    def place(self, name: str) -> Place:
        """Return the place of one of the objects."""
        return self.base.child(name)

    def places(self) -> tuple[Place, ...]:
        """Return what is read: the folder when all of it is meant, otherwise each object."""
        return (self.base,) if self.whole else tuple(map(self.place, self.names))


def resolve_source(uri: str, conn_id: str | None = None) -> Source:
    """Find the objects of a source.

    :raises DataError: when there are none.
    """
    place = Place.of(uri, conn_id)
    if place.is_pattern and not place.exists():
        return _glob(place)
    if not place.exists():
        raise DataError(f"The source {place.shown} does not exist.", "Check the path and the Connection.")
    if place.is_folder():
        return _some(place, place, place.files(), whole=True)
    return Source(place.parent, (place.name,))


def _glob(pattern: Place) -> Source:
    base = pattern.literal_base()
    prefix = base.path.strip("/") + "/"
    names = [path.strip("/").removeprefix(prefix) for path in pattern.glob()]
    return _some(pattern, base, names)


def _some(asked: Place, base: Place, names: list[str], *, whole: bool = False) -> Source:
    if not names:
        raise DataError(f"The source {asked.shown} holds no files.", "Check the path and the pattern.")
    return Source(base, tuple(names), whole)
