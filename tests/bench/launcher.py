"""Starts commands one after the other, as they are told on stdin, and says what each used.

    python -I -S -m tests.bench.launcher

A process of its own, because what a process had in memory before ``exec`` counts as its peak: the peaks that are told
begin at the nine megabytes of this one, and not at what the bench itself takes. One line of JSON each way.
"""

from __future__ import annotations

import json
import os
import sys


def _become(asked: dict[str, object]) -> None:
    """Be the command, from now on."""
    os.chdir(str(asked["cwd"]))
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    for target, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(str(asked[name]), flags, 0o600), target)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    command, env = asked["command"], asked["env"]
    assert isinstance(command, list)
    assert isinstance(env, dict)
    os.execvpe(command[0], command, env)


def main() -> None:
    """Serve until stdin ends."""
    for line in sys.stdin:
        asked = json.loads(line)
        child = os.fork()
        if child == 0:
            try:
                _become(asked)
            finally:
                os._exit(127)
        _, status, used = os.wait4(child, 0)
        told = {
            "code": os.waitstatus_to_exitcode(status),
            "cpu": used.ru_utime + used.ru_stime,
            "peak": used.ru_maxrss * 1024,
            "written": used.ru_oublock * 512,
        }
        sys.stdout.write(json.dumps(told) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
