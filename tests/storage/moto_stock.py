"""moto's S3 server as it is: ``python -m tests.storage.moto_stock [SECONDS]`` prints its port and serves.

With SECONDS it pauses for so long between its look at a condition and its write. Nothing else is changed: the gap is
moto's own, and is only made wide enough to be met.
"""

from __future__ import annotations

import sys
import time
from typing import Any

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from moto.s3.models import S3Backend
from werkzeug.serving import make_server


def main(seconds: float) -> None:
    put = S3Backend.put_object

    def put_later(*arguments: Any, **options: Any) -> Any:  # noqa: ANN401 (moto's)
        time.sleep(seconds)
        return put(*arguments, **options)

    if seconds:
        setattr(S3Backend, "put_object", put_later)  # noqa: B010  (mypy knows moto's methods)
    server = make_server("127.0.0.1", 0, DomainDispatcherApplication(create_backend_app), threaded=True)
    print(server.port, flush=True)  # noqa: T201 (this is how the port is told)
    server.serve_forever()


if __name__ == "__main__":
    main(float(sys.argv[1]) if sys.argv[1:] else 0.0)
