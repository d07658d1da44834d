"""What the sources of a DAG say without being run: where DAGs and tasks are written, and whether a word is used.

1. Ids count where they are literals, or names of constants of the module; a decorated function has its own name.
2. A DAG is what Airflow's ``DAG`` or ``@dag`` makes, under whatever name it was imported. One that a library outside
   the tree makes cannot be known, nor can one that gets its arguments by ``**``.
3. A file that cannot be parsed says nothing; other sources tell why.
"""

from __future__ import annotations

import ast
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from .start_dates import KEY, moving

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from dagferry_schemas.inventory import DagFacts

    from .checkout import Checkout
    from .start_dates import Moving

_MAKERS: Final = frozenset({"DAG", "dag"})
WORDS: Final = frozenset({"catchup", "start_date"})
"""The words that `Sources.says` can be asked for."""


@dataclass(frozen=True)
class DagCall:
    """A call that makes a DAG. ``id`` is None if it is computed; ``open``: it gets further arguments by ``**``."""

    line: int
    id: str | None
    keywords: frozenset[str]
    open: bool


@dataclass(frozen=True)
class Look:
    """What one Python source says: its DAGs and tasks (ids and lines) in order, and its start dates that move.

    ``words`` are those of `WORDS` that it uses as a name, a keyword or a text, other than as a keyword of ``dags``.
    """

    dags: tuple[DagCall, ...]
    tasks: tuple[tuple[str, int], ...]
    words: frozenset[str]
    moving: tuple[Moving, ...]


class _Reading:
    """One source while it is read; the nodes are many, so nothing of this is kept."""

    def __init__(self, module: ast.Module) -> None:
        self._module = module
        self._nodes = list(ast.walk(module))
        self._imported = dict(_from_airflow(self._nodes))
        self._constants = _constants(module)

    def look(self) -> Look:
        found = list(self._dag_calls())
        known = {id(keyword) for _, keywords in found for keyword in keywords}
        words = {word for node in self._nodes if id(node) not in known and (word := _word(node)) in WORDS}
        return Look(
            dags=tuple(sorted((call for call, _ in found), key=lambda call: call.line)),
            tasks=tuple(sorted(self._tasks(), key=lambda task: task[1])),
            words=frozenset(word for word in words if word),
            moving=tuple(moving(self._module))
            if KEY in words or any(KEY in call.keywords for call, _ in found)
            else (),
        )

    def _dag_calls(self) -> Iterator[tuple[DagCall, list[ast.keyword]]]:
        decorators = {}
        for node in self._nodes:
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                for one in node.decorator_list:
                    decorators[id(one)] = node.name
                    if not isinstance(one, ast.Call) and self._makes_dag(one):
                        yield DagCall(one.lineno, node.name, frozenset(), open=False), []
        for node in self._nodes:
            if isinstance(node, ast.Call) and self._makes_dag(node.func):
                keywords = frozenset(keyword.arg for keyword in node.keywords if keyword.arg)
                is_open = any(keyword.arg is None for keyword in node.keywords)
                name = self._id_of(node, "dag_id", decorators.get(id(node)))
                yield DagCall(node.lineno, name, keywords, is_open), node.keywords

    def _makes_dag(self, function: ast.expr) -> bool:
        if isinstance(function, ast.Name):
            return self._imported.get(function.id) in _MAKERS
        return isinstance(function, ast.Attribute) and function.attr in _MAKERS and _root(function) in self._imported

    def _tasks(self) -> Iterator[tuple[str, int]]:
        decorators = {}
        for node in self._nodes:
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                for one in node.decorator_list:
                    decorators[id(one)] = node.name
                    yield node.name, one.lineno
        for node in self._nodes:
            if isinstance(node, ast.Call) and any(keyword.arg == "task_id" for keyword in node.keywords):
                name = self._id_of(node, "task_id", None)
                if name is not None:
                    yield name, node.lineno

    def _id_of(self, call: ast.Call, keyword: str, default: str | None) -> str | None:
        given = [one.value for one in call.keywords if one.arg == keyword] or (call.args[:1])
        if not given:
            return default
        value = given[0]
        if isinstance(value, ast.Name):
            return self._constants.get(value.id)
        return value.value if isinstance(value, ast.Constant) and isinstance(value.value, str) else None


