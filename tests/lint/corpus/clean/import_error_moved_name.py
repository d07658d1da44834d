from collections.abc import Mapping
from datetime import datetime, timedelta

try:
    from airflow.sdk import DAG, task
except ImportError:
    from airflow import DAG
    from airflow.decorators import task

DEFAULT_ARGS = {
    "owner": "catalog",
    "retries": 2,
    "execution_timeout": timedelta(minutes=30),
}


def flat(record, prefix=""):
    """One level of keys, joined by dots."""
    found = {}
    for key, value in record.items():
        if isinstance(value, Mapping):
            found.update(flat(value, f"{prefix}{key}."))
        else:
            found[prefix + key] = value
    return found


with DAG(
    "catalog_flatten",
    schedule="@daily",
    start_date=datetime(2025, 1, 1),
    catchup=False,
    default_args=DEFAULT_ARGS,
    tags=["catalog"],
):

    @task
    def flatten():
        return flat({"product": {"id": 1, "price": {"net": 8}}})

    flatten()
