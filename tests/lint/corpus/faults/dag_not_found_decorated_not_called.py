from datetime import datetime, timedelta

try:
    from airflow.sdk import dag, task
except ImportError:
    from airflow.decorators import dag, task

DEFAULT_ARGS = {
    "owner": "support",
    "retries": 2,
    "execution_timeout": timedelta(minutes=30),
}


@dag(
    schedule="@daily",
    start_date=datetime(2025, 1, 1),
    catchup=False,
    default_args=DEFAULT_ARGS,
    tags=["support"],
)
def ticket_ratings():
    @task
    def read():
        return [4, 5, 3]

    @task
    def mean(ratings):
        return sum(ratings) / len(ratings)

    mean(read())
