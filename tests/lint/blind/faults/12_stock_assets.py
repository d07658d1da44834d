"""Stock levels: the import writes the table of the lake, the replenishment runs when it was written."""
import subprocess
from datetime import timedelta

import pendulum

from airflow.providers.common.compat.sdk import DAG, Asset, task

DEFAULT_ARGS = {"owner": "logistics", "retries": 2, "retry_delay": timedelta(minutes=5)}
START = pendulum.datetime(2024, 1, 1, tz="UTC")

with DAG(
    dag_id="stock_import",
    schedule="0 3 * * *",
    start_date=START,
    catchup=False,
    default_args=DEFAULT_ARGS,
    tags=["logistics", "stock"],
):

    @task(outlets=[Asset("s3://lake-prod/stock/levels")])
    def import_levels():
        subprocess.run(["stockctl", "import"], check=True)

    import_levels()

with DAG(
    dag_id="stock_replenishment",
    schedule=[Asset("s3://lake-prod/stock_levels")],
    start_date=START,
    catchup=False,
    default_args=DEFAULT_ARGS,
    tags=["logistics", "stock"],
):

    @task
    def order_missing():
        subprocess.run(["stockctl", "replenish"], check=True)

    order_missing()
