from datetime import datetime, timedelta

try:
    from airflow.sdk import DAG
except ImportError:
    from airflow import DAG
try:
    from airflow.providers.standard.operators.bash import BashOperator
except ImportError:
    from airflow.operators.bash import BashOperator
try:
    from airflow.providers.standard.operators.empty import EmptyOperator
except ImportError:
    from airflow.operators.empty import EmptyOperator
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
    "access_review",
    schedule="@monthly",
    start_date=datetime(2025, 1, 1),
    catchup=False,
    default_args=DEFAULT_ARGS,
    tags=["security"],
):
    begin = EmptyOperator(task_id="begin")
    collect = PythonOperator(task_id="collect", python_callable=print, op_args=["collected"])
    review = BashOperator(task_id="review", bash_command="access review")
    begin >> collect >> review
