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
    "owner": "platform",
    "retries": 2,
    "execution_timeout": timedelta(minutes=30),
}

with DAG(
    "cluster_cleanup",
    schedule="0 22 * * *",
    start_date=datetime(2025, 1, 1),
    catchup=False,
    default_args=DEFAULT_ARGS,
    tags=["platform"],
):
    run = BashOperator(task_id="run", bash_command="cluster drain")
    free = BashOperator(task_id="free", bash_command="cluster free", trigger_rule="all_done")
    run >> free
