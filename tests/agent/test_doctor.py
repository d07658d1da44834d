"""What `dagferry-agent doctor` finds: each fault of a pod is provoked, and has to be named, with nothing beside it."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trustme

from dagferry_agent import doctor, tokens
from dagferry_agent.clock import utc
from dagferry_agent.doctor_airflow import read_mounts
from dagferry_schemas import layout
from dagferry_schemas.errors import BadData
from tests.e2e.harness import environment
from tests.schemas.holders import Holder

from .airflow_api import PASSWORD, USER, FakeAirflow, serving
from .shelf import BUNDLE, CHANNEL
from .test_delivery import ONE, TWO, Pod

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dagferry_agent.doctor_finding import Finding
    from dagferry_agent.settings import Settings

CI = Holder("ci")
OPS = Holder("ops")
NOBODY = 65534
NO_MOUNTS = "22 1 254:0 / / rw,relatime - ext4 /dev/root rw\n"


class Ward:
    """A pod that is fit, at a place that every user can get to, and the doctor who looks at it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pod = Pod(folder, signer=CI)
        self.pod.shelf.ship("v1", ONE)
        self.pod.delivery.pull()
        self.pod.shelf.ship("v2", TWO)
        self.mounts = folder / "mountinfo"
        self.mounts.write_text(NO_MOUNTS)
        tokens_file = folder / "tokens.json"
        _, entry = tokens.new_token("ops", (), b"x" * 32)
        tokens_file.write_text(json.dumps([entry]))
        self.settings = replace(self.pod.settings, port=0, tokens_file=tokens_file)
        self.dags: Path | None = self.root / "current"
        self.environment: dict[str, str] = {}
        self.now = self.pod.clock.now = datetime.now(timezone.utc).timestamp() + 5

    @property
    def root(self) -> Path:
        return self.pod.root

    def examine(self, *, read_only: bool = False, **changes: object) -> dict[str, Finding]:
        """Every finding by its name."""
        settings: Settings = replace(self.settings, **changes)  # type: ignore[arg-type]
        found = doctor.diagnose(
            settings,
            dags_folder=self.dags,
            environment=self.environment,
            mounts=self.mounts,
            clock=lambda: self.now,
            read_only=read_only,
        )
        return {finding.name: finding for finding in found}

    def amiss(self, **changes: object) -> dict[str, str]:
        """What is not ok and was tried, with what is said of it."""
        found = self.examine(read_only=False, **changes).values()
        return {one.name: one.detail for one in found if one.tried and not one.ok}

    def listing(self) -> list[tuple[str, int, int]]:
        """What is in the root, with inodes and times."""
        paths = sorted(self.root.rglob("*"))
        return [(str(path), path.lstat().st_ino, path.lstat().st_mtime_ns) for path in paths]


@pytest.fixture
def ward() -> Iterator[Ward]:
    folder = Path(tempfile.mkdtemp(prefix="dagferry-ward-"))
    folder.chmod(0o755)
    yield Ward(folder)
    shutil.rmtree(folder)


