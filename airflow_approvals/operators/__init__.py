"""Airflow operators; thin, they call the data and detection rooms."""
