"""The sites that have meters."""


def sites():
    return ["leeds", "york"]
