"""`LocalStore`: the contract, and what only a directory can suffer."""

from __future__ import annotations

import errno
import io
import multiprocessing
import os
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dagferry_schemas.errors import DeliveryFailed, Forbidden, MachineFault
from dagferry_storage.local import LocalStore
from dagferry_storage.store import Missing
from tests.storage.contract import LIMIT, StoreContract

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.synchronize import Event

    from tests.storage.racers import Opener

AS_ROOT = os.geteuid() == 0


class TestLocalStore(StoreContract):
    server = "directory"

    @pytest.fixture
    def opener(self, tmp_path: Path) -> Iterator[Opener]:
        yield partial(LocalStore, tmp_path / "made/on/demand")
        assert leftovers(tmp_path) == []


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


def leftovers(folder: Path) -> list[Path]:
    return list(folder.rglob(".tmp-*"))


def every_call(store: LocalStore) -> dict[str, Callable[[], object]]:
    def stream() -> None:
        with store.stream("a/object") as chunks:
            list(chunks)

    return {
        "read": lambda: store.read("a/object", limit=LIMIT),
        "read_if_changed": lambda: store.read_if_changed("a/object", "token", limit=LIMIT),
        "modified": lambda: store.modified("a/object"),
        "stream": stream,
        "names": lambda: list(store.names("a/")),
        "folders": lambda: list(store.folders("")),
        "replace": lambda: store.replace("a/object", b"x", "token"),
        "delete": lambda: store.delete("a/object"),
    }


@pytest.mark.parametrize(
    "call", ["read", "read_if_changed", "modified", "stream", "names", "folders", "replace", "delete"]
)
def test_a_root_that_does_not_exist_is_an_outage_and_not_an_empty_store(store: LocalStore, call: str) -> None:
    with pytest.raises(DeliveryFailed, match="does not exist") as caught:
        every_call(store)[call]()
    assert not isinstance(caught.value, (Forbidden, MachineFault))
    assert "init-store" in caught.value.hint
    assert "mounted" in caught.value.hint


@pytest.mark.parametrize(
    "key", ["", "/a", "a/", "a//b", "..", "../a", "a/../b", ".", "a/./b", ".lock", "a/.tmp-1", "a/.b/c"]
)
def test_keys_that_leave_the_root_or_name_the_stores_own_files_are_refused(store: LocalStore, key: str) -> None:
    store.create("a/object", b"x")
    calls: tuple[Callable[[], object], ...] = (
        lambda: store.read(key, limit=LIMIT),
        lambda: store.create(key, b"x"),
        lambda: store.replace(key, b"x", "token"),
        lambda: store.delete(key),
        lambda: store.names(f"{key}/"),
        lambda: store.folders(f"{key}/"),
    )
    for call in calls:
        with pytest.raises(ValueError, match="not a key"):
            call()


def test_the_identity_is_this_user(store: LocalStore) -> None:
    assert f"uid {os.geteuid()}" in store.identity()


def test_a_user_without_a_name_is_named_by_number(tmp_path: Path) -> None:
    if not AS_ROOT:
        pytest.skip("only root may become another user")
    code = "import os; from dagferry_storage.stores import open_store; os.seteuid(54321); "
    code += "print(open_store('/nowhere').identity())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "uid 54321\n"


def test_a_prefix_without_its_slash_is_refused(store: LocalStore) -> None:
    with pytest.raises(ValueError, match="ends in '/'"):
        store.names("a")


def test_a_lock_or_a_forgotten_temporary_file_is_not_an_object(store: LocalStore, tmp_path: Path) -> None:
    store.replace("a/object", b"two", store.create("a/object", b"one"))
    (tmp_path / "store/a/.tmp-forgotten").write_bytes(b"half")
    (tmp_path / "store/a/.hidden").mkdir()
    (tmp_path / "store/a/.hidden/object").write_bytes(b"x")
    assert (tmp_path / "store/a/.lock").exists()
    assert list(store.names("a/")) == ["a/object"]
    assert list(store.folders("a/")) == []


def test_links_are_not_listed_and_their_loops_not_followed(store: LocalStore, tmp_path: Path) -> None:
    store.create("a/object", b"one")
    (tmp_path / "store/a/loop").symlink_to(".")
    (tmp_path / "store/a/dangling").symlink_to("nowhere")
    assert list(store.names("a/")) == ["a/object"]


def test_other_users_may_read_what_the_umask_lets_them(store: LocalStore, tmp_path: Path) -> None:
    store.create("a/object", b"one")
    (tmp_path / "plain").touch()
    assert (tmp_path / "store/a/object").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_relative_root_stays_where_it_was_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = LocalStore(Path("store"))
    store.create("a/object", b"one")
    monkeypatch.chdir("/")
    assert store.read("a/object", limit=LIMIT).body == b"one"
    assert store.url == (tmp_path / "store").as_uri()


def test_a_file_where_a_folder_is_needed_is_a_failed_delivery(store: LocalStore, tmp_path: Path) -> None:
    store.create("a/object", b"one")
    for key in ("a/object/below", "a"):
        with pytest.raises(DeliveryFailed, match=f"cannot replace {key}:"):
            store.replace(key, b"x", "token")
    with pytest.raises(DeliveryFailed, match="cannot create a/object/below"):
        store.create("a/object/below", b"x")
    with pytest.raises(DeliveryFailed, match="cannot read a: Is a directory"):
        store.read("a", limit=LIMIT)
    with pytest.raises(DeliveryFailed, match="Not a directory"):
        LocalStore(tmp_path / "store/a/object").read("b", limit=LIMIT)


