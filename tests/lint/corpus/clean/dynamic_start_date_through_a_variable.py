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
    "owner": "marketing",
    "start_date": datetime(2025, 6, 1),
    "retries": 2,
    "execution_timeout": timedelta(minutes=30),
}

with DAG(
    "newsletter_opens",
    schedule="@daily",
    catchup=False,
    default_args=DEFAULT_ARGS,
    tags=["newsletter"],
):
    BashOperator(task_id="opens", bash_command="newsletter opens --day {{ ds }}")
