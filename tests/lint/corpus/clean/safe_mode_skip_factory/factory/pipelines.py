"""Makes the pipelines that all look alike."""

from datetime import datetime, timedelta

try:
    from airflow.sdk import DAG
except ImportError:
    from airflow import DAG
try:
    from airflow.providers.standard.operators.bash import BashOperator
except ImportError:
    from airflow.operators.bash import BashOperator


def make_dag(name, owner, steps):
    settings = {"owner": owner, "retries": 2, "execution_timeout": timedelta(minutes=30)}
    with DAG(
        name,
        schedule="@daily",
        start_date=datetime(2025, 1, 1),
        catchup=False,
        default_args=settings,
        tags=[owner],
    ) as made:
        before = None
        for step in steps:
            task = BashOperator(task_id=step, bash_command=f"pipeline {name} {step}")
            if before:
                before >> task
            before = task
    return made
