"""Enforcement: what stands in the way of a task or a person that has no grant, on Airflow's own routes."""
