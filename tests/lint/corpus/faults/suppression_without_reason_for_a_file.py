# dagferry: ignore-file[process-at-import]
import subprocess
from datetime import datetime, timedelta

try:
    from airflow.sdk import DAG
except ImportError:
    from airflow import DAG
try:
    from airflow.providers.standard.operators.bash import BashOperator
except ImportError:
    from airflow.operators.bash import BashOperator

MACHINE = subprocess.run(["uname", "-m"], capture_output=True, text=True, check=False).stdout.strip()
DEFAULT_ARGS = {
    "owner": "ops",
    "retries": 2,
    "execution_timeout": timedelta(minutes=30),
}

with DAG(
    "kernel_report",
    schedule="@weekly",
    start_date=datetime(2025, 1, 5),
    catchup=False,
    default_args=DEFAULT_ARGS,
    tags=["ops"],
):
    BashOperator(task_id="report", bash_command=f"kernels report --machine '{MACHINE}'")
