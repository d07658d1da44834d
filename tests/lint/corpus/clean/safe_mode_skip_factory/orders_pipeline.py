"""The pipeline of the orders, for Airflow; everything else is in the factory."""

from factory.pipelines import make_dag

dag = make_dag("orders_pipeline", owner="orders", steps=["extract", "check", "load"])
