from datetime import datetime, timedelta
from pathlib import Path

try:
    from airflow.sdk import DAG
except ImportError:
    from airflow import DAG
try:
    from airflow.providers.standard.operators.bash import BashOperator
except ImportError:
    from airflow.operators.bash import BashOperator

LICENCE = Path("/etc/solver/licence.dat")

DEFAULT_ARGS = {
    "owner": "optimisation",
    "retries": 2,
    "execution_timeout": timedelta(minutes=30),
}

with DAG(
    "route_solver",
    schedule="0 20 * * *",
    start_date=datetime(2025, 1, 1),
    catchup=False,
    default_args=DEFAULT_ARGS,
    tags=["routes"],
):
    BashOperator(task_id="solve", bash_command=f"solver run --licence {LICENCE}")
