"""The control plane, inside Airflow's API server."""
