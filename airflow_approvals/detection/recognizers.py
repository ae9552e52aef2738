"""The recognizers: Presidio's, and ours where it has none or needs the network.

Import this module only where an engine is made: it loads Presidio, which takes seconds.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

import tldextract
from presidio_analyzer import (
    AnalysisExplanation,
    EntityRecognizer,
    LocalRecognizer,
    Pattern,
    PatternRecognizer,
    RecognizerRegistry,
    RecognizerResult,
)
from presidio_analyzer import predefined_recognizers as presidio
from presidio_analyzer.nlp_engine import NlpArtifacts, NlpEngine

from airflow_approvals.detection.addresses import address_spans
from airflow_approvals.detection.phones import SharedPhoneRecognizer
from airflow_approvals.detection.secrets import SECRET_ENTITIES, find_secrets
from airflow_approvals.detection.titled_names import titled_name_spans

LANGUAGE = "en"
_CERTAIN = 1.0
_LIKELY = 0.8

#: The snapshot of the public suffix list inside the wheel; never fetched, never cached on disk.
_SUFFIXES = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)

# Mastercard's second range, which Presidio's pattern leaves out: 222100 to 272099, 16 digits.
# Source: https://www.mastercard.com/global/en/business/issuers/get-support/2-series-bin-expansion.html
_TWO_SERIES = r"\b(?:222[1-9]|22[3-9]\d|2[3-6]\d{2}|27[01]\d|2720)(?:[ -]?\d{4}){3}\b"

#: National identifiers with a checksum or an unmistakable form, whatever the language around them.
_COUNTRIES: tuple[Callable[..., PatternRecognizer], ...] = (
    presidio.CaSinRecognizer,
    presidio.DeTaxIdRecognizer,
    presidio.EsNieRecognizer,
    presidio.EsNifRecognizer,
    presidio.FiPersonalIdentityCodeRecognizer,
    presidio.InAadhaarRecognizer,
    presidio.InPanRecognizer,
    presidio.ItFiscalCodeRecognizer,
    presidio.KrRrnRecognizer,
    presidio.PlPeselRecognizer,
    presidio.SePersonnummerRecognizer,
    presidio.SgFinRecognizer,
    presidio.UkDrivingLicenceRecognizer,
    presidio.UkNinoRecognizer,
    presidio.UsMbiRecognizer,
)

#: Worth a second look after masking, too uncertain to mask by.
_UNCERTAIN: tuple[Callable[..., PatternRecognizer], ...] = (
    presidio.AuMedicareRecognizer,
    presidio.AuTfnRecognizer,
    presidio.DeIdCardRecognizer,
    presidio.DePassportRecognizer,
    presidio.DeSocialSecurityRecognizer,
    presidio.InPassportRecognizer,
    presidio.InVoterRecognizer,
    presidio.ThTninRecognizer,
    presidio.UkPassportRecognizer,
    presidio.ZaIdNumberRecognizer,
)


class OfflineEmailRecognizer(presidio.EmailRecognizer):
    """Presidio's e-mail recognizer with the public suffix list that is in the wheel.

    Addresses in domains that are nobody's (``.internal``, ``.local``, ``.example``) count too:
    they name people all the same.
    """

    def validate_result(self, pattern_text: str) -> bool:
        """Say whether the domain has a public suffix or one reserved for private use."""
        domain = pattern_text.rsplit("@", 1)[-1]
        return bool(_SUFFIXES(domain).fqdn) or domain.lower().endswith(_PRIVATE_DOMAINS)


#: Source: RFC 6761 and RFC 6762 (reserved names), ICANN resolution 2024.07.29.06 (.internal)
_PRIVATE_DOMAINS = (
    ".internal",
    ".local",
    ".example",
    ".invalid",
    ".test",
    ".localhost",
    ".lan",
    ".corp",
    ".home",
)


class SecretRecognizer(LocalRecognizer):
    """Find secrets by the rules of :mod:`airflow_approvals.detection.secrets`: all kinds in one pass."""

    def __init__(self) -> None:
        super().__init__(supported_entities=list(SECRET_ENTITIES), name="Secret recognizer")

    def load(self) -> None:
        """Do nothing: the patterns are compiled at import."""

    def analyze(
        self, text: str, entities: list[str], nlp_artifacts: NlpArtifacts | None = None
    ) -> list[RecognizerResult]:
        """Return the secrets in a text, with their exact spans."""
        return [
            _result(self, secret.entity_type, secret.start, secret.end, _CERTAIN)
            for secret in find_secrets(text)
            if secret.entity_type in entities
        ]


class FormRecognizer(LocalRecognizer):
    """Find one kind of thing by its form.

    :param spans: yields ``(start, end)`` of each in a text, in characters.
    """

    def __init__(
        self, entity_type: str, name: str, spans: Callable[[str], Iterable[tuple[int, int]]]
    ) -> None:
        super().__init__(supported_entities=[entity_type], name=name)
        self._spans = spans

    def load(self) -> None:
        """Do nothing: the patterns are compiled at import."""

    def analyze(
        self, text: str, entities: list[str], nlp_artifacts: NlpArtifacts | None = None
    ) -> list[RecognizerResult]:
        """Return what has the form in a text."""
        kind = self.supported_entities[0]
        return [_result(self, kind, start, end, _LIKELY) for start, end in self._spans(text)]


class NamedValueRecognizer(LocalRecognizer):
    """Find people and places where a key beside them says so, as in ``"user": "Ada Lovelace"``.

    Logs hold records in many notations, in which a language model sees no sentence.
    """

    _VALUE = (
        r"\\?[\"']?[ \t]{0,4}[:=][ \t]{0,4}\\?[\"']"
        r"(?P<value>[^\W\d_a-z][\w.'\u2019-]{0,40}(?: [\w.'\u2019-]{1,40}){0,4})\\?[\"']"
    )
    _PATTERNS = (
        (
            "PERSON",
            re.compile(
                r"(?i:(?<![a-z])(?:(?:first|last|full|given|family|customer|user|contact|client)?[_-]?name"
                r"|user|customer|patient|employee|holder))" + _VALUE
            ),
        ),
        ("LOCATION", re.compile(r"(?i:(?<![a-z])(?:city|town|street|address))" + _VALUE)),
    )

    def __init__(self) -> None:
        super().__init__(supported_entities=["PERSON", "LOCATION"], name="Named value recognizer")

    def load(self) -> None:
        """Do nothing: the patterns are compiled at import."""

    def analyze(
        self, text: str, entities: list[str], nlp_artifacts: NlpArtifacts | None = None
    ) -> list[RecognizerResult]:
        """Return the people and places that a key names."""
        return [
            _result(self, kind, *match.span("value"), _LIKELY)
            for kind, pattern in self._PATTERNS
            for match in pattern.finditer(text)
        ]


def _result(source: LocalRecognizer, kind: str, start: int, end: int, score: float) -> RecognizerResult:
    name = str(source.name)  # type: ignore[has-type]
    return RecognizerResult(
        entity_type=kind,
        start=start,
        end=end,
        score=score,
        analysis_explanation=AnalysisExplanation(recognizer=name, original_score=score),
        recognition_metadata={
            RecognizerResult.RECOGNIZER_NAME_KEY: name,
            RecognizerResult.RECOGNIZER_IDENTIFIER_KEY: source.id,
        },
    )


def build_registry(nlp_engine: NlpEngine, *, wide: bool, has_model: bool = True) -> RecognizerRegistry:
    """Return Presidio's default recognizers for English with ours added.

    :param wide: add the uncertain ones.
    :param has_model: whether the engine has a model that knows names.
    """
    registry = RecognizerRegistry(supported_languages=[LANGUAGE])
    registry.load_predefined_recognizers(languages=[LANGUAGE], nlp_engine=nlp_engine)
    registry.remove_recognizer("EmailRecognizer")
    registry.remove_recognizer("PhoneRecognizer")
    if not has_model:
        registry.remove_recognizer("SpacyRecognizer")
    for recognizer in _own(wide):
        registry.add_recognizer(recognizer)
    return registry


def _own(wide: bool) -> Iterator[EntityRecognizer]:
    yield OfflineEmailRecognizer(name="EmailRecognizer")
    yield SharedPhoneRecognizer(name="PhoneRecognizer")
    yield presidio.CreditCardRecognizer(
        patterns=[Pattern("Mastercard 2-series", _TWO_SERIES, 0.3)], name="Mastercard2SeriesRecognizer"
    )
    yield NamedValueRecognizer()
    yield FormRecognizer("LOCATION", "Address recognizer", address_spans)
    yield FormRecognizer("PERSON", "Titled name recognizer", titled_name_spans)
    yield SecretRecognizer()
    for kind in _COUNTRIES + (_UNCERTAIN if wide else ()):
        yield kind(supported_language=LANGUAGE)
