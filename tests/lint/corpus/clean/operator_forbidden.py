from datetime import datetime, timedelta

try:
    from airflow.sdk import DAG
except ImportError:
    from airflow import DAG
try:
    from airflow.providers.standard.operators.python import PythonOperator
except ImportError:
    from airflow.operators.python import PythonOperator

DEFAULT_ARGS = {
    "owner": "security",
    "retries": 2,
    "execution_timeout": timedelta(minutes=30),
}

with DAG(
    "key_rotation",
    schedule="@monthly",
    start_date=datetime(2025, 1, 1),
    catchup=False,
    default_args=DEFAULT_ARGS,
    tags=["security"],
):
    PythonOperator(task_id="rotate", python_callable=print, op_args=["rotated"])
