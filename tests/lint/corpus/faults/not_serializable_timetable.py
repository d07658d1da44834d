from datetime import datetime, timedelta

try:
    from airflow.sdk import DAG, task
except ImportError:
    from airflow import DAG
    from airflow.decorators import task
from airflow.timetables.base import DagRunInfo, DataInterval, Timetable

DEFAULT_ARGS = {
    "owner": "trading",
    "retries": 2,
    "execution_timeout": timedelta(minutes=30),
}


class MarketDays(Timetable):
    """A run on each day on which the market is open."""

    def infer_manual_data_interval(self, *, run_after):
        return DataInterval.exact(run_after)

    def next_dagrun_info(self, *, last_automated_data_interval, restriction):
        after = last_automated_data_interval.end if last_automated_data_interval else restriction.earliest
        following = after + timedelta(days=3 if after.weekday() == 4 else 1)
        return DagRunInfo.exact(following)


with DAG(
    "closing_prices",
    schedule=MarketDays(),
    start_date=datetime(2025, 1, 1),
    catchup=False,
    default_args=DEFAULT_ARGS,
    tags=["trading"],
):

    @task
    def prices():
        return {"close": 1}

    prices()
