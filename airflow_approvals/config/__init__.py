"""What a deployment decided: Airflow options, secret files and the policy file."""
