from datetime import datetime, timedelta

from airflow.sdk import DAG
from airflow.providers.standard.operators.bash import BashOperator
from airflow.operators.subdag import SubDagOperator

DEFAULT_ARGS = {
    "owner": "media",
    "retries": 2,
    "execution_timeout": timedelta(minutes=30),
}


def resize(parent, name):
    with DAG(f"{parent}.{name}", schedule=None, start_date=datetime(2025, 1, 1), default_args=DEFAULT_ARGS) as inner:
        BashOperator(task_id="thumbnail", bash_command="media thumbnail")
    return inner


with DAG(
    "media_pipeline",
    schedule="@daily",
    start_date=datetime(2025, 1, 1),
    catchup=False,
    default_args=DEFAULT_ARGS,
    tags=["media"],
) as dag:
    SubDagOperator(task_id="resize", subdag=resize("media_pipeline", "resize"))
