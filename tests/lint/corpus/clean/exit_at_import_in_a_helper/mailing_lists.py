from datetime import datetime, timedelta

from mailing import settings

try:
    from airflow.sdk import DAG
except ImportError:
    from airflow import DAG
try:
    from airflow.providers.standard.operators.bash import BashOperator
except ImportError:
    from airflow.operators.bash import BashOperator

DEFAULT_ARGS = {
    "owner": "crm",
    "retries": 2,
    "execution_timeout": timedelta(minutes=30),
}

with DAG(
    "mailing_lists",
    schedule="@daily",
    start_date=datetime(2025, 1, 1),
    catchup=False,
    default_args=DEFAULT_ARGS,
    tags=["mailing"],
):
    BashOperator(task_id="sync", bash_command=f"lists sync --server {settings.SERVER}")
