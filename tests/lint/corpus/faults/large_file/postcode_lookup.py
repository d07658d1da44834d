"""Adds the region to each address, from the list of postcodes beside this file."""

import csv
from datetime import datetime, timedelta
from pathlib import Path

try:
    from airflow.sdk import dag, task
except ImportError:
    from airflow.decorators import dag, task

DEFAULT_ARGS = {
    "owner": "address-data",
    "retries": 2,
    "execution_timeout": timedelta(minutes=30),
}


@dag(
    schedule="@daily",
    start_date=datetime(2025, 3, 1),
    catchup=False,
    default_args=DEFAULT_ARGS,
    tags=["addresses"],
)
def postcode_lookup():
    @task
    def regions():
        with (Path(__file__).parent / "data" / "postcodes.csv").open() as rows:
            return {row["postcode"]: row["region"] for row in csv.DictReader(rows)}

    regions()


postcode_lookup()