class Sources:
    """The sources of a checkout; each is parsed once, and only if somebody asks."""

    def __init__(self, checkout: Checkout) -> None:
        self._checkout = checkout
        self._looks: dict[str, Look | None] = {}

    def look(self, path: str) -> Look | None:
        """What the Python source at ``path`` says; None if it is none, or cannot be parsed."""
        if path not in self._looks:
            is_source = path.endswith(".py") and path in self._checkout.files
            self._looks[path] = parse(self._checkout.read(path)) if is_source else None
        return self._looks[path]

    def dag_line(self, dag: DagFacts) -> int:
        """Where the DAG is written in its file: the call with its id, else the first that makes a DAG, else 0."""
        look = self.look(dag.file)
        calls = look.dags if look else ()
        return next((call.line for call in calls if call.id == dag.id), calls[0].line if calls else 0)

    def task_line(self, dag: DagFacts, task_id: str) -> int:
        """Where the task is written in the DAG's file: the first after the DAG's own line; else the DAG's line."""
        look, start = self.look(dag.file), self.dag_line(dag)
        names = {task_id, task_id.rpartition(".")[2]}
        lines = [line for name, line in look.tasks if name in names] if look else []
        return next((line for line in lines if line >= start), lines[0] if lines else start)

    def says(self, dag: DagFacts, reads: Iterable[str], word: str) -> bool | None:
        """Whether the DAG's call, or anything else in its file or in what that ``reads``, uses the word (of `WORDS`).

        None if that cannot be known: what makes the DAG is not in the tree, or is not all there to see.
        """
        paths = dict.fromkeys((dag.file, *reads))
        looks = [look for path in paths if (look := self.look(path))]
        calls = [call for look in looks for call in look.dags]
        calls = [call for call in calls if call.id == dag.id] or [call for call in calls if call.id is None]
        if any(word in look.words for look in looks) or any(word in call.keywords for call in calls):
            return True
        if any(self._mentions(path, word) for path in paths):
            return True
        return None if not calls or any(call.open for call in calls) else False

    def _mentions(self, path: str, word: str) -> bool:
        """Whether a file that is no Python has the word (think of YAML that a factory reads)."""
        return path in self._checkout.files and not path.endswith(".py") and word.encode() in self._checkout.read(path)


def parse(source: bytes) -> Look | None:
    """What the source says; None if it cannot be parsed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of strange escapes, which the compiler would print
        try:
            return _Reading(ast.parse(source)).look()
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None


def _from_airflow(nodes: Iterable[ast.AST]) -> Iterator[tuple[str, str]]:
    """The names that come from Airflow, and what they are there."""
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] == "airflow":
            yield from ((name.asname or name.name, name.name) for name in node.names)
        elif isinstance(node, ast.Import):
            for name in node.names:
                if name.name.partition(".")[0] == "airflow":
                    yield name.asname or "airflow", name.name


def _constants(module: ast.Module) -> dict[str, str]:
    """The module's names that are given a text, once."""
    found: dict[str, list[str | None]] = {}
    for node in module.body:
        if isinstance(node, ast.Assign):
            value = node.value.value if isinstance(node.value, ast.Constant) else None
            for target in node.targets:
                if isinstance(target, ast.Name):
                    found.setdefault(target.id, []).append(value if isinstance(value, str) else None)
    return {name: values[0] for name, values in found.items() if len(values) == 1 and values[0] is not None}


def _root(attribute: ast.Attribute) -> str | None:
    value: ast.expr = attribute
    while isinstance(value, ast.Attribute):
        value = value.value
    return value.id if isinstance(value, ast.Name) else None


def _word(node: ast.AST) -> str | None:
    match node:
        case ast.Name(id=word) | ast.Attribute(attr=word) | ast.arg(arg=word) | ast.keyword(arg=word):
            return word
        case ast.Constant(value=str(word)):
            return word
    return None
