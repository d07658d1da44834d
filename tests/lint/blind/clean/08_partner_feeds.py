"""Pulls the price feeds of the partners and merges them."""
import subprocess
from datetime import datetime, timedelta

from airflow import DAG

try:
    from airflow.providers.standard.operators.bash import BashOperator
    from airflow.providers.standard.operators.python import PythonOperator
except ImportError:
    from airflow.operators.bash import BashOperator
    from airflow.operators.python import PythonOperator

PARTNERS = ["acme", "globex", "initech"]


def pull_feeds():
    for partner in PARTNERS:
        print(f"pulling {partner}")
        subprocess.run(
            ["feedctl", "pull", partner, "--out", f"/data/feeds/{partner}.csv"],
            check=True,
        )


with DAG(
    dag_id="partner_price_feeds_eu",
    schedule="0 */4 * * *",
    start_date=datetime(2024, 5, 1),
    catchup=False,
    default_args={"owner": "pricing", "retries": 2, "retry_delay": timedelta(minutes=5)},
    tags=["pricing", "partners"],
) as dag:
    pull = PythonOperator(task_id="pull_feeds", python_callable=pull_feeds)
    merge = BashOperator(task_id="merge_feeds", bash_command="feedctl merge /data/feeds")

    pull >> merge
