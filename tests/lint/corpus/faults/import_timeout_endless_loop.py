from datetime import datetime, timedelta

try:
    from airflow.sdk import dag, task
except ImportError:
    from airflow.decorators import dag, task

DEFAULT_ARGS = {
    "owner": "search",
    "retries": 2,
    "execution_timeout": timedelta(minutes=30),
}


def pages(total, size):
    first = 0
    found = []
    while first < total:
        found = [(first, first + size)]
        first = found[0][0]
    return found


@dag(
    schedule="@daily",
    start_date=datetime(2025, 1, 1),
    catchup=False,
    default_args=DEFAULT_ARGS,
    tags=["search"],
)
def crawl_pages():
    @task
    def crawl(page):
        return page

    crawl.expand(page=[list(page) for page in pages(1000, 250)])


crawl_pages()
