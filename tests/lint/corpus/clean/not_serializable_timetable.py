from datetime import datetime, timedelta

try:
    from airflow.sdk import DAG, task
except ImportError:
    from airflow import DAG
    from airflow.decorators import task

DEFAULT_ARGS = {
    "owner": "trading",
    "retries": 2,
    "execution_timeout": timedelta(minutes=30),
}

with DAG(
    "closing_prices",
    schedule="0 18 * * 1-5",
    start_date=datetime(2025, 1, 1),
    catchup=False,
    default_args=DEFAULT_ARGS,
    tags=["trading"],
):

    @task
    def prices():
        return {"close": 1}

    prices()
