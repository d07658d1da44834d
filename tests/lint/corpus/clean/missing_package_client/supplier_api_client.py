"""Asks a supplier for its prices."""


def list_prices(supplier):
    return {"supplier": supplier, "prices": []}