@contextmanager
def powerless() -> Iterator[None]:
    """As a user who may not write everywhere."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(user)


def only(found: dict[str, str], name: str, words: str) -> None:
    """Fail unless that check alone is amiss, and says these words."""
    assert list(found) == [name], found
    assert words in found[name], found[name]


def test_fit_pod_is_fit_and_is_left_as_it_was(ward: Ward) -> None:
    before = ward.listing()
    found = ward.examine()
    assert [one.name for one in found.values() if not one.ok] == ["airflow_api", "tls"]
    assert not found["tls"].tried
    assert [entry for entry in ward.listing() if entry[0] != str(ward.root)] == before
    doctor.require_fit(tuple(found.values()), {})


def test_nothing_is_written_where_nothing_may_be(ward: Ward) -> None:
    before = ward.root.stat().st_mtime_ns
    found = ward.examine(read_only=True)
    untried = [one.name for one in found.values() if not one.tried]
    assert untried == ["rename", "hard_links", "modes", "locks", "airflow_api", "tls"]
    assert ward.root.stat().st_mtime_ns == before


def test_findings_that_fail_make_the_pod_unfit_and_warnings_do_not(ward: Ward) -> None:
    ward.environment["PYTHONPYCACHEPREFIX"] = "/cache"
    found = tuple(ward.examine().values())
    doctor.require_fit(found, {})
    assert [one.to_dict() for one in found if one.warning] == [
        {"name": "bytecode", "ok": False, "detail": next(one.detail for one in found if one.warning), "warning": True}
    ]
    found = tuple(ward.examine(port=8793).values())
    with pytest.raises(BadData) as unfit:
        doctor.require_fit(found, {"a": 1})
    assert (unfit.value.code, unfit.value.exit_code, dict(unfit.value.result)) == ("unfit_pod", 1, {"a": 1})
    assert unfit.value.message == "1 of the checks failed: port"


# Airflow


def _release(ward: Ward) -> Path:
    return (ward.root / "current").resolve()


def _link(ward: Ward, target: Path) -> Path:
    place = ward.folder / "airflow"
    place.symlink_to(target)
    return place


FOLLOWING: dict[str, Callable[[Ward], Path]] = {
    "the link": lambda ward: ward.root / "current",
    "a folder in it": lambda ward: ward.root / "current" / "team",
    "a link to it": lambda ward: _link(ward, ward.root / "current"),
    "a link to a folder in it": lambda ward: _link(ward, ward.root / "current" / "team"),
    "a relative link to it": lambda ward: _link(ward, Path("root/current")),
    "a way around": lambda ward: ward.root / "releases" / ".." / "current" / "team",
    "a link to the root": lambda ward: _link(ward, ward.root) / "current",
}


@pytest.mark.parametrize("way", FOLLOWING)
def test_folder_that_follows_the_switch_is_right(way: str, ward: Ward) -> None:
    ward.dags = FOLLOWING[way](ward)
    assert ward.amiss() == {}


WRONG_FOLDERS: dict[str, tuple[Callable[[Ward], Path], str]] = {
    "the root": (lambda ward: ward.root, "recursive loop"),
    "above the root": (lambda ward: ward.folder, "recursive loop"),
    "a copy": (lambda ward: Path(shutil.copytree(_release(ward), ward.folder / "copy")), "Airflow never sees"),
    "not there": (lambda ward: ward.folder / "nowhere", "is not there: set"),
    "not in the release": (lambda ward: ward.root / "current" / "gone", "is not in the release"),
    "another root's": (lambda ward: Path(tempfile.mkdtemp(dir=ward.folder)), "Airflow never sees"),
}


@pytest.mark.parametrize("wrong", WRONG_FOLDERS)
def test_folder_that_is_not_at_the_link_is_named(wrong: str, ward: Ward) -> None:
    make, words = WRONG_FOLDERS[wrong]
    ward.dags = make(ward)
    only(ward.amiss(), "dags_folder", words)


def test_folder_of_dags_that_nobody_named_is_not_tried(ward: Ward) -> None:
    ward.dags = None
    found = ward.examine()
    assert (found["dags_folder"].tried, found["sub_path"].ok) == (False, True)
    assert str(ward.root / "current") in found["dags_folder"].detail


def test_folder_below_the_link_is_right_before_the_first_pull(ward: Ward) -> None:
    shutil.rmtree(ward.root)
    assert ward.amiss() == {}
    ward.root.mkdir()
    assert ward.amiss() == {}


def test_release_itself_is_never_what_follows(ward: Ward) -> None:
    ward.dags = _release(ward)
    found = ward.amiss()
    assert "will never follow a switch" in found["sub_path"]
    assert set(found) == {"sub_path", "dags_folder"}


def test_release_that_is_bound_to_another_place_is_known_by_its_mount(ward: Ward) -> None:
    ward.dags = ward.folder / "opt" / "dags"
    ward.dags.mkdir(parents=True)
    source = "/var/lib/kubelet/pods/1/volumes/kubernetes.io~empty-dir/dags/releases/0123456789abcdef"
    ward.mounts.write_text(f"{NO_MOUNTS}99 22 254:0 {source} {ward.dags} rw - ext4 /dev/root rw\n")
    found = ward.amiss()
    assert f"mounted from {source}" in found["sub_path"]


def test_mount_inside_the_root_is_named(ward: Ward) -> None:
    place = f"{ward.root}/current".replace("-", "\\055")
    ward.mounts.write_text(f"{NO_MOUNTS}99 22 254:0 /x {place} rw - ext4 /dev/root rw\nno mount\n")
    only(ward.amiss(), "sub_path", "is a mount inside the root")
    ward.mounts.write_text(f"{NO_MOUNTS}99 22 254:0 /x {ward.root} rw - ext4 /dev/root rw\n")
    assert ward.amiss() == {}, "the root may be a mount itself"


def test_mounts_are_read_as_the_kernel_writes_them() -> None:
    text = "36 35 98:0 /a\\040b /mnt/c\\134d rw,noatime master:1 - ext3 /dev/root rw\nshort\n"
    assert read_mounts(text) == [("/a b", "/mnt/c\\d")]


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("unshare") is None, reason="root and unshare(1) mount for it")
def test_real_mount_with_sub_path_is_found(ward: Ward) -> None:
    place = ward.folder / "dags"
    place.mkdir()
    options = [f"--store={ward.pod.store_folder}", f"--bundle={BUNDLE}", f"--channel={CHANNEL}", f"--root={ward.root}"]
    command = [sys.executable, "-c", "from dagferry_agent.cli import main; main()", "doctor", *options]
    script = 'mount --bind "$1" "$2" && shift 2 && exec "$@"'
    bind = ["unshare", "--mount", "sh", "-c", script, "sh", str(_release(ward)), str(place)]
    arguments = [f"--dags-folder={place}", f"--keyring={ward.pod.keyring}", "--listen=127.0.0.1:0", "-o", "json"]
    surroundings = environment(PYTHONPYCACHEPREFIX=None)
    every = [*bind, *command, *arguments]
    done = subprocess.run(every, env=surroundings, capture_output=True, text=True, timeout=60, check=False)
    document = json.loads(done.stdout)
    failed = {one["name"] for one in document["checks"] if not one["ok"] and one.get("tried", True)}
    assert (done.returncode, document["error"]["code"], failed) == (1, "unfit_pod", {"sub_path", "dags_folder"})


def test_bytecode_that_all_releases_share_is_named(ward: Ward) -> None:
    ward.environment["PYTHONPYCACHEPREFIX"] = "/cache"
    only(ward.amiss(), "bytecode", "/cache")


def test_airflow_that_is_to_be_told_is_asked(ward: Ward) -> None:
    with serving(FakeAirflow(dags={"dag_a.py": ""})) as airflow:
        assert ward.amiss(airflow_url=airflow.url) == {}
        only(
            ward.amiss(airflow_url=airflow.url, airflow_bundle="other"), "airflow_api", "knows no DAG of bundle 'other'"
        )
        airflow.answer = (403, b"", {})
        only(ward.amiss(airflow_url=airflow.url), "airflow_api", "HTTP 403")
    only(ward.amiss(airflow_url=airflow.url), "airflow_api", "no connection")
    with serving(FakeAirflow(major=2)) as airflow:
        file = ward.folder / "airflow.json"
        file.write_text(json.dumps({"username": USER, "password": PASSWORD}))
        assert ward.amiss(airflow_url=airflow.url, airflow_credentials_file=file) == {}


# The volume. What only shows with another file system is in tests/faults.


def test_root_that_is_a_file_is_named(ward: Ward) -> None:
    ward.dags = None
    shutil.rmtree(ward.root)
    ward.root.write_bytes(b"")
    assert "is no folder" in ward.amiss()["root"]


def test_root_of_another_user_is_named(ward: Ward) -> None:
    ward.root.chmod(0o555)
    with powerless():
        found = ward.amiss()
    assert {"root", "owner"} <= set(found)
    assert f"with mode 555, cannot be written to by this user ({NOBODY}:" in found["owner"] or os.geteuid() != 0
    ward.root.chmod(0o755)


def test_root_that_cannot_be_made_is_named(ward: Ward) -> None:
    ward.dags = None
    shutil.rmtree(ward.root)
    ward.folder.chmod(0o555)
    with powerless():
        found = ward.amiss()
    ward.folder.chmod(0o755)
    assert "and " + str(ward.folder) in found["root"]


def test_folders_in_the_root_of_another_user_are_named(ward: Ward) -> None:
    ward.root.chmod(0o777)
    (ward.root / "releases").chmod(0o755)
    if os.geteuid() != 0:
        (ward.root / "releases").chmod(0o555)
    with powerless():
        found = ward.amiss()
    assert str(ward.root / "releases") in found["owner"]
    assert "fsGroup" in found["owner"]


def test_root_that_others_cannot_read_is_a_warning(ward: Ward) -> None:
    ward.root.chmod(0o750)
    found = ward.examine()["readable"]
    assert (found.ok, found.warning) == (False, True)
    assert "Airflow has to run as that user" in found.detail


def test_link_that_is_none_is_named(ward: Ward) -> None:
    ward.dags = None
    (ward.root / "current").unlink()
    (ward.root / "current").mkdir()
    only(ward.amiss(), "live_link", "is not a link")


def test_link_that_leads_elsewhere_is_named(ward: Ward) -> None:
    ward.dags = None
    (ward.root / "current").unlink()
    (ward.root / "current").symlink_to("/tmp")
    only(ward.amiss(), "live_link", "leads out of the releases")


def test_link_that_leads_nowhere_is_named(ward: Ward) -> None:
    ward.dags = None
    shutil.rmtree(_release(ward))
    only(ward.amiss(), "live_link", "which is not there")


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="there is no second file system")
def test_root_on_two_file_systems_is_named(ward: Ward) -> None:
    elsewhere = Path(tempfile.mkdtemp(dir="/dev/shm"))
    if elsewhere.stat().st_dev == ward.root.stat().st_dev:
        pytest.skip("there is no second file system")
    shutil.rmtree(ward.root / "staging")
    (ward.root / "staging").symlink_to(elsewhere)
    try:
        only(ward.amiss(), "one_volume", "different file systems")
    finally:
        elsewhere.rmdir()


def test_what_will_not_fit_is_told_with_its_figures(ward: Ward) -> None:
    live = ward.pod.shelf.record.live
    content = replace(live.content, tarball=replace(live.content.tarball, plain_size=2**52))
    ward.pod.shelf.promote(replace(live, content=content))
    found = ward.amiss()
    assert "has no room for what the channel says" in found["room"]


# The store, and what is believed


def test_record_that_nobody_signed_is_refused_as_a_pull_would(ward: Ward) -> None:
    head = ward.pod.store_folder / layout.head(BUNDLE, CHANNEL)
    document = json.loads(head.read_bytes())
    head.write_bytes(json.dumps({**document, "signatures": []}).encode())
    found = ward.examine()
    assert "is not signed" in found["channel"].detail
    untried = [one.name for one in found.values() if not one.tried]
    assert untried == ["version", "statement", "files", "tarball", "airflow_api", "tls"]
    assert [one.name for one in found.values() if one.fails] == ["channel"]


def test_head_that_was_put_back_is_refused_as_a_pull_would(ward: Ward) -> None:
    head = ward.pod.store_folder / layout.head(BUNDLE, CHANNEL)
    before = head.read_bytes()
    ward.pod.shelf.ship("v3", ONE)
    ward.pod.delivery.pull()
    head.write_bytes(before)
    only(ward.amiss(), "channel", "went back from generation 3 to 2")


def test_keyring_without_the_key_that_signed_is_told_at_the_record(ward: Ward) -> None:
    (ward.pod.keyring / "ci.json").unlink()
    (ward.pod.keyring / "ops.json").write_bytes(OPS.entry())
    only(ward.amiss(), "channel", "0 of the 1 promoter signatures")


def test_keyring_that_cannot_be_used_is_named(ward: Ward) -> None:
    (ward.pod.keyring / "ci.json").unlink()
    found = ward.amiss()
    assert "the keyring has no key" in found["keyring"]
    assert set(found) == {"keyring", "channel"}


def test_no_keyring_is_a_fact_and_no_fault(ward: Ward) -> None:
    found = ward.examine(keyring=None)
    assert found["keyring"].ok
    assert "without a signature" in found["keyring"].detail
    assert not found["statement"].tried


@pytest.mark.parametrize(
    ("days", "fails", "words"), [(4, False, ""), (2, False, "within three days"), (-1, True, "is over")]
)
def test_keys_that_end_are_named(days: int, fails: bool, words: str, ward: Ward) -> None:
    end = utc(ward.now + timedelta(days=days).total_seconds())
    (ward.pod.keyring / "ci.json").write_bytes(CI.entry(not_after=end))
    found = ward.examine()["keyring"]
    assert (found.fails, words in found.detail, found.ok) == (fails, True, not words)


def test_key_that_is_over_beside_one_that_counts_is_a_fact(ward: Ward) -> None:
    (ward.pod.keyring / "ops.json").write_bytes(OPS.entry(not_after=utc(ward.now - 1)))
    found = ward.examine()["keyring"]
    assert found.ok
    assert "over: ops" in found.detail


def test_private_key_in_the_keyring_is_a_warning(ward: Ward) -> None:
    (ward.pod.keyring / "ci.pem").write_text(CI.private_pem)
    found = ward.examine()["keyring"]
    assert found.warning
    assert "no part of it: ci.pem" in found.detail


def test_version_that_nobody_vouches_for_is_a_warning(ward: Ward) -> None:
    (ward.pod.store_folder / layout.statement(BUNDLE, "v2")).unlink()
    found = ward.examine()["statement"]
    assert found.warning
    assert "nobody vouches for it" in found.detail


@pytest.mark.parametrize("kind", ["version", "files", "tarball"])
def test_object_that_cannot_be_had_is_named(kind: str, ward: Ward) -> None:
    tree = ward.pod.shelf.record.live.content.tree
    key = {
        "version": layout.version(BUNDLE, "v2"),
        "files": layout.files(BUNDLE, tree),
        "tarball": layout.tarball(BUNDLE, tree),
    }[kind]
    (ward.pod.store_folder / key).unlink()
    found = {name: said for name, said in ward.amiss().items() if name != "statement"}
    assert list(found) == [kind], found


def test_channel_that_is_not_there_is_named(ward: Ward) -> None:
    only(ward.amiss(channel="production"), "channel", "has no record")


def test_root_of_another_bundle_is_named(ward: Ward) -> None:
    found = ward.amiss(bundle="other")
    assert "belongs to bundle" in found["memory"]


def test_memory_that_cannot_be_read_is_named(ward: Ward) -> None:
    (ward.root / "state.json").write_bytes(b"{")
    found = ward.amiss()
    assert "not JSON" in found["memory"]


def test_store_that_is_away_is_told_once(ward: Ward) -> None:
    ward.pod.store_folder.rename(ward.folder / "away")
    found = ward.examine()
    assert [one.name for one in found.values() if one.fails and one.name not in ("credentials", "clock")] == ["channel"]


def test_store_that_is_none_is_named(ward: Ward) -> None:
    found = ward.amiss(store="ftp://host/x")
    assert "ftp" in found["credentials"]


def test_clock_that_is_behind_the_store_is_named(ward: Ward) -> None:
    ward.now -= 3600
    only(ward.amiss(), "clock", "behind the store's; 60 s are allowed")


# The endpoint


def test_package_that_serve_needs_and_is_not_there_is_named(ward: Ward, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hypercorn", None)  # as if it were not installed
    only(ward.amiss(), "packages", "hypercorn not installed")


def test_port_that_is_taken_is_named(ward: Ward) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        only(ward.amiss(port=taken.getsockname()[1]), "port", "the port is in use")


@pytest.mark.parametrize("port", [8793, 8794, 8080, 8974, 5555])
def test_port_of_airflow_is_named_also_while_it_is_free(port: int, ward: Ward) -> None:
    only(ward.amiss(port=port), "port", f"{port} is the port of")


def test_address_of_another_machine_is_named(ward: Ward) -> None:
    found = ward.amiss(host="192.0.2.1")
    assert set(found) == {"port", "exposure"}
    assert "in clear" in found["exposure"]


def test_nobody_to_ask_and_no_polling_is_named(ward: Ward) -> None:
    only(ward.amiss(tokens_file=None, poll_seconds=0), "tokens", "would never hear of a new release")
    assert ward.amiss(tokens_file=None) == {}


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "No such file"), (b"[", "not JSON"), (b"[]", "none of the 0 tokens"), (b'[{"id": "a"}]', "sha256")],
    ids=["missing", "no JSON", "empty", "half an entry"],
)
def test_tokens_file_that_lets_nobody_in_is_named(content: bytes | None, words: str, ward: Ward) -> None:
    file = ward.folder / "other.json"
    if content is not None:
        file.write_bytes(content)
    only(ward.amiss(tokens_file=file), "tokens", words)


def test_tokens_that_are_over_are_named(ward: Ward) -> None:
    file = ward.folder / "tokens.json"
    (entry,) = json.loads(file.read_bytes())
    file.write_text(json.dumps([{**entry, "not_after": utc(ward.now - 1)}]))
    only(ward.amiss(), "tokens", "none of the 1 tokens")


@pytest.mark.parametrize(("days", "fails", "words"), [(30, False, ""), (2, False, "renew it"), (-1, True, "is over")])
def test_certificate_is_looked_at_and_its_time(days: int, fails: bool, words: str, ward: Ward) -> None:
    files = _certificate(ward, datetime.fromtimestamp(ward.now, timezone.utc) + timedelta(days=days))
    found = ward.examine(tls_cert=files[0], tls_key=files[1], host="0.0.0.0")
    assert (found["tls"].fails, words in found["tls"].detail, found["tls"].ok) == (fails, True, not words)
    assert found["exposure"].ok


def test_certificate_with_another_key_is_named(ward: Ward) -> None:
    cert, _ = _certificate(ward, datetime.now(timezone.utc) + timedelta(days=30))
    _, key = _certificate(ward, datetime.now(timezone.utc) + timedelta(days=30), "other")
    only(ward.amiss(tls_cert=cert, tls_key=key), "tls", "the key is not that of the certificate")


def _certificate(ward: Ward, until: datetime, name: str = "tls") -> tuple[Path, Path]:
    issued = trustme.CA().issue_cert("localhost", not_after=until, not_before=until - timedelta(days=90))
    cert, key = ward.folder / f"{name}.crt", ward.folder / f"{name}.key"
    issued.cert_chain_pems[0].write_to_path(str(cert))
    issued.private_key_pem.write_to_path(str(key))
    return cert, key
