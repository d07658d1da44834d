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
    "owner": "growth",
    "retries": 2,
    "execution_timeout": timedelta(minutes=30),
}

with DAG(
    "churn_features",
    schedule="30 3 * * *",
    start_date=datetime(2025, 5, 1),
    catchup=False,
    default_args=DEFAULT_ARGS,
    tags=["churn"],
) as churn:
    extract = BashOperator(task_id="extract", bash_command="features extract --day {{ ds }}")
    train = BashOperator(task_id="train", bash_command="features train --day {{ ds }}")
    extract >> train
