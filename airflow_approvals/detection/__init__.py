"""The only room that imports Presidio and spaCy: recognizers, engine, masking.

Nothing here imports either of them before an :class:`Engine` is made.
"""

from __future__ import annotations

from airflow_approvals.detection.engine import DEFAULT_MODEL, Engine
from airflow_approvals.detection.masking import mask_text
from airflow_approvals.detection.profiles import Profile, load_profile

__all__ = ["DEFAULT_MODEL", "Engine", "Profile", "load_profile", "mask_text"]
