"""A throw-away Ceph cluster on the loopback interface, with its S3 server radosgw in front.

One monitor, one storage daemon that keeps all in memory, one gateway. On Debian the packages are ceph-mon, ceph-osd and
radosgw; ``ci/test radosgw`` installs them.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import uuid
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.storage.processes import PATIENCE, free_port, listens, running
from tests.storage.servers import CREDENTIALS, make_bucket_signed

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAMS: Final = ("ceph", "ceph-authtool", "ceph-mon", "ceph-osd", "monmaptool", "radosgw", "radosgw-admin")
CAPABILITIES: Final = {
    "mon.": {"mon": "allow *"},
    "client.admin": {"mon": "allow *", "osd": "allow *"},
    "osd.0": {"mon": "allow profile osd", "osd": "allow *"},
    "client.rgw": {"mon": "allow rw", "osd": "allow rwx"},
}
# Pools of one copy with one placement group: there is one daemon. The paxos intervals are seconds that a monitor waits
# for more changes before it decides; each new pool costs one.
CONFIGURATION: Final = """\
[global]
fsid = {fsid}
mon_host = [v2:127.0.0.1:{monitor}]
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
keyring = {folder}/keyring
run_dir = {folder}
admin_socket =
pid_file =
crash_dir = {folder}
log_to_file = false
log_to_stderr = true
mon_cluster_log_to_file = false
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 1
osd_pool_default_pgp_num = 1
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0
mon_allow_pool_size_one = true
paxos_propose_interval = 0.05
paxos_min_wait = 0.01
[mon.a]
host = localhost
mon_data = {folder}/mon
[osd.0]
osd_data = {folder}/osd
osd_objectstore = memstore
[client.rgw]
rgw_data = {folder}/rgw
rgw_frontends = beast endpoint=127.0.0.1:{gateway}
rgw_thread_pool_size = 32
"""


@contextmanager
def radosgw() -> Iterator[str]:
    """The endpoint of a radosgw with an empty bucket `BUCKET`; `CREDENTIALS` are those of its one user."""
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if missing:
        raise AssertionError(f"there is no {', '.join(missing)}: as root, `ci/test radosgw` installs what is missing")
    with tempfile.TemporaryDirectory(prefix="dagferry-radosgw-", ignore_cleanup_errors=True) as place:
        folder, monitor, gateway = Path(place), free_port(), free_port()
        fsid = str(uuid.uuid4())
        conf = CONFIGURATION.format(folder=folder, fsid=fsid, monitor=monitor, gateway=gateway)
        (folder / "ceph.conf").write_text(conf)
        _prepare(folder, fsid, monitor)
        with running(_daemon(folder, "ceph-mon", "--id=a"), folder, partial(listens, monitor)):
            _make_storage(folder)
            with (
                running(_daemon(folder, "ceph-osd", "--id=0"), folder, lambda: True),
                running(_daemon(folder, "radosgw", "--name=client.rgw"), folder, partial(listens, gateway)),
            ):
                _make_user(folder)
                make_bucket_signed(f"http://127.0.0.1:{gateway}")
                yield f"http://127.0.0.1:{gateway}"


def _prepare(folder: Path, fsid: str, monitor: int) -> None:
    """The keys of all daemons, and what the monitor knows when it starts."""
    for name in ("mon", "osd", "rgw"):
        (folder / name).mkdir()
    for number, (name, may) in enumerate(CAPABILITIES.items()):
        caps = [word for what, right in may.items() for word in ("--cap", what, right)]
        create = [] if number else ["--create-keyring"]
        _run(folder, "ceph-authtool", "keyring", *create, "--gen-key", "--name", name, *caps)
    _run(folder, "monmaptool", "--create", "--fsid", fsid, "--addv", "a", f"[v2:127.0.0.1:{monitor}]", "monmap")
    _run(folder, *_conf("ceph-mon"), "--id=a", "--mkfs", "--monmap=monmap", "--keyring=keyring")


def _make_storage(folder: Path) -> None:
    identity = str(uuid.uuid4())
    _run(folder, *_conf("ceph"), "osd", "new", identity)
    _run(folder, *_conf("ceph-osd"), "--id=0", "--mkfs", f"--osd-uuid={identity}")
    _run(folder, *_conf("ceph"), "osd", "crush", "add", "osd.0", "1.0", "host=localhost", "root=default")


def _make_user(folder: Path) -> None:
    keys = [f"--access-key={CREDENTIALS['AWS_ACCESS_KEY_ID']}", f"--secret-key={CREDENTIALS['AWS_SECRET_ACCESS_KEY']}"]
    _run(folder, *_conf("radosgw-admin", "--name=client.rgw"), "user", "create", "--uid=t", "--display-name=t", *keys)


def _conf(program: str, *options: str) -> tuple[str, ...]:
    return (program, "--conf=ceph.conf", *options)


def _daemon(folder: Path, program: str, name: str) -> list[str]:
    return [program, f"--conf={folder / 'ceph.conf'}", name, "--foreground"]


def _run(folder: Path, *command: str) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, f"{' '.join(command[:6])}: {done.stdout[-1000:]}{done.stderr[-2000:]}"
