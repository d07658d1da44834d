from datetime import timedelta

import pendulum

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
    "retries": 2,
    "execution_timeout": timedelta(minutes=30),
}

with DAG(
    "advert_clicks",
    schedule="@daily",
    start_date=pendulum.datetime(2025, 6, 1, tz="UTC"),
    catchup=False,
    default_args=DEFAULT_ARGS,
    tags=["adverts"],
):
    BashOperator(task_id="clicks", bash_command="adverts clicks --day {{ ds }}")
