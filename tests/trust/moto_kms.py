"""moto's AWS KMS on a free port, with what it lacks and signers use: ECDSA over a digest that the client has made.

Stock moto takes the digest for the message, and signs the digest of the digest (its documentation says so).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils
from moto.kms.responses import KmsResponse
from moto.kms.utils import ECDSAPrivateKey
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

if TYPE_CHECKING:
    from collections.abc import Callable


def _sign_digest(self: ECDSAPrivateKey, message: bytes, signing_algorithm: str) -> bytes:
    assert signing_algorithm == "ECDSA_SHA_256", signing_algorithm
    signature: bytes = self.private_key.sign(message, ec.ECDSA(utils.Prehashed(hashes.SHA256())))
    return signature


def _of_digests_alone(sign: Callable[[KmsResponse], str]) -> Callable[[KmsResponse], str]:
    def checked(self: KmsResponse) -> str:
        assert self._get_param("MessageType") == "DIGEST", "this server signs digests"
        return sign(self)

    return checked


def main() -> None:
    ECDSAPrivateKey.sign = _sign_digest  # type: ignore[method-assign]
    KmsResponse.sign = _of_digests_alone(KmsResponse.sign)  # type: ignore[method-assign, assignment]
    server = make_server("127.0.0.1", 0, DomainDispatcherApplication(create_backend_app), threaded=True)
    print(server.port, flush=True)  # noqa: T201 (this is how the port is told)
    server.serve_forever()


if __name__ == "__main__":
    main()
