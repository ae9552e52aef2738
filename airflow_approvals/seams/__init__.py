"""What leans on Airflow's internals, each with a contract test, and its bundles' history."""
