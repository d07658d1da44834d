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
    schedule="@daily",
    start_date=datetime(2025, 1, 1),
    catchup=False,
    default_args=DEFAULT_ARGS,
    tags=["notebooks"],
)
def notebook_jobs():
    @task
    def run(notebook):
        return dbutils.notebook.run(notebook, 600)  # dagferry: ignore[F821] the cluster puts it into builtins

    run("daily")


notebook_jobs()
