"""Profiles: what becomes of each entity type.

1. A profile is YAML with no unknown keys; one that says nothing about an entity type still
   transforms it (``default``), so a new recognizer never lets anything through.
2. Secrets cannot be kept.
3. Its digest covers what it says, not how it is written.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from airflow_approvals.core.digest import document_digest
from airflow_approvals.core.documents import Fields
from airflow_approvals.detection.generalising import LEVELS, MONTH
from airflow_approvals.detection.secrets import SECRET_ENTITIES
from airflow_approvals.errors import ConfigurationError, ContractError

PROFILE_VERSION = 1
#: Source: PCI DSS 4.0, requirement 3.4.1: at most the first six and the last four digits are displayed.
MAX_SHOWN = 4
_SUFFIXES = (".yaml", ".yml")


class Transformation(enum.StrEnum):
    """What becomes of a finding.

    ``replace`` puts ``<ENTITY_TYPE>`` in its place, ``mask`` one ``*`` for every letter or
    digit, ``redact`` nothing; ``generalise`` makes a date, an IP address or a postcode coarser and
    replaces what it does not understand; ``pseudonym`` gives each value a name of its own by a key, the
    same wherever the key is used; ``keep`` leaves it.
    """

    REPLACE = "replace"
    MASK = "mask"
    REDACT = "redact"
    GENERALISE = "generalise"
    PSEUDONYM = "pseudonym"
    KEEP = "keep"


@dataclass(frozen=True)
class Treatment:
    """How one entity type is treated.

    ``threshold`` is a score from 0 to 1, inclusive. ``to`` is how coarse ``generalise`` makes a date:
    ``month`` or ``year``. ``show_last`` is how many of the last characters ``mask`` leaves: 0 to 4.
    """

    transformation: Transformation
    threshold: float
    to: str = MONTH
    show_last: int = 0

    @property
    def document(self) -> list[Any]:
        """What it says, without what says nothing: a digest outlives new keys."""
        said: list[Any] = [str(self.transformation), _thousandths(self.threshold)]
        if self.transformation is Transformation.GENERALISE:
            said.append({"to": self.to})
        if self.show_last:
            said.append({"show_last": self.show_last})
        return said


@dataclass(frozen=True)
class Profile:
    """A named set of treatments.

    ``threshold`` is the lowest score (0 to 1, inclusive) that counts where an entity type has
    none of its own. ``wide`` adds recognizers whose findings are too uncertain to mask by.
    """

    name: str
    threshold: float
    default: Transformation = Transformation.REPLACE
    entities: Mapping[str, Treatment] = field(default_factory=dict)
    wide: bool = False

    def treatment(self, entity_type: str) -> Treatment:
        """Return what holds for this entity type."""
        return self.entities.get(entity_type, Treatment(self.default, self.threshold))

    @cached_property
    def needs_key(self) -> bool:
        """Whether any entity type gets pseudonyms, which take a key."""
        used = [self.default, *(treatment.transformation for treatment in self.entities.values())]
        return Transformation.PSEUDONYM in used

    @property
    def lowest_threshold(self) -> float:
        """The lowest score that counts for any entity type."""
        return min([self.threshold, *(treatment.threshold for treatment in self.entities.values())])

    @cached_property
    def digest(self) -> str:
        """``sha256:<hex>`` over what the profile says."""
        return document_digest(
            {
                "version": PROFILE_VERSION,
                "name": self.name,
                "threshold": _thousandths(self.threshold),
                "default": str(self.default),
                "entities": [
                    [kind, *treatment.document] for kind, treatment in sorted(self.entities.items())
                ],
            }
        )


#: What the independent re-scan looks for: a lower threshold and more recognizers than any
#: shipped profile masks by. A licence number needs a word beside it in either.
CLASSIFICATION = Profile(
    name="classification",
    threshold=0.25,
    entities={"US_DRIVER_LICENSE": Treatment(Transformation.REPLACE, 0.35)},
    wide=True,
)


def known_profiles() -> tuple[str, ...]:
    """Return the names of the shipped profiles, sorted."""
    folder = files("airflow_approvals.detection") / "profiles"
    names = (entry.name for entry in folder.iterdir())
    return tuple(sorted(name.removesuffix(".yaml") for name in names if name.endswith(".yaml")))


def load_profile(profile: str | Profile) -> Profile:
    """Return the profile of that name, or the one in a YAML file.

    :param profile: a shipped profile's name, or a path that ends in ``.yaml`` or ``.yml``.
    :raises ConfigurationError: when there is none, or it breaks the schema.
    """
    if isinstance(profile, Profile):
        return profile
    if profile.endswith(_SUFFIXES):
        return _parse(_read(Path(profile)), profile)
    if profile not in known_profiles():
        raise ConfigurationError(
            f"There is no masking profile {profile!r}.",
            f"The known ones are {', '.join(known_profiles())}; a path to a .yaml file works as well.",
        )
    source = files("airflow_approvals.detection") / "profiles" / f"{profile}.yaml"
    return _parse(source.read_text(encoding="utf-8"), profile)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"The masking profile {path} cannot be read.") from error


def _parse(text: str, where: str) -> Profile:
    try:
        return _profile(yaml.safe_load(text))
    except yaml.YAMLError:
        raise ConfigurationError(f"The masking profile {where} is not valid YAML.") from None
    except ContractError as error:
        raise ConfigurationError(
            f"The masking profile {where} is wrong: {error.message}",
            "Its keys are version, name, description, threshold, default and entities; those of an entity "
            "type are transformation, threshold, to and show_last.",
        ) from None


def _profile(document: Any) -> Profile:
    fields = Fields(document, "profile")
    fields.version(PROFILE_VERSION)
    fields.optional_text("description")
    name = fields.text("name")
    threshold = _threshold(fields.raw("threshold"), "threshold")
    default = _transformation(fields.text("default"), "default")
    entities = _entities(fields.raw("entities") or {}, default, threshold)
    fields.end()
    profile = Profile(name, threshold, default, entities)
    _refuse_kept_secrets(profile)
    return profile


def _entities(document: Any, default: Transformation, threshold: float) -> dict[str, Treatment]:
    if not isinstance(document, Mapping):
        raise ContractError("profile: entities is not an object.")
    return {str(kind): _treatment(str(kind), item, default, threshold) for kind, item in document.items()}


def _treatment(kind: str, item: Any, default: Transformation, threshold: float) -> Treatment:
    fields = Fields(item, f"profile: {kind}")
    word = fields.optional_text("transformation")
    own, to, last = (fields.raw(name) for name in ("threshold", "to", "show_last"))
    fields.end()
    transformation = default if word is None else _transformation(word, kind)
    return Treatment(
        transformation,
        threshold if own is None else _threshold(own, kind),
        MONTH if to is None else _level(to, kind, transformation),
        0 if last is None else _shown(last, kind, transformation),
    )


def _level(value: Any, kind: str, transformation: Transformation) -> str:
    if value not in LEVELS or transformation is not Transformation.GENERALISE:
        raise ContractError(f"profile: {kind}: to is {' or '.join(LEVELS)}, and goes with generalise.")
    return str(value)


def _shown(value: Any, kind: str, transformation: Transformation) -> int:
    if type(value) is not int or not 0 <= value <= MAX_SHOWN or transformation is not Transformation.MASK:
        raise ContractError(f"profile: {kind}: show_last is 0 to {MAX_SHOWN}, and goes with mask.")
    if value and kind in SECRET_ENTITIES:
        raise ContractError(f"profile: {kind} is a secret; nothing of it can be shown.")
    return value


def _transformation(word: str, where: str) -> Transformation:
    try:
        return Transformation(word)
    except ValueError:
        known = ", ".join(Transformation)
        raise ContractError(f"profile: {where} has no known transformation; they are {known}.") from None


def _threshold(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ContractError(f"profile: the threshold of {where} must be a number from 0 to 1.")
    if abs(value * 1000 - _thousandths(value)) > 1e-6:
        raise ContractError(f"profile: the threshold of {where} has more than three decimals.")
    return float(value)


def _refuse_kept_secrets(profile: Profile) -> None:
    for kind in SECRET_ENTITIES:
        if profile.treatment(kind).transformation is Transformation.KEEP:
            raise ContractError(f"profile: {kind} is a secret and cannot be kept.")


def _thousandths(score: float) -> int:
    return round(score * 1000)
