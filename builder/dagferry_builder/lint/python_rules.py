"""The rules that need no Airflow: Python's syntax, certain bugs, and what Airflow 3 took away. Ruff finds them.

Chosen is what raises, or is never what its author meant; style is no business of a delivery. The reasons:

* ``F404 F407 F622 F701 F702 F704 F706 F707 PLE0115 PLE0117 PLE0118 PLE1142 PLE1700``: Python refuses to compile
  the file, though the grammar allows it.
* ``F50x F52x F633 F821 F823 F901 PLE0241 PLE1132 PLE1307``: an exception as soon as the line is reached. A DAG
  file is imported all the time, but the body of a task is run first in production: nothing else finds these there.
* ``F631 F632 F634 PLE1205 PLE1206`` run, and do something else than they say: warnings.
* ``AIR301 AIR302``: every name that Airflow 3.1.8 and 3.3.2 can import was held against them; ruff calls three of them
  gone that are there (`STILL_THERE`). Errors.
* ``AIR303``: other arguments in Airflow 3. A warning.
* ``AIR311 AIR312 AIR321``: old names that Airflow 3 still takes, `from airflow import DAG` among them. Off, until the
  configuration gives them a severity; a real Airflow says when one is gone.
* ``AIR003 AIR304``: true of every Airflow.

``F503``, ``F722`` and ``PLE0704`` were left out: each has uses that work.
"""

from __future__ import annotations

from functools import partial
from typing import Final

from .finding import Rule, Severity

_error = partial(Rule, source="python", severity=Severity.ERROR)
_warning = partial(Rule, source="python", severity=Severity.WARNING)
_advice = partial(Rule, source="python", severity=Severity.OFF)

SYNTAX_ERROR: Final = _error(
    "syntax-error",
    title="the file is no Python",
    explanation=(
        "Python cannot compile the file: its text is wrong, or its syntax is newer than `lint.python_version`. A DAG "
        "file then has an import error and its DAGs do not run; a module that DAGs import takes them all with it."
    ),
    hint="mend the line; `lint.python_version` says which Python production runs",
)


def _refused(code: str, title: str, hint: str) -> Rule:
    return _error(
        code,
        title=title,
        explanation="Python refuses to compile the file with a SyntaxError, so nothing in it can be imported.",
        hint=hint,
    )


def _raises(code: str, title: str, error: str, hint: str) -> Rule:
    return _error(
        code,
        title=title,
        explanation=(
            f"The line raises {error} as soon as it is reached. At the top level of a DAG file that is an import "
            "error; in a task it is found when the task runs in production."
        ),
        hint=hint,
    )


_PERCENT: Final = "make the placeholders and the values after `%` agree"
_FORMAT: Final = "make the placeholders and the arguments of `format` agree"
_GLOBAL: Final = "state it once, before the first use of the name"

CERTAIN: Final = (
    _refused("F404", "`from __future__` stands too late", "move it to the top of the file"),
    _refused("F407", "there is no such future feature", "remove the import"),
    _refused("F622", "two starred names in one assignment", "keep one star"),
    _refused("F701", "`break` outside a loop", "remove it, or put it into the loop"),
    _refused("F702", "`continue` outside a loop", "remove it, or put it into the loop"),
    _refused("F704", "`yield` or `await` outside a function", "put it into a function"),
    _refused("F706", "`return` outside a function", "put it into a function"),
    _refused("F707", "a bare `except:` is not the last one", "move it to the end, or name what it catches"),
    _refused("PLE0115", "a name is both `nonlocal` and `global`", "keep one of both"),
    _refused("PLE0117", "`nonlocal` names nothing around it", "assign it in the function around, or use `global`"),
    _refused("PLE0118", "a name is used before its `global`", _GLOBAL),
    _refused("PLE1142", "`await` in a function that is not async", "make it `async def`"),
    _refused("PLE1700", "`yield from` in an async function", "use `async for`"),
    _raises("F501", "a `%` format that is none", "ValueError", _PERCENT),
    _raises("F502", "a `%` format wants names and gets a sequence", "TypeError", _PERCENT),
    _raises("F505", "a `%` format names a value that is not given", "KeyError", _PERCENT),
    _raises("F506", "a `%` format mixes names and positions", "TypeError", _PERCENT),
    _raises("F507", "a `%` format has another number of values", "TypeError", _PERCENT),
    _raises("F508", "a `*` in a `%` format wants a sequence", "TypeError", _PERCENT),
    _raises("F509", "a `%` format with an unknown letter", "ValueError", _PERCENT),
    _raises("F521", "a `format` text that is none", "ValueError", _FORMAT),
    _raises("F524", "`format` names a value that is not given", "IndexError or KeyError", _FORMAT),
    _raises("F525", "`format` mixes numbered and unnumbered places", "ValueError", _FORMAT),
    _raises("F633", "`print >>` is Python 2", "TypeError", "use `print(..., file=...)`"),
    _raises("F821", "a name that is not defined", "NameError", "import or define it, or mend the spelling"),
    _raises("F823", "a local name is used before it has a value", "UnboundLocalError", "assign it first, or rename it"),
    _raises("F901", "`raise NotImplemented`", "TypeError", "raise `NotImplementedError`"),
    _raises("PLE0241", "a class has the same base twice", "TypeError", "name it once"),
    _raises("PLE1132", "a keyword is given twice", "TypeError", "keep one of both"),
    _raises("PLE1307", "a `%` format gets a value of another type", "TypeError", _PERCENT),
    _warning(
        "F631",
        title="an `assert` that cannot fail",
        explanation="A tuple with something in it is always true, so `assert (condition, message)` checks nothing.",
        hint="remove the parentheses",
    ),
    _warning(
        "F632",
        title="`is` compares with a literal",
        explanation=(
            "`is` asks for the same object, not for the same value. Whether two equal texts or numbers are one object "
            "depends on the interpreter, so this may work in a test and fail with a value that was read."
        ),
        hint="use `==`",
    ),
    _warning(
        "F634",
        title="an `if` that is always true",
        explanation="A tuple with something in it is always true, so the branch is taken whatever the condition says.",
        hint="remove the comma or the parentheses",
    ),
    _warning(
        "PLE1205",
        title="a log call has too many arguments",
        explanation="`logging` catches the error and prints a traceback instead of the line, which is lost.",
        hint="make the placeholders and the arguments agree",
    ),
    _warning(
        "PLE1206",
        title="a log call has too few arguments",
        explanation="`logging` catches the error and prints a traceback instead of the line, which is lost.",
        hint="make the placeholders and the arguments agree",
    ),
)

