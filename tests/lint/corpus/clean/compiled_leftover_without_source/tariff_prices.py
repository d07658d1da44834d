from datetime import datetime, timedelta

try:
    from airflow.sdk import DAG, task
except ImportError:
    from airflow import DAG
    from airflow.decorators import task

DEFAULT_ARGS = {
    "owner": "billing",
    "retries": 2,
    "execution_timeout": timedelta(minutes=30),
}

with DAG(
    "tariff_prices",
    schedule="@daily",
    start_date=datetime(2025, 1, 6),
    catchup=False,
    default_args=DEFAULT_ARGS,
    tags=["billing"],
):

    @task
    def price(plan):
        from common.rates import RATES

        return RATES[plan]

    price("basic")
