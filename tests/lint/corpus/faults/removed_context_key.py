from datetime import datetime, timedelta

from airflow.sdk import dag, task

DEFAULT_ARGS = {
    "owner": "revenue",
    "retries": 2,
    "execution_timeout": timedelta(minutes=30),
}


@dag(
    schedule="@daily",
    start_date=datetime(2025, 1, 1),
    catchup=False,
    default_args=DEFAULT_ARGS,
    tags=["revenue"],
)
def revenue_by_day():
    @task
    def day(**context):
        return context["execution_date"].strftime("%Y-%m-%d")

    day()


revenue_by_day()
