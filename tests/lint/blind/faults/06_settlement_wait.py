"""Books the card payments once the settlement window of the bank is over."""
import subprocess
from datetime import datetime, timedelta

from airflow import DAG

try:
    from airflow.providers.standard.triggers.temporal import TimeDeltaTrigger
    from airflow.sdk import BaseOperator
except ImportError:
    from airflow.models import BaseOperator
    from airflow.triggers.temporal import TimeDeltaTrigger


class BookSettlementOperator(BaseOperator):
    template_fields = ("day",)

    def __init__(self, *, day, window=timedelta(minutes=45), **kwargs):
        super().__init__(**kwargs)
        self.day = day
        self.window = window

    def execute(self, context):
        subprocess.run(["settlectl", "close", "--day", self.day], check=True)
        self.defer(trigger=TimeDeltaTrigger(self.window), method_name="book")

    def book(self, context):
        subprocess.run(["settlectl", "book", "--day", self.day], check=True)


with DAG(
    dag_id="card_settlement",
    schedule="0 18 * * 1-5",
    start_date=datetime(2024, 1, 1),
    catchup=False,
    max_active_runs=1,
    default_args={"owner": "payments", "retries": 1, "retry_delay": timedelta(minutes=5)},
    tags=["payments", "settlement"],
) as dag:
    BookSettlementOperator(task_id="book_settlement", day="{{ ds }}")
