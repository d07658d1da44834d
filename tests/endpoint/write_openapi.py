"""Writes the OpenAPI document anew, where it is committed and where the agent serves it from:

python -m tests.endpoint.write_openapi
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from dagferry_schemas import openapi

TOP: Final = Path(__file__).resolve().parents[2]
PLACES: Final = (TOP / "schemas/openapi.json", TOP / "agent/dagferry_agent/openapi.json")


def made() -> bytes:
    """The document of the schemas in this checkout."""
    folder = TOP / "schemas/json"
    schemas = {name: json.loads((folder / f"{name}.schema.json").read_bytes()) for name in openapi.SCHEMAS}
    return openapi.to_bytes(openapi.document(schemas))


if __name__ == "__main__":
    for place in PLACES:
        place.write_bytes(made())
