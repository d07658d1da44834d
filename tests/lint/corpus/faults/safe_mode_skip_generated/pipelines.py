"""One pipeline for each market."""

from markets import MARKETS, pipeline

for market in MARKETS:
    globals()[f"pipeline_{market}"] = pipeline(market)
