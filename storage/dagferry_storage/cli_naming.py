"""Options that name a place or a key: a store, a bundle, a channel, a keyring; of both programs' command lines.

* An empty value is wrong usage, wherever it comes from. It is a variable that was never set, such as a secret that CI
  does not hand to this job, and must not turn into a default: the command would succeed, in another place, or would
  believe what nobody has signed.
* As ever the flag wins: beside one, an empty variable is not looked at.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from dagferry_schemas.errors import Usage

if TYPE_CHECKING:
    from typing import Any


class Naming(click.Option):
    """An option that reads one environment variable, and whose value is never empty. Raises `Usage`."""

    def resolve_envvar_value(self, ctx: click.Context) -> str | None:
        """The variable's value; None if it is not set."""
        # click itself takes an empty variable for one that is not set.
        found = os.environ.get(self.envvar) if isinstance(self.envvar, str) else None
        if not ctx.resilient_parsing and found is not None and not found.strip():
            raise Usage(
                f"the variable {self.envvar} is empty",
                f"set it, or unset it, or give {self.opts[0]}; in CI, look whether this job gets the secret",
            )
        return super().resolve_envvar_value(ctx)

    def process_value(self, ctx: click.Context, value: Any) -> Any:  # noqa: ANN401 (as click has it)
        """The value, as it is."""
        if (value == "" or (isinstance(value, tuple | list) and "" in value)) and not ctx.resilient_parsing:
            configured = self.name and ctx.get_parameter_source(self.name) is ParameterSource.DEFAULT_MAP
            what = (
                f"{self.opts[0].removeprefix('--')} in the config file" if configured else f"the option {self.opts[0]}"
            )
            raise Usage(f"{what} is empty", "give it a value, or leave it out; a shell variable in it may not be set")
        return super().process_value(ctx, value)
