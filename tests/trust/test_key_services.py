"""A key that nobody can copy: AWS KMS signs (as moto plays it), and the pod verifies with the public half alone."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import boto3
import pytest

from tests.e2e.harness import Operator
from tests.storage import servers

from .firm import tag

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .firm import Firm


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """A server of AWS."""
    with servers.served("tests.trust.moto_kms") as port:
        yield f"http://127.0.0.1:{port}"


def make_key(endpoint: str, spec: str = "ECC_NIST_P256") -> str:
    """The id of a new key for signatures."""
    client = boto3.client(
        "kms",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )
    return str(client.create_key(KeySpec=spec, KeyUsage="SIGN_VERIFY")["KeyMetadata"]["KeyId"])


@pytest.fixture
def person(firm: Firm, endpoint: str) -> Operator:
    """Somebody whose key service is that server."""
    service = {"AWS_ENDPOINT_URL_KMS": endpoint, "AWS_DEFAULT_REGION": "us-east-1", "AWS_REGION": "us-east-1"}
    return Operator(firm.person.folder, firm.person.store_url, {**firm.person.options, **service})


def test_key_service_signs_and_the_pod_verifies_without_it(firm: Firm, person: Operator, endpoint: str) -> None:
    key = f"awskms:{make_key(endpoint)}"
    shown = person.run("keys", "show", key, "--name=cloud")
    (firm.keyring / "cloud.json").write_text(json.dumps(shown["entry"]))
    signed = [f"--signer={key}", f"--keyring={firm.keyring}"]
    version = person.run("publish", "--rev", "v1", *signed)["version"]
    assert tag(person.run("promote", version, *signed)) == "v1"
    pulled = firm.pod.pull(f"--keyring={firm.keyring}")
    assert tag(pulled) == "v1"
    assert tag(firm.pod_of("other").pull(f"--keyring={firm.keyring}", f"--version={version}")) == "v1"
    # A key in a file and one in the service can sign one record.
    firm.trust("ci")
    both = person.run("refresh", *signed, *firm.signed("ci", keyring=False))
    assert both["generation"] == 2


def test_another_key_of_the_service_is_as_good_as_none(firm: Firm, person: Operator, endpoint: str) -> None:
    firm.trust("ci")
    firm.ship("v1")
    other = f"--signer=awskms:{make_key(endpoint)}"
    assert person.fail(1, "hold", other, f"--keyring={firm.keyring}")["code"] == "bad_signature"


def test_key_of_the_service_that_cannot_be_used_is_named(firm: Firm, person: Operator, endpoint: str) -> None:
    rsa = person.fail(2, "keys", "show", f"awskms:{make_key(endpoint, 'RSA_2048')}")
    assert rsa["code"] == "usage"
    missing = person.fail(4, "keys", "show", "awskms:00000000-0000-0000-0000-000000000000")
    assert (missing["code"], "awskms:00000000" in missing["message"]) == ("signing_failed", True)
