"""The main job of dagferry, told step by step; ``ci/demo`` prepares the virtual environment and starts this.

The steps are in `ci.demonstration.steps`. The first thing that is not as promised ends the demo with exit code 1.
"""

from __future__ import annotations

import argparse
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # ci/demo keeps every other folder out

from ci.demonstration import processes, store
from ci.demonstration.commands import PROGRAMS, Commands
from ci.demonstration.steps import Stage, tell
from ci.demonstration.story import Broken, Story

EPILOG = """
--store file, s3 and gs need nothing of this machine and use no cloud configuration that it has: file is a folder; s3
and gs start a small server of their own on loopback (the first time, installing it takes a minute or two).

--store URL is a store of yours: s3://BUCKET/PREFIX, gs://BUCKET/PREFIX, file:///DIR or a path with a slash. It is used
with your environment and credentials, below a prefix that no one else uses. The demo says which, and leaves what it
stored there.

exit codes: 0 all is as promised, 1 something is not, 2 wrong usage, 130 Ctrl-C
"""


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="ci/demo",
        description="Run dagferry's main job in a temporary folder.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("repository", nargs="?", type=top_of, metavar="DAG-REPOSITORY",
                        help="a git repository whose clone is delivered; without it: ci/sample-dags")  # fmt: skip
    parser.add_argument("--store", type=store.choice, default="file", metavar="file|s3|gs|URL",
                        help="where to publish to; without it: file")  # fmt: skip
    parser.add_argument("--keep", action="store_true",
                        help="leave agent, server and folder, and say how to end them")  # fmt: skip
    return parser.parse_args()


def top_of(repository: str) -> Path:
    """The top of the working tree, or the bare repository. For argparse, which exits with 2 if it is neither."""
    for question in ("--show-toplevel", "--absolute-git-dir"):
        done = subprocess.run(
            ["git", "-C", repository, "rev-parse", question], capture_output=True, text=True, check=False
        )
        if done.returncode == 0:
            return Path(done.stdout.rstrip("\n"))
    raise argparse.ArgumentTypeError(f"{repository} is not a git repository: {done.stderr.strip()}")


def main() -> int:
    """Tell the story, clean up; 0 if everything was as promised."""
    asked = arguments()
    processes.end_on_signals()
    ends = ExitStack()
    try:
        perform(asked, ends)
        return 0
    except Broken as broken:
        print(f"\nerror: {broken}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return 130
    finally:
        processes.ignore_signals()
        ends.close()
        if asked.store not in store.OWN:
            print(f"\nYour store: what was put there lies below {asked.store} and was not deleted.")


def perform(asked: argparse.Namespace, ends: ExitStack) -> None:
    """The story from its first to its last line; what has to be ended is in ``ends``. Raises `Broken`."""
    began = time.monotonic()
    with processes.undisturbed():
        folder = Path(tempfile.mkdtemp(prefix="dagferry-demo-")).resolve()
        ends.callback(shutil.rmtree, folder)
    print(f"DEMO={folder}")
    story = Story()
    chosen = store.open_chosen(asked.store, folder, story, ends)
    stage = tell(story, Commands(story, folder, chosen.surroundings), chosen, asked.repository, ends)
    assert stage.agent is not None
    if asked.keep:
        ends.pop_all()
        say_how_to_end(stage)
    else:
        story.step("The end")
        story.command("kill", *(("%2", "%1") if chosen.server else ("%1",)))
        story.check(stage.agent.stop() == 0, "the agent ended with exit code 0")
    print(f"\nAll {story.facts} facts are as promised ({time.monotonic() - began:.1f} s).")


def say_how_to_end(stage: Stage) -> None:
    assert stage.agent is not None
    processes_kept = [stage.agent.process]
    print(f"\nKept: {stage.folder}, and the agent at {stage.agent.url} (process {stage.agent.process.pid}).")
    if stage.store.server:
        processes_kept.append(stage.store.server)
        print(f"Kept too: the server of the store (process {stage.store.server.pid}); its objects are in its memory.")
    print("To look around:")
    print(f"   export PATH={shlex.quote(str(PROGRAMS))}:$PATH")
    if in_the_way := stage.store.in_the_way():
        print(f"   unset {' '.join(in_the_way)}")
    for name, value in stage.commands.shown.items():
        print(f"   export {name}={shlex.quote(value)}")
    print(f"   cd {shlex.quote(str(stage.repository.clone))} && dagferry status")
    print("To end it:")
    print(f"   kill {' '.join(str(one.pid) for one in processes_kept)}; rm -rf {shlex.quote(str(stage.folder))}")


if __name__ == "__main__":
    sys.exit(main())