AIRFLOW_3: Final = (
    _error(
        "AIR301",
        title="Airflow 3 has no such thing",
        explanation=(
            "A module, an argument or a context key that Airflow 3.0 removed. An import or an argument of a DAG is an "
            "import error of the whole file; in a task it is found when the task runs."
        ),
        hint="use what Airflow 3 has instead",
    ),
    _error(
        "AIR302",
        title="it moved out of Airflow 3 into a provider",
        explanation=(
            "Airflow 3.0 moved the class into a provider's package and left nothing at the old place, so the import "
            "fails even where the provider is installed."
        ),
        hint="import it from the provider, and have that in the image",
    ),
    _warning(
        "AIR303",
        title="Airflow 3 takes other arguments here",
        explanation=(
            "The function has another signature in Airflow 3. Some of these calls raise, others put a value into "
            "another parameter without a word."
        ),
        hint="give the arguments by name, as Airflow 3 calls them",
    ),
    _advice(
        "AIR311",
        title="an old name that later releases of Airflow 3 drop",
        explanation=(
            "It works in Airflow 3.0 through a layer that is meant to go: `airflow.datasets` is there in 3.1.8 and "
            "gone in 3.3.2, with an import error for each file that uses it."
        ),
        hint="import it from `airflow.sdk`",
    ),
    _advice(
        "AIR312",
        title="an old name of what a provider has now",
        explanation="It works in Airflow 3 as long as the provider is installed, through a layer that is meant to go.",
        hint="import it from the provider",
    ),
)
AIRFLOW_3_1: Final = (
    _advice(
        "AIR321",
        title="an old name since Airflow 3.1",
        explanation="It works in Airflow 3.1.8 and 3.3.2, through a layer that is meant to go.",
        hint="import it from `airflow.sdk`",
    ),
)
DYNAMIC_VALUE: Final = _warning(
    "AIR304",
    title="a DAG or task has a value that changes at each parse",
    explanation=(
        "With `start_date=datetime.now()` or a random value the definition is another one at each parse. In Airflow "
        "3 each is stored as a new version of the DAG, without end; a start that moves along never comes."
    ),
    hint="write a fixed value; what depends on the run belongs into a template or a task",
)
VARIABLE_AT_PARSE: Final = _warning(
    "AIR003",
    title="a Variable is read while the file is parsed",
    explanation=(
        "Airflow parses every DAG file again and again, each 30 s by default, and each time the Variable is fetched "
        "from the database or the secrets backend. If it is missing there, the file has an import error. A real "
        "Airflow, where one takes part in lint, sees more of this."
    ),
    hint="read it in a task, or as `{{ var.value.name }}` in a template",
)

RULES: Final = (SYNTAX_ERROR, *CERTAIN, *AIRFLOW_3, *AIRFLOW_3_1, DYNAMIC_VALUE, VARIABLE_AT_PARSE)

STILL_THERE: Final = (
    "airflow.notifications.basenotifier.BaseNotifier",
    "airflow.operators.email.EmailOperator",
    "airflow.operators.python.get_current_context",
)
"""What ruff calls removed or moved, and Airflow 3.1.8 and 3.3.2 import all the same."""
