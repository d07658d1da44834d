"""One request to a webhook, to real receivers: signed, bounded, and to nobody else."""

from __future__ import annotations

import base64
import json
import socket
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from dagferry_schemas.errors import Usage
from dagferry_storage.webhook import NotTaken, Webhook, open_webhooks, pause_after
from tests.receiver import OTHER_SECRET, SECRET, Answer, receiving, secret_file

if TYPE_CHECKING:
    from pathlib import Path

BODY = json.dumps({"id": "e1", "type": "io.dagferry.test"}).encode()


def opened(url: str, folder: Path, *secrets: str) -> Webhook:
    return open_webhooks([url], secret_file(folder, *secrets), None)[0]


def test_an_event_is_taken_as_it_is_and_its_signature_holds(tmp_path: Path) -> None:
    with receiving() as receiver:
        opened(receiver.url, tmp_path).send("e1", BODY)
    assert [body for _, body in receiver.requests] == [BODY]
    assert len(receiver.taken) == 1


def test_a_signature_of_another_secret_is_none(tmp_path: Path) -> None:
    with receiving(secret=OTHER_SECRET) as receiver, pytest.raises(NotTaken, match="401"):
        opened(receiver.url, tmp_path).send("e1", BODY)
    assert receiver.taken == []


def test_a_secret_that_is_replaced_is_used_from_then_on(tmp_path: Path) -> None:
    with receiving(secret=OTHER_SECRET) as receiver:
        hook = opened(receiver.url, tmp_path)
        with pytest.raises(NotTaken):
            hook.send("e1", BODY)
        secret_file(tmp_path, OTHER_SECRET)
        hook.send("e1", BODY)
    assert len(receiver.taken) == 1


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_every_success_means_taken(status: int, tmp_path: Path) -> None:
    with receiving([Answer(status)]) as receiver:
        opened(receiver.url, tmp_path).send("e1", BODY)


@pytest.mark.parametrize("status", [301, 302, 307, 308, 400, 403, 404, 410, 429, 500, 503])
def test_nothing_else_does_and_no_redirect_is_followed(status: int, tmp_path: Path) -> None:
    with receiving() as elsewhere:
        answer = Answer(status, headers=(("location", elsewhere.url),))
        with receiving([answer]) as receiver, pytest.raises(NotTaken, match=str(status)):
            opened(receiver.url, tmp_path).send("e1", BODY)
    assert elsewhere.requests == []


def test_proxies_and_netrc_of_the_environment_are_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login ada password hunter2\n")
    monkeypatch.setenv("NETRC", str(netrc))
    with receiving() as proxy, receiving() as receiver:
        for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        opened(receiver.url, tmp_path).send("e1", BODY)
    assert proxy.requests == []
    assert "authorization" not in receiver.requests[0][0]


def test_messages_tell_neither_the_path_nor_the_secret(tmp_path: Path) -> None:
    with receiving([Answer(500)]) as receiver:
        hooks = [opened(receiver.url, tmp_path), opened("http://127.0.0.1:1/hook/t0ken?key=hunter2", tmp_path)]
        for hook in hooks:
            with pytest.raises(NotTaken) as caught:
                hook.send("e1", BODY)
            said = caught.value.message + caught.value.hint + repr(caught.value)
            assert hook.name in said
            assert not {"t0ken", "hunter2", SECRET} & set(said.replace("/", " ").replace("?", " ").split())
            assert "t0ken" not in said


def test_a_receiver_that_takes_the_connection_and_says_nothing_is_left(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        hook = opened(f"http://127.0.0.1:{silent.getsockname()[1]}/", tmp_path)
        assert hook.answer_seconds == 10
        with pytest.raises(NotTaken, match="no answer in time"):
            replace(hook, answer_seconds=0.3).send("e1", BODY)


def test_an_answer_without_end_is_not_read(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def flood() -> None:
            peer, _ = server.accept()
            with peer:
                peer.recv(65536)
                peer.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000000\r\n\r\n")
                peer.settimeout(10)
                while peer.recv(65536):  # until the sender has heard enough
                    pass

        thread = threading.Thread(target=flood)
        thread.start()
        opened(f"http://127.0.0.1:{server.getsockname()[1]}/", tmp_path).send("e1", BODY)
        thread.join(10)
        assert not thread.is_alive()


@pytest.mark.parametrize(
    "url",
    ["", "host", "ftp://host/", "file:///etc/passwd", "http://", "http://me@host/", "http://me:pw@host/", "http://h:0/",
     "http://h:99999/", "http://[::1/", "http://h/#part", "http://h/a b", "http://hö/", "http://h/\r\nx: y"],
)  # fmt: skip
def test_what_is_no_url_of_a_webhook_is_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(Usage) as caught:
        open_webhooks([url], secret_file(tmp_path), None)
    assert "pw" not in caught.value.message


def test_one_webhook_is_told_once(tmp_path: Path) -> None:
    urls = ["http://[::1]:8080/a", "http://host/b", "http://[::1]:8080/a"]
    assert [one.name for one in open_webhooks(urls, secret_file(tmp_path), None)] == [
        "http://[::1]:8080", "http://host"
    ]  # fmt: skip


def test_pauses_grow_and_are_bounded_and_differ() -> None:
    assert 0.25 <= pause_after(1) <= 0.5
    assert 150 <= pause_after(1000) <= 300
    assert len({pause_after(5) for _ in range(20)}) > 10


def test_a_secret_is_base64_of_32_bytes_here() -> None:
    assert len(base64.b64decode(SECRET.removeprefix("whsec_"))) == 32
