"""A process with nothing but our delivery, which pulls and finds nothing new, as a resident agent's poll does.

    python -m tests.bench.polls STORE BUNDLE CHANNEL ROOT COUNT

The root's release is live. Before the pulls that are counted it makes one more. It prints its processor seconds for
each of them.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from dagferry_agent.delivery import open_delivery
from dagferry_agent.settings import Settings


def main() -> None:
    """Pull, and print."""
    store, bundle, channel, root, count = sys.argv[1:]
    delivery = open_delivery(Settings(store, bundle, channel, Path(root), "bench"))
    delivery.prepare()
    assert not delivery.pull().changed
    began = time.process_time()
    assert not any(delivery.pull().changed for _ in range(int(count)))
    sys.stdout.write(f"{(time.process_time() - began) / int(count)}\n")


if __name__ == "__main__":
    main()
