"""Which partners deliver a feed."""

FEEDS = {
    "northwind": {"format": "csv", "enabled": True},
    "contoso": {"format": "json"},
    "fabrikam": {"format": "csv", "enabled": True},
}


def partners():
    return [name for name, feed in FEEDS.items() if feed["enabled"]]
