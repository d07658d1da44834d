"""The markets, and how the pipeline of one looks."""

from datetime import datetime, timedelta

try:
    from airflow.sdk import DAG
except ImportError:
    from airflow import DAG
try:
    from airflow.providers.standard.operators.bash import BashOperator
except ImportError:
    from airflow.operators.bash import BashOperator

MARKETS = ["nordics", "iberia", "benelux"]
DEFAULT_ARGS = {
    "owner": "markets",
    "retries": 2,
    "execution_timeout": timedelta(minutes=30),
}


def pipeline(market):
    made = DAG(
        f"market_{market}",
        schedule="0 8 * * *",
        start_date=datetime(2025, 1, 1),
        catchup=False,
        default_args=DEFAULT_ARGS,
        tags=["markets", market],
    )
    BashOperator(task_id="refresh", bash_command=f"markets refresh {market}", dag=made)
    return made
