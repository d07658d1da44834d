"""Keeps the product catalogue in sync; rebuilds it when the schema of the source has changed."""
import json
import subprocess
from datetime import timedelta

import pendulum

try:
    from airflow.sdk import dag, task
except ImportError:
    from airflow.decorators import dag, task


@dag(
    dag_id="catalogue_sync_eu",
    schedule="40 * * * *",
    start_date=pendulum.datetime(2024, 1, 1, tz="UTC"),
    catchup=False,
    max_active_runs=1,
    default_args={"owner": "catalogue", "retries": 2, "retry_delay": timedelta(minutes=3)},
    tags=["catalogue"],
)
def catalogue_sync():
    @task
    def schema_changed() -> bool:
        out = subprocess.run(["catctl", "diff", "--json"], check=True, capture_output=True)
        return bool(json.loads(out.stdout)["changes"])

    @task
    def rebuild():
        subprocess.run(["catctl", "rebuild"], check=True)

    @task
    def append():
        subprocess.run(["catctl", "append"], check=True)

    @task.branch
    def pick(changed: bool):
        return "rebuild" if changed else "append"

    pick(schema_changed()) >> [rebuild(), append()]


catalogue_sync()
