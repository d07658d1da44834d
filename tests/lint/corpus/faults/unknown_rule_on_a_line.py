from datetime import datetime, timedelta

try:
    from airflow.sdk import dag, task
except ImportError:
    from airflow.decorators import dag, task

DEFAULT_ARGS = {
    "owner": "notebooks",
    "retries": 2,
    "execution_timeout": timedelta(minutes=30),
}


@dag(
    schedule="@weekly",
    start_date=datetime(2025, 1, 5),
    catchup=False,
    default_args=DEFAULT_ARGS,
    tags=["notebooks"],
)
def notebook_cleanup():
    @task
    def remove(folder):
        dbutils.fs.rm(folder, True)  # dagferry: ignore[undefined-nmae] the cluster puts it into builtins

    remove("tmp")


notebook_cleanup()
