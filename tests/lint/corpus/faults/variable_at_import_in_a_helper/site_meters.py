from datetime import datetime, timedelta

from meters import sites

try:
    from airflow.sdk import DAG
except ImportError:
    from airflow import DAG
try:
    from airflow.providers.standard.operators.bash import BashOperator
except ImportError:
    from airflow.operators.bash import BashOperator

DEFAULT_ARGS = {
    "owner": "energy",
    "retries": 2,
    "execution_timeout": timedelta(minutes=30),
}

with DAG(
    "site_meters",
    schedule="@hourly",
    start_date=datetime(2025, 1, 1),
    catchup=False,
    default_args=DEFAULT_ARGS,
    tags=["energy"],
):
    for site in sites():
        BashOperator(task_id=f"read_{site}", bash_command=f"meters read {site}")
