"""Notifiers for DAG authors: they tell of a gate from the DAG's side and prove nothing."""
