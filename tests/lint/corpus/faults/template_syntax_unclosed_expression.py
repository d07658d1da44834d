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
    "owner": "ingest",
    "retries": 2,
    "execution_timeout": timedelta(minutes=30),
}

with DAG(
    "clickstream",
    schedule="@hourly",
    start_date=datetime(2025, 1, 1),
    catchup=False,
    default_args=DEFAULT_ARGS,
    tags=["ingest"],
):
    BashOperator(
        task_id="pull",
        bash_command="clicks pull --from {{ data_interval_start }} --to {{ data_interval_end",
    )
