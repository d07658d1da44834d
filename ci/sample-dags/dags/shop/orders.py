"""Orders and stock of the shop; in a real repository these would ask a database."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

SQL = Path(__file__).parents[1] / "sql"


@dataclass(frozen=True)
class Order:
    """One order of one article, with its price in cents."""

    article: str
    pieces: int
    cents: int


ORDERS = (Order("tea", 3, 450), Order("cups", 6, 899), Order("tea", 1, 450))
STOCK = {"tea": 40, "cups": 4, "spoons": 2}


def query(name: str) -> str:
    """The text of one file of the folder ``sql``."""
    return (SQL / f"{name}.sql").read_text(encoding="utf-8")


def total(orders: tuple[Order, ...] = ORDERS) -> int:
    """What the orders are worth, in cents."""
    return sum(order.pieces * order.cents for order in orders)


def running_out(least: int = 5) -> list[str]:
    """The articles of which fewer than ``least`` pieces are left."""
    return sorted(article for article, pieces in STOCK.items() if pieces < least)
