from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from dagferry_schemas.errors import Usage
from dagferry_storage.local import LocalStore
from dagferry_storage.stores import open_store

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("file:///srv/store", "file:///srv/store"),
        ("FILE:///srv/store/", "file:///srv/store"),
        ("file:///srv/with%20space/100%25", "file:///srv/with%20space/100%25"),
        ("file:///srv/not%2Dutf8/%FF", "file:///srv/not-utf8/%FF"),
        ("/srv/store", "file:///srv/store"),
        ("/srv/what?#100%", "file:///srv/what%3F%23100%25"),
        ("store", "{here}/store"),
        ("./s3:/odd", "{here}/s3%3A/odd"),
        ("~/store", "file:///home/dag/store"),
    ],
)
def test_a_path_and_a_file_url_open_a_directory(
    given: str, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/dag")
    monkeypatch.chdir(tmp_path)
    store = open_store(given)
    assert isinstance(store, LocalStore)
    assert store.url == url.format(here=tmp_path.as_uri())
    assert open_store(store.url).url == store.url


@pytest.mark.parametrize(
    "given",
    [
        "",
        " ",
        " /srv/store",
        "/srv/store\n",
        "/srv/st\x00ore",
        "file:",
        "file://",
        "file:///",
        "/",
        "file:/srv/store",
        "file:srv/store",
        "file://relative",
        "file://host/dir",
        "file://localhost/dir",
        "file:///srv/store?region=x",
        "file:///srv/store#part",
        "file:///srv/line%0Abreak",
        "~no-such-user-here/store",
    ],
)
def test_other_forms_are_wrong_usage_and_the_hint_names_the_right_ones(given: str) -> None:
    with pytest.raises(Usage) as caught:
        open_store(given)
    assert "file:///" in caught.value.hint
    assert "plain path" in caught.value.hint


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("gs://bucket", "gs://bucket"),
        ("GS://bucket/", "gs://bucket"),
        ("gs://bucket/team/dags/", "gs://bucket/team/dags"),
        ("gs://bucket/with%20space", "gs://bucket/with space"),
        ("gs://domain.name-bucket_1/x", "gs://domain.name-bucket_1/x"),
    ],
)
def test_a_gs_url_opens_a_bucket_of_google(given: str, url: str) -> None:
    pytest.importorskip("google.cloud.storage")
    from dagferry_storage.gcs import GcsStore

    store = open_store(given)
    assert isinstance(store, GcsStore)
    assert store.url == url


@pytest.mark.parametrize(
    "given",
    [
        "gs:bucket",
        "gs://",
        "gs:///prefix",
        "gs://b",
        "gs://user:secret@bucket",
        "gs://bucket/a//b",
        "gs://bucket/../b",
        "gs://bucket/.hidden",
        "gs://bucket?region=secret",
        "gs://bucket#secret",
    ],
)
def test_a_gs_url_has_a_bucket_a_prefix_and_no_options(given: str) -> None:
    with pytest.raises(Usage) as caught:
        open_store(given)
    assert "gs://BUCKET/PREFIX" in caught.value.hint
    assert "secret" not in caught.value.message + caught.value.hint


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ("s3:/artifacts/p", "two slashes"),
        ("s3:artifacts/p", "two slashes"),
        ("gs:///p", "names no bucket"),
        ("s3://bucket/p#secret", "fragment"),
        ("s3://bucket/p?region=eu-west-3#secret", "fragment"),
        ("s3://KEY:secret@bucket/p", "before an @"),
        ("gs://KEY:secret/x@bucket/p", "bucket"),
        ("s3://bucket/p\tsecret", "control characters"),
        ("s3://[secret/p", "no bucket that could exist"),
        ("s3://bucket/p?endpoint=http://a&endpoint=http://secret", "twice: endpoint"),
        ("s3://bucket/p?colour=secret", "not known: colour"),
        ("s3://bucket/p?endpoint=http://127.0.0.1:99999", "endpoint"),
        ("s3://bucket/p?endpoint=http://127.0.0.1:0", "endpoint"),
        ("s3://bucket/p?endpoint=", "endpoint"),
        ("s3://bucket/p?endpoint=127.0.0.1:9000", "endpoint"),
        ("s3://bucket/p?region=", "region"),
        ("s3://bucket/p?region=xx%20secret", "region"),
        ("s3://bucket/p?region=xx secret", "region"),
    ],
)
def test_a_malformed_bucket_url_is_told_its_own_fault_and_no_secret(given: str, fault: str) -> None:
    with pytest.raises(Usage) as caught:
        open_store(given)
    assert fault in caught.value.message
    assert "secret" not in caught.value.message + caught.value.hint


@pytest.mark.parametrize("address", ["127.0.0.1:43475", "localhost", "http://", "http://127.0.0.1:99999"])
def test_an_emulator_without_scheme_and_host_is_wrong_usage(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", address)
    with pytest.raises(Usage, match="STORAGE_EMULATOR_HOST") as caught:
        open_store("gs://bucket/p")
    assert "http://HOST:PORT" in caught.value.hint


@pytest.mark.parametrize("package", ["google.auth", "google.cloud.storage"])
def test_a_client_that_is_not_installed_is_named(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in [name for name in sys.modules if name.startswith("dagferry_storage.gcs")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(Usage, match=f"gcs stores need the package {package!r}") as caught:
        open_store("gs://bucket")
    assert "install the extra gcs" in caught.value.hint


@pytest.mark.parametrize("given", ["https://user:secret@host/x", "s3a://key:secret@bucket", "C:\\secret"])
def test_an_unknown_scheme_is_named_and_the_rest_kept_to_itself(given: str) -> None:
    with pytest.raises(Usage, match=given.partition(":")[0]) as caught:
        open_store(given)
    assert "secret" not in caught.value.message + caught.value.hint


def test_opening_touches_no_disk_and_loads_no_cloud_client(tmp_path: Path) -> None:
    script = (
        f"import sys; sys.path[:0] = {sys.path!r}\n"
        f"from dagferry_storage.stores import open_store; open_store({str(tmp_path / 'store')!r})\n"
        "assert not {'boto3', 'botocore', 'google.cloud'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
    assert list(tmp_path.iterdir()) == []