def test_what_is_no_file_is_not_read(store: LocalStore, tmp_path: Path) -> None:
    store.create("object", b"one")
    os.mkfifo(tmp_path / "store/pipe")
    (tmp_path / "store/device").symlink_to("/dev/zero")
    for key in ("pipe", "device"):
        with pytest.raises(DeliveryFailed, match=f"cannot read {key}: Not a regular file"):
            store.read(key, limit=LIMIT)
        with pytest.raises(DeliveryFailed, match=f"cannot read {key}: Not a regular file"), store.stream(key):
            pass
        with pytest.raises(DeliveryFailed, match=f"cannot replace {key}: Not a regular file"):
            store.replace(key, b"x", "token")


def test_a_file_system_without_hard_links_is_a_fault_of_the_machine(
    store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def link(source: Path, target: Path) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted", str(source), None, str(target))

    monkeypatch.setattr("os.link", link)
    with pytest.raises(MachineFault, match="refuses hard links") as caught:
        store.create("a/object", b"one")
    assert "file system that has them" in caught.value.hint
    assert leftovers(tmp_path) == []


class Failing(io.BytesIO):
    """A body that breaks off after its first megabytes."""

    def read(self, size: int | None = -1, /) -> bytes:
        if self.tell() > 2_000_000:
            raise KeyboardInterrupt
        return super().read(size)


def test_an_interrupted_create_leaves_nothing(store: LocalStore, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        store.create("a/object", Failing(bytes(5_000_000)))
    assert leftovers(tmp_path) == []
    assert list(store.names("a/")) == []


class Stalling(io.BytesIO):
    """A body that tells when its first megabytes are read, and never ends."""

    def __init__(self, half_way: Event) -> None:
        super().__init__(bytes(5_000_000))
        self._half_way = half_way

    def read(self, size: int | None = -1, /) -> bytes:
        if self.tell() > 2_000_000:
            self._half_way.set()
            multiprocessing.Event().wait()
        return super().read(size)


def create_and_stall(root: Path, half_way: Event) -> None:
    LocalStore(root).create("a/object", Stalling(half_way))


def test_a_killed_writer_leaves_no_object_and_is_in_nobodys_way(store: LocalStore, tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    half_way = spawn.Event()
    writer = spawn.Process(target=create_and_stall, args=(tmp_path / "store", half_way), daemon=True)
    writer.start()
    assert half_way.wait(30)
    writer.kill()
    writer.join()
    assert len(leftovers(tmp_path)) == 1, "it was not killed half-way"
    assert list(store.names("a/")) == []
    with pytest.raises(Missing):
        store.read("a/object", limit=LIMIT)
    store.create("a/object", b"the next one")
    assert store.read("a/object", limit=LIMIT).body == b"the next one"


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A file system of 256 KiB; skips where this user may not mount one."""
    folder.mkdir()
    mount("-t", "tmpfs", "-o", "size=256k", "dagferry-test", str(folder))
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def mount(*arguments: str) -> None:
    try:
        subprocess.run(["mount", *arguments], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as exc:
        pytest.skip(f"this user may not mount: {exc}")


def test_a_full_disk_is_a_fault_of_the_machine_and_keeps_what_was_there(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        store = LocalStore(disk)
        token = store.create("a/object", b"one")
        with pytest.raises(MachineFault, match="No space left") as caught:
            store.create("a/large", io.BytesIO(bytes(3_000_000)))
        assert "space" in caught.value.hint
        with pytest.raises(MachineFault, match="cannot replace a/object"):
            store.replace("a/object", bytes(3_000_000), token)
        assert leftovers(disk) == []
        assert list(store.names("a/")) == ["a/object"]
        assert store.read("a/object", limit=LIMIT).token == token
        assert store.create("a/small", bytes(100_000)), "the space of the failed writes is free again"


def test_a_read_only_store_reads_and_refuses_to_write(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        store = LocalStore(disk)
        token = store.create("a/object", b"one")
        mount("-o", "remount,ro", str(disk))
        assert store.read("a/object", limit=LIMIT).body == b"one"
        writes: tuple[Callable[[], object], ...] = (
            lambda: store.create("a/other", b"x"),
            lambda: store.create("b/other", b"x"),
            lambda: store.replace("a/object", b"two", token),
            lambda: store.delete("a/object"),
        )
        for write in writes:
            with pytest.raises(MachineFault, match="Read-only") as caught:
                write()
            assert "writable" in caught.value.hint


@contextmanager
def a_user_without_rights() -> Iterator[None]:
    """Root may do everything, so root becomes nobody for a moment; anyone else stays who they are."""
    if not AS_ROOT:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@contextmanager
def open_folder() -> Iterator[Path]:
    """A folder that every user can reach; pytest's own is closed to others."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_a_user_without_rights_is_forbidden() -> None:
    with open_folder() as root:
        store = LocalStore(root)
        token = store.create("a/object", b"one")
        (root / "a").chmod(0o555)
        with pytest.raises(Forbidden, match="cannot create a/other: Permission denied"), a_user_without_rights():
            store.create("a/other", b"x")
        with pytest.raises(Forbidden, match="cannot replace a/object: Permission denied"), a_user_without_rights():
            store.replace("a/object", b"two", token)
        (root / "a").chmod(0o755)
        assert store.read("a/object", limit=LIMIT).token == token
