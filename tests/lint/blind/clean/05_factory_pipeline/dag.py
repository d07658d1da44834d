"""Airflow DAG: ingestion of the tables of the web shop."""
from ingest_factory import build_pipeline

TABLES = [
    "orders",
    "order_lines",
    "payments",
    "refunds",
    "customers",
    "addresses",
]

shop = build_pipeline(
    name="shop_ingest_eu",
    tables=TABLES,
    schedule="5 * * * *",
    owner="shop",
)
