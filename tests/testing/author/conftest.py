pytest_plugins = ["airflow_approvals.testing"]
