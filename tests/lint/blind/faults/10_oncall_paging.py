"""Calculates the positions of the treasury before the desk opens."""
import subprocess
from datetime import datetime, timedelta

from airflow import DAG

try:
    from airflow.providers.standard.operators.bash import BashOperator
except ImportError:
    from airflow.operators.bash import BashOperator


def page_oncall(context):
    ti = context["task_instance"]
    subprocess.run(["pagectl", "treasury", f"{ti.dag_id}.{ti.task_id} failed: {ti.log_url}"], check=False)


default_args = {
    "owner": "treasury",
    "depends_on_past": False,
    "retries": 2,
    "retry_delay": timedelta(minutes=5),
    "execution_timeout": timedelta(minutes=40),
    "on_failure_callbacks": [page_oncall],
}

with DAG(
    dag_id="treasury_positions",
    schedule="0 5 * * 1-5",
    start_date=datetime(2024, 1, 1),
    catchup=False,
    max_active_runs=1,
    default_args=default_args,
    tags=["treasury"],
) as dag:
    rates = BashOperator(task_id="fetch_rates", bash_command="treasctl rates")
    positions = BashOperator(task_id="positions", bash_command="treasctl positions")
    publish = BashOperator(task_id="publish", bash_command="treasctl publish")

    rates >> positions >> publish
