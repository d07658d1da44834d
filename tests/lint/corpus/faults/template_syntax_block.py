from datetime import datetime, timedelta

try:
    from airflow.sdk import DAG
except ImportError:
    from airflow import DAG
try:
    from airflow.providers.standard.operators.bash import BashOperator
except ImportError:
    from airflow.operators.bash import BashOperator

COMMAND = """
reports build --day {{ ds }}
{% if dag_run.conf.get("full") %}
reports build --full
reports publish
"""
DEFAULT_ARGS = {
    "owner": "reporting",
    "retries": 2,
    "execution_timeout": timedelta(minutes=30),
}

with DAG(
    "daily_reports",
    schedule="0 6 * * *",
    start_date=datetime(2025, 1, 1),
    catchup=False,
    default_args=DEFAULT_ARGS,
    tags=["reporting"],
):
    BashOperator(task_id="build", bash_command=COMMAND)
