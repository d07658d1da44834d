"""The sites that have meters."""

try:
    from airflow.sdk import Variable
except ImportError:
    from airflow.models import Variable


def sites():
    return Variable.get("sites", deserialize_json=True)
