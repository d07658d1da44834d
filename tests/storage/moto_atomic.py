"""moto's S3 server with its conditions made atomic: ``python -m tests.storage.moto_atomic`` prints its port and serves.

moto looks at a condition in one place and writes in another, with nothing in between that holds off other requests; a
real store decides and writes as one. One lock around both is all that it lacks.
"""

from __future__ import annotations

import functools
import threading
from typing import TYPE_CHECKING, Any

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from moto.s3.responses import S3Response
from werkzeug.serving import make_server

if TYPE_CHECKING:
    from collections.abc import Callable

_LOCK = threading.RLock()


def _alone(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def locked(*arguments: Any, **options: Any) -> Any:  # noqa: ANN401 (moto's)
        with _LOCK:
            return method(*arguments, **options)

    return locked


def main() -> None:
    for name in ("put_object", "delete_object", "copy_object", "_key_response_post"):
        setattr(S3Response, name, _alone(getattr(S3Response, name)))
    server = make_server("127.0.0.1", 0, DomainDispatcherApplication(create_backend_app), threaded=True)
    print(server.port, flush=True)  # noqa: T201 (this is how the port is told)
    server.serve_forever()


if __name__ == "__main__":
    main()
