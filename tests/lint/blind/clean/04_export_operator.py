"""Writes one file per day of the invoices to the bucket of the finance team."""
import subprocess
from datetime import datetime, timedelta

from airflow import DAG

try:
    from airflow.sdk import BaseOperator
except ImportError:
    from airflow.models import BaseOperator


class ExportToBucketOperator(BaseOperator):
    template_fields = ("query", "target")

    def __init__(self, *, query, target, **kwargs):
        super().__init__(**kwargs)
        self.query = query
        self.target = target

    def execute(self, context):
        bucket, key = self.target.removeprefix("s3://").split("/", 1)
        subprocess.run(
            ["exportctl", "--sql", self.query, "--bucket", bucket, "--key", key],
            check=True,
        )
        return self.target


with DAG(
    dag_id="finance_invoice_export_eu",
    schedule="30 5 * * *",
    start_date=datetime(2024, 1, 1),
    catchup=False,
    default_args={"owner": "finance", "retries": 2, "retry_delay": timedelta(minutes=5)},
    tags=["finance", "export"],
) as dag:
    ExportToBucketOperator(
        task_id="export_invoices",
        query="SELECT * FROM invoices WHERE booked_on = DATE '{{ ds }}'",
        target="s3://finance-exports/invoices/{{ ds }}.csv",
    )
