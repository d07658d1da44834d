"""Signing keys: make one, and show a key as keyrings hold it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dagferry_schemas.commandline import emit, plain
from dagferry_schemas.errors import Usage
from dagferry_schemas.keyring import ALL, ROLES, Key, never_counts
from dagferry_schemas.names import NAME, TIME, check_name, moment
from dagferry_storage import disk
from dagferry_storage.keyring_folder import KeyringFolder, left_out

from . import options
from .signing import open_signer
from .site import now

if TYPE_CHECKING:
    from collections.abc import Callable

    from securesystemslib.signer import Signer

    from dagferry_schemas.keyring import Requirement


def _counting(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say what a key counts for."""
    for add in (
        click.option("--not-after", metavar="TIME", default=None, help="Until when it counts (RFC 3339, UTC)."),
        click.option("--not-before", metavar="TIME", default=None, help="From when on it counts (RFC 3339, UTC)."),
        click.option("--channel", "channels", metavar="C", multiple=True, default=(ALL,), show_default=True,
                     help="A channel that its holder may promote to; repeatable."),
        click.option("--bundle", "bundles", metavar="NAME", multiple=True, default=(ALL,), show_default=True,
                     help="A bundle that it counts for; repeatable."),
        click.option("--role", "roles", type=click.Choice(ROLES), multiple=True, default=ROLES, show_default=True,
                     help="What its holder vouches for: versions, or what is live; repeatable."),
    ):  # fmt: skip
        command = add(command)
    return command


@click.group("keys", no_args_is_help=False)
def keys() -> None:
    """Make signing keys, and show them as keyrings hold them."""


@keys.command("generate")
@click.option("--name", required=True, metavar="NAME", help="What the key is called.")
@options.option(
    "--out", type=click.Path(path_type=Path), default=Path(), metavar="DIR", help="Where its files go. [default: .]"
)
@_counting
@options.output
def generate(name: str, out: Path, output: str, **counting: Any) -> None:  # noqa: ANN401 (click's)
    """Make a key: NAME.pem, which stays secret, and NAME.json for the keyring."""
    from . import keys as making

    check_name("key", name)
    wanted = _checked(counting)
    if wanted["not_after"] is not None and moment(wanted["not_after"]) <= moment(now()):
        raise Usage(f"--not-after {wanted['not_after']} is over: the key would never count", "name a time to come")
    if (out / f"{name}.json").exists():
        raise Usage(f"{out / name}.json exists already", "choose another name, or another folder")
    private = making.generate(out, name)
    signer = open_signer(str(private))
    entry = making.entry(signer, _key(name, signer, wanted))
    public = out / f"{name}.json"
    with disk.doing(f"writing {public}"):
        public.write_bytes(entry)
    facts = {"name": name, "key_id": signer.public_key.keyid, "private": str(private), "public": str(public)}
    emit(
        {**facts, "entry": json.loads(entry)},
        output,
        f"{private}: the private key; whoever has it signs as {name}\n{public}: for the keyrings of agents and CI",
    )


@keys.command("show")
@click.argument("signer", metavar="[KEY]", required=False)
@click.option("--name", default=None, metavar="NAME", help="What the key is called. [default: key]")
@_counting
@options.keyring
@options.output
def show(signer: str | None, name: str | None, keyring: Path | None, output: str, **counting: Any) -> None:  # noqa: ANN401
    """Show the keyring file of KEY (a PEM file, awskms:ID, …), or without one what the keys of --keyring count for."""
    from . import keys as making

    if signer is not None:
        opened = open_signer(signer)
        entry = making.entry(opened, _key(check_name("key", name or "key"), opened, _checked(counting)))
        emit(
            {"name": name, "key_id": opened.public_key.keyid, "entry": json.loads(entry)},
            output,
            entry.decode().rstrip(),
        )
        return
    if keyring is None:
        raise Usage("name a key, or give --keyring", "for example: dagferry keys show ci.pem")
    held = KeyringFolder(keyring).policy(now()).keyring
    assert held is not None
    facts = [_facts(key) for key in held.keys]
    lines = [line for one in facts for line in (_counts_for(one), f"    {one['key_id']}")]
    with disk.doing(f"reading {keyring}"):
        ignored = left_out(keyring)
    lines += [_demands(one) for one in held.requirements]
    lines += [f"not read: {name}; a key is a file NAME.json" for name in ignored]
    required = [vars(one) for one in held.requirements]
    emit({"keys": facts, "requirements": required, "ignored": ignored}, output, "\n".join(map(plain, lines)))


def _demands(one: Requirement) -> str:
    where = f"bundle {one.bundle}, channel {one.channel}"
    return f"required of {where}: {one.promoters} promoters, {one.publishers} publishers, epoch {one.epoch} at least"


def _facts(key: Key) -> dict[str, Any]:
    return {
        "name": key.name,
        "key_id": key.public.key_id,
        "roles": list(key.roles),
        "bundles": list(key.bundles),
        "channels": list(key.channels),
        "not_before": key.not_before,
        "not_after": key.not_after,
    }


def _counts_for(one: dict[str, Any]) -> str:
    roles, bundles, channels = " and ".join(one["roles"]), ", ".join(one["bundles"]), ", ".join(one["channels"])
    return f"{one['name']}: {roles} of {bundles}, channels {channels}{_validity(one)}"


def _validity(one: dict[str, Any]) -> str:
    since = f", from {one['not_before']}" if one["not_before"] else ""
    return since + (f", until {one['not_after']}" if one["not_after"] else "")


def _checked(counting: dict[str, Any]) -> dict[str, Any]:
    for option in ("bundles", "channels"):
        for name in counting[option]:
            if name != ALL and not NAME.fullmatch(name):
                raise Usage(f"{name!r} is neither a name nor '*'", "use letters, digits, '.', '_' or '-', at most 63")
    for option in ("not_before", "not_after"):
        if counting[option] is not None and not TIME.fullmatch(counting[option]):
            raise Usage(f"{counting[option]!r} is no time", "write it like 2027-01-31T00:00:00Z")
    if never_counts(counting["not_before"], counting["not_after"]):
        raise Usage("--not-after is not after --not-before: the key would never count", "name a later time")
    return counting


def _key(name: str, signer: Signer, counting: dict[str, Any]) -> Key:
    from .keys import public_of

    return Key(name=name, public=public_of(signer), **counting)
