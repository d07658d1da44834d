from datetime import datetime, timedelta

from supplier_api_client import list_prices

try:
    from airflow.sdk import dag, task
except ImportError:
    from airflow.decorators import dag, task

DEFAULT_ARGS = {
    "owner": "purchasing",
    "retries": 2,
    "execution_timeout": timedelta(minutes=30),
}


@dag(
    schedule="0 4 * * *",
    start_date=datetime(2025, 1, 1),
    catchup=False,
    default_args=DEFAULT_ARGS,
    tags=["purchasing"],
)
def supplier_prices():
    @task
    def fetch(supplier):
        return list_prices(supplier)

    fetch.expand(supplier=["northwind", "contoso"])


supplier_prices()
