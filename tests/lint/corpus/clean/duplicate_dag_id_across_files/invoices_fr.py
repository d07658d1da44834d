from datetime import datetime, timedelta

try:
    from airflow.sdk import DAG
except ImportError:
    from airflow import DAG
try:
    from airflow.providers.standard.operators.bash import BashOperator
except ImportError:
    from airflow.operators.bash import BashOperator

DEFAULT_ARGS = {
    "owner": "billing",
    "retries": 2,
    "execution_timeout": timedelta(minutes=30),
}

with DAG(
    "invoices_fr",
    schedule="@daily",
    start_date=datetime(2025, 1, 1),
    catchup=False,
    default_args=DEFAULT_ARGS,
    tags=["billing"],
):
    BashOperator(task_id="send", bash_command="invoices send --country fr")
