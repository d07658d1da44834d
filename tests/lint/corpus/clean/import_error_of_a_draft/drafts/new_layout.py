"""How layout_stats is going to look, once the airflow image has the client."""

from datetime import datetime

try:
    from airflow.sdk import DAG
except ImportError:
    from airflow import DAG

with DAG("new_layout", schedule=None, start_date=datetime(2025, 1, 1), catchup=False) as dag:
    raise NotImplementedError("not before the second quarter")
