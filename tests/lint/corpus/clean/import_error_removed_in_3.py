from datetime import datetime, timedelta

from airflow.sdk import DAG
from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import TaskGroup

DEFAULT_ARGS = {
    "owner": "media",
    "retries": 2,
    "execution_timeout": timedelta(minutes=30),
}

with DAG(
    "media_pipeline",
    schedule="@daily",
    start_date=datetime(2025, 1, 1),
    catchup=False,
    default_args=DEFAULT_ARGS,
    tags=["media"],
) as dag:
    with TaskGroup("resize"):
        BashOperator(task_id="thumbnail", bash_command="media thumbnail")
