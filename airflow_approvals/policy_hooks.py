"""Airflow's ``airflow.policy`` entry point, imported by every ``import airflow``.

Standard library only, and it never raises: pluggy loads it unguarded, so an exception here
would break every Airflow process.
"""

from __future__ import annotations
