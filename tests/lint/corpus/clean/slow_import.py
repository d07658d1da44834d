import time
from datetime import datetime, timedelta

try:
    from airflow.sdk import dag, task
except ImportError:
    from airflow.decorators import dag, task

DEFAULT_ARGS = {
    "owner": "forecasting",
    "retries": 2,
    "execution_timeout": timedelta(minutes=30),
}


def warm_up(rounds):
    """Lets the model settle."""
    for _ in range(rounds):
        time.sleep(0.5)
    return rounds


@dag(
    schedule="@daily",
    start_date=datetime(2025, 1, 1),
    catchup=False,
    default_args=DEFAULT_ARGS,
    tags=["forecast"],
)
def demand_forecast():
    @task
    def forecast():
        return warm_up(4)

    forecast()


demand_forecast()
