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
    "owner": "search",
    "retries": 2,
    "execution_timeout": timedelta(minutes=30),
}

with DAG(
    "search_index",
<<<<<<< HEAD
    schedule="0 */2 * * *",
=======
    schedule="0 */4 * * *",
>>>>>>> slower-index
    start_date=datetime(2025, 2, 1),
    catchup=False,
    default_args=DEFAULT_ARGS,
    tags=["search"],
):
    BashOperator(task_id="rebuild", bash_command="index rebuild")
