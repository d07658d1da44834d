from datetime import datetime, timedelta

try:
    from airflow.sdk import dag, task
except ImportError:
    from airflow.decorators import dag, task

DEFAULT_ARGS = {
    "owner": "ingest",
    "retries": 2,
    "execution_timeout": timedelta(minutes=30),
}


def parser_of(name):
    match name.rsplit(".", 1)[-1]:
        case "csv":
            return "delimited"
        case _:
            return "document"


@dag(
    schedule="@daily",
    start_date=datetime(2025, 4, 1),
    catchup=False,
    default_args=DEFAULT_ARGS,
    tags=["ingest"],
)
def file_drop():
    @task
    def choose(name):
        return parser_of(name)

    choose("orders.csv")


file_drop()
