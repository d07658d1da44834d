from datetime import datetime, timedelta
from uuid import uuid4

try:
    from airflow.sdk import DAG
except ImportError:
    from airflow import DAG
try:
    from airflow.providers.standard.operators.bash import BashOperator
except ImportError:
    from airflow.operators.bash import BashOperator

DEFAULT_ARGS = {
    "owner": "ml",
    "retries": 2,
    "execution_timeout": timedelta(minutes=30),
}

with DAG(
    "model_scoring",
    schedule="@hourly",
    start_date=datetime(2025, 1, 1),
    catchup=False,
    default_args=DEFAULT_ARGS,
    tags=["ml"],
):
    load = BashOperator(task_id="load", bash_command="scoring load")
    score = BashOperator(task_id=f"score_{uuid4().hex[:8]}", bash_command="scoring run")
    load >> score
