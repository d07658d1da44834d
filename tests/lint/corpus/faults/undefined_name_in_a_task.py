from datetime import datetime, timedelta

try:
    from airflow.sdk import dag, task
except ImportError:
    from airflow.decorators import dag, task

DEFAULT_ARGS = {
    "owner": "orders",
    "retries": 2,
    "execution_timeout": timedelta(minutes=30),
}


@dag(
    schedule="@daily",
    start_date=datetime(2025, 4, 1),
    catchup=False,
    default_args=DEFAULT_ARGS,
    tags=["orders"],
)
def order_totals():
    @task
    def read():
        return [{"id": 1, "amount": 20}, {"id": 2, "amount": 22}]

    @task
    def total(orders):
        amounts = [order["amount"] for order in orders]
        if not amounts:
            return 0
        return sum(amount)

    total(read())


order_totals()
