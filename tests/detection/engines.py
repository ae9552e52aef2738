"""The engines that tests share: loading one takes seconds."""

from __future__ import annotations

from functools import cache

from airflow_approvals.detection import Engine
from airflow_approvals.detection.profiles import CLASSIFICATION


@cache
def masking_engine(profile: str = "llm-training") -> Engine:
    return Engine(profile=profile)


@cache
def classification_engine() -> Engine:
    return Engine(profile=CLASSIFICATION)
