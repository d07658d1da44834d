"""The pod side of dagferry: fetch, verify, stage, activate and serve the DAG folder that Airflow reads."""
