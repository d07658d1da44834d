"""The endpoint over https: who is let in, by which certificate, and what happens when its files change."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Final

import pytest
from cryptography.hazmat.primitives import serialization

from tests.e2e.harness import PATIENCE, run, wait_for

from .rows import bearer, post, request
from .secure import HOST, Authority, SecureWorld, secured
from .wire import connect, read

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator
    from pathlib import Path

    from .world import Source

STATUS: Final = request("GET", "/v1/status", bearer())


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    made = Authority(tmp_path)
    made.put(*made.issue())
    return made


@pytest.fixture
def world(source: Source, authority: Authority, tmp_path: Path) -> Iterator[SecureWorld]:
    with secured(source, tmp_path.name, authority) as world:
        yield world


def der(cert: bytes) -> bytes:
    """The first certificate of a file."""
    end = b"-----END CERTIFICATE-----"
    return ssl.PEM_cert_to_DER_cert((cert.partition(end)[0] + end).decode())


def test_commands_ask_over_https_with_the_authority_and_not_without(
    world: SecureWorld, authority: Authority, tmp_path: Path
) -> None:
    assert world.agent.url.startswith("https://")
    token_file = tmp_path / "token"
    token_file.write_text(world.tokens["all"])
    operator = world.source.operator
    access = (f"--agents={world.agent.url}", f"--token-file={token_file}")
    trusting = (*access, f"--ca-file={authority.ca_file}")
    assert [one["ok"] for one in operator.run("notify", *trusting)["agents"]] == [True]
    assert operator.run("status", *trusting)["converged"] is True
    assert [one["ok"] for one in operator.run("ship", *trusting)["agents"]] == [True]
    (refused,) = operator.run("status", *access)["agents"]
    assert refused["ok"] is False
    assert "certificate" in refused["error"]
    assert operator.fail(4, "notify", "--timeout=1", *access)["code"] == "not_converged"


def test_only_tls_1_2_and_newer_with_http_1_is_spoken(world: SecureWorld, authority: Authority) -> None:
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = authority.context(minimum_version=version, maximum_version=version)
        context.set_alpn_protocols(["h2", "http/1.1"])
        with context.wrap_socket(connect(world.port), server_hostname=HOST) as connection:
            assert connection.selected_alpn_protocol() == "http/1.1"
    older = authority.context()
    older.set_ciphers("DEFAULT:@SECLEVEL=0")
    with pytest.deprecated_call():
        older.minimum_version = older.maximum_version = ssl.TLSVersion.TLSv1_1
    with connect(world.port) as raw, pytest.raises((ssl.SSLEOFError, ssl.SSLZeroReturnError, ConnectionResetError)):
        older.wrap_socket(raw, server_hostname=HOST)  # refused by the agent, or it would be another error
    world.answers()


def test_plain_http_on_the_port_of_https_gets_no_answer(world: SecureWorld) -> None:
    with connect(world.port) as connection:
        connection.sendall(world.fill(STATUS))
        assert b"HTTP/" not in read(connection).raw
    world.answers()


def test_a_new_pair_is_shown_from_then_on_and_a_connection_in_work_is_not_dropped(
    world: SecureWorld, authority: Authority
) -> None:
    before = world.shown()
    with world.open() as waiting:
        waiting.sendall(world.fill(post(b'{"expect_generation": 99, "wait_seconds": 2}')))
        cert, key = authority.issue()
        authority.put(cert, key)
        assert world.shown() == der(cert) != before
        assert read(waiting).status == 202
    assert world.agent.log.count("certificate read again") == 1


def test_a_bad_new_pair_leaves_the_one_before_and_is_said_once(world: SecureWorld, authority: Authority) -> None:
    good_cert, good_key = authority.cert.read_bytes(), authority.key.read_bytes()
    other_cert, _ = authority.issue()
    for turn, (cert, key, reason) in enumerate(
        (
            (other_cert, good_key, "the key is not that of the certificate"),
            (b"", good_key, "no certificate with an unencrypted key"),
            (good_cert, b"nonsense", "no certificate with an unencrypted key"),
        ),
        start=1,
    ):
        authority.put(cert, key)
        for _ in range(3):
            assert world.shown() == der(good_cert)
        assert world.agent.log.count("the one before stays") == turn
        assert reason in world.agent.log
    (authority.folder / "secret").unlink()
    for _ in range(3):
        assert world.shown() == der(good_cert)
    assert world.agent.log.count("cannot be read") == 1
    cert, key = authority.issue()
    authority.put(cert, key)
    assert world.shown() == der(cert)


def test_while_pairs_are_replaced_every_connection_sees_a_whole_one(world: SecureWorld, authority: Authority) -> None:
    made = {}
    for _ in range(10):
        cert, key = authority.issue()
        made[der(cert)] = key
        authority.put(cert, key)
        for _ in range(3):
            assert world.shown() in made
    assert "the one before stays" not in world.agent.log


def encrypted(key: bytes) -> bytes:
    """The same key, which nobody can read without a password."""
    form, coding = serialization.PrivateFormat.PKCS8, serialization.Encoding.PEM
    how = serialization.BestAvailableEncryption(b"secret")
    return serialization.load_pem_private_key(key, None).private_bytes(coding, form, how)


@pytest.mark.parametrize("kind", ["mismatch", "empty", "swapped", "encrypted", "folder"])
def test_files_that_cannot_be_used_end_it_with_2(source: Source, authority: Authority, kind: str) -> None:
    cert, key = authority.issue()
    other, _ = authority.issue()
    pairs = {"mismatch": (other, key), "empty": (b"", b""), "swapped": (key, cert), "encrypted": (cert, encrypted(key))}
    arguments = authority.arguments
    if kind == "folder":
        arguments = (arguments[0], f"--tls-key={authority.folder}")
    else:
        authority.put(*pairs[kind])
    pod = source.pod("never")
    done = run("dagferry-agent", "serve", *pod.options, *arguments, cwd=authority.folder, expect=2, timeout=PATIENCE)
    assert "--tls-cert" in done.error["message"]
    assert "PEM" in done.error["hint"]
    assert b"PRIVATE" not in done.stderr.encode()
    assert not pod.root.exists()


def test_a_handshake_that_stalls_is_ended_and_keeps_nobody_out(world: SecureWorld) -> None:
    stalled = [connect(world.port) for _ in range(20)]
    try:
        for number, one in enumerate(stalled):
            # Nothing at all, half of a record's head, and the head of a long hello that never comes.
            one.sendall((b"", b"\x16\x03", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc")[number % 3])
        world.answers()
        assert all(is_closed(one) for one in stalled)
    finally:
        for one in stalled:
            one.close()
    wait_for(lambda: world.descriptors < 40 or None, "the descriptors of what was closed")
    assert "Traceback" not in world.agent.log


def is_closed(connection: socket.socket) -> bool:
    """Whether the agent closes it, in less than twice the time that it grants."""
    connection.settimeout(10)
    try:
        return connection.recv(100) == b""
    except ConnectionResetError:
        return True


def test_sigterm_ends_it_in_time_beside_a_client_that_does_not_hang_up(world: SecureWorld) -> None:
    with world.open() as answered, world.open() as waiting, connect(world.port) as stalled:
        answered.sendall(world.fill(STATUS))
        waiting.sendall(world.fill(post(b'{"expect_generation": 99, "wait_seconds": 60}')))
        stalled.sendall(b"\x16\x03\x01")
        assert answered.recv(20).startswith(b"HTTP/1.1 200")
        assert world.agent.stop() == 0
        assert read(waiting).status == 503
