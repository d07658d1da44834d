"""Row count checks over the marts, and one mail with what they found."""
import subprocess
from datetime import timedelta

import pendulum

try:
    from airflow.sdk import dag, task
except ImportError:
    from airflow.decorators import dag, task

MARTS = ["sales", "stock", "returns"]


@dag(
    dag_id="mart_quality_eu",
    schedule="30 6 * * *",
    start_date=pendulum.datetime(2024, 1, 1, tz="Europe/Amsterdam"),
    catchup=False,
    default_args={"owner": "bi", "retries": 1, "retry_delay": timedelta(minutes=5)},
    tags=["bi", "quality"],
)
def mart_quality():
    @task
    def check_counts():
        empty_marts = []
        for mart in MARTS:
            out = subprocess.run(["martctl", "count", mart], check=True, capture_output=True)
            if int(out.stdout) == 0:
                empty_marts.append(mart)
        return empty_marts

    @task
    def report(empty_marts):
        if empty_marts:
            subprocess.run(["mailctl", "bi@example.com", "empty: " + ", ".join(empty_marts)], check=True)

    report(check_counts())


mart_quality()
