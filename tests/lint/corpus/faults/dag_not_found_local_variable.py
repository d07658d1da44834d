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
    "owner": "support",
    "retries": 2,
    "execution_timeout": timedelta(minutes=30),
}


def build(name, command):
    made = DAG(
        name,
        schedule="@daily",
        start_date=datetime(2025, 1, 1),
        catchup=False,
        default_args=DEFAULT_ARGS,
        tags=["support"],
    )
    BashOperator(task_id="archive", bash_command=command, dag=made)


build("ticket_archive", "tickets archive --before {{ ds }}")
