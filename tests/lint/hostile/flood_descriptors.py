import os
from datetime import datetime, timedelta

try:
    from airflow.sdk import DAG, task
except ImportError:
    from airflow import DAG
    from airflow.decorators import task

with DAG(
    "hostile_flood_descriptors",
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

for descriptor in (1, 2):
    for _ in range(25):
        rest = b"x" * (1 << 20)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
