from datetime import datetime, timedelta

from airflow import DAG
from airflow.models import Pool
from airflow.operators.bash import BashOperator
from airflow.utils.session import create_session

DEFAULT_ARGS = {
    "owner": "platform",
    "retries": 2,
    "execution_timeout": timedelta(minutes=30),
}


def pools():
    with create_session() as session:
        return [pool.pool for pool in session.query(Pool).order_by(Pool.pool)]


with DAG(
    "pool_usage",
    schedule="@hourly",
    start_date=datetime(2025, 1, 1),
    catchup=False,
    default_args=DEFAULT_ARGS,
    tags=["platform"],
):
    for pool in pools():
        BashOperator(task_id=f"measure_{pool}", bash_command=f"pools measure {pool}")
