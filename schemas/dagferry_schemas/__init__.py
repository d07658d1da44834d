"""The contract of dagferry: formats, names and rules as pure functions and frozen dataclasses over bytes.

Nothing in this package touches a disk, a network or a clock, except `commandline`, where both programs end: exit codes
and the JSON of errors are part of the contract too. ``schemas/FORMAT.md`` is the specification.
"""
