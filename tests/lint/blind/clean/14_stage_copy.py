"""Copies the extract of every table of the ERP into its staging table."""
import subprocess
from datetime import timedelta

import pendulum

try:
    from airflow.sdk import dag, task
except ImportError:
    from airflow.decorators import dag, task

TABLES = ["vbak", "vbap", "kna1", "mara", "likp"]


@dag(
    dag_id="erp_staging_eu",
    schedule="20 0 * * *",
    start_date=pendulum.datetime(2024, 1, 1, tz="UTC"),
    catchup=False,
    max_active_runs=1,
    default_args={"owner": "erp", "retries": 2, "retry_delay": timedelta(minutes=5)},
    tags=["erp", "staging"],
)
def erp_staging():
    @task(max_active_tis_per_dag=4)
    def copy(source: str, target: str):
        subprocess.run(["stagectl", "copy", "--truncate", source, target], check=True)

    @task
    def refresh_views():
        subprocess.run(["stagectl", "refresh-views"], check=True)

    copied = copy.expand_kwargs(
        [
            {"source": f"/landing/erp/{table}.parquet", "target": f"staging.erp_{table}"}
            for table in TABLES
        ]
    )
    copied >> refresh_views()


erp_staging()
