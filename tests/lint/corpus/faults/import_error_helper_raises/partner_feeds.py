from datetime import datetime, timedelta

from feeds.partners import partners

try:
    from airflow.sdk import DAG
except ImportError:
    from airflow import DAG
try:
    from airflow.providers.standard.operators.bash import BashOperator
except ImportError:
    from airflow.operators.bash import BashOperator

DEFAULT_ARGS = {
    "owner": "partners",
    "retries": 2,
    "execution_timeout": timedelta(minutes=30),
}

with DAG(
    "partner_feeds",
    schedule="@daily",
    start_date=datetime(2025, 1, 1),
    catchup=False,
    default_args=DEFAULT_ARGS,
    tags=["feeds"],
):
    for partner in partners():
        BashOperator(task_id=f"fetch_{partner}", bash_command=f"feeds fetch {partner}")
