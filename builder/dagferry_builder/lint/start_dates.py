"""Start dates that move: found in the source, because one import cannot tell that the next gives another value.

1. A value moves if it calls something that tells the present (``now()``, ``days_ago()``, …), or is a name of the module
   that was assigned such a value and no other. Names of a function's own hide the module's.
2. A start date is the keyword ``start_date`` of a call that makes a DAG or a task, or that key in default arguments.
   Elsewhere the word means something else (an interval to query, a parameter), and is left alone.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY: Final = "start_date"
_PRESENT: Final = frozenset({"now", "today", "utcnow", "days_ago", "yesterday", "tomorrow"})
_TELLING: Final = re.compile(rb"\b(?:" + "|".join(sorted(_PRESENT | {"time"})).encode() + rb")\s*\(")
_DEFAULT_ARGS: Final = re.compile(r"default_?args", re.IGNORECASE)
_BESIDE: Final = frozenset({"owner", "depends_on_past", "retries", "retry_delay", "email_on_failure"})
"""Keys that make a dict with ``start_date`` default arguments, wherever it stands."""
_Function = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


@dataclass(frozen=True)
class Moving:
    """A start date that moves: the line of what is to be mended, and what moves it."""

    line: int
    because: str


def may_move(source: bytes) -> bool:
    """Whether it is worth to parse a source: it has a start date, and calls something that tells the present."""
    return KEY.encode() in source and _TELLING.search(source) is not None


def moving(module: ast.Module) -> list[Moving]:
    """The start dates in ``module`` that move, by line."""
    source = _Source(module)
    found = {one for value, hidden in source.start_dates() if (one := source.judge(value, hidden))}
    return sorted(found, key=lambda one: (one.line, one.because))


class _Source:
    def __init__(self, module: ast.Module) -> None:
        self._module = module
        self._arguments = set(_names_of_arguments(module))
        self._moving: dict[str, ast.Call] = {}
        still = set()
        for name, value in _assigned(module.body):
            call = self._present_in(value, frozenset())
            if call is None:
                still.add(name)
            else:
                self._moving.setdefault(name, call)
        for name in still:
            self._moving.pop(name, None)

    def judge(self, value: ast.expr, hidden: frozenset[str]) -> Moving | None:
        """Whether a start date of this value moves."""
        call = self._present_in(value, hidden)
        if call is None:
            return None
        inside = value.lineno <= call.lineno <= (value.end_lineno or value.lineno)
        text = ast.unparse(call)
        return Moving(call.lineno if inside else value.lineno, text if inside else f"{text} in line {call.lineno}")

    def _present_in(self, value: ast.expr, hidden: frozenset[str]) -> ast.Call | None:
        waiting: list[ast.AST] = [value]
        while waiting:
            node = waiting.pop()
            if isinstance(node, ast.Lambda):  # runs later
                continue
            if isinstance(node, ast.Call) and _tells_the_present(node):
                return node
            if isinstance(node, ast.Name) and node.id not in hidden and node.id in self._moving:
                return self._moving[node.id]
            waiting.extend(ast.iter_child_nodes(node))
        return None

    def start_dates(self) -> Iterator[tuple[ast.expr, frozenset[str]]]:
        """The values of start dates, and the names that hide the module's there."""
        waiting: list[tuple[ast.AST, frozenset[str], bool]] = [(self._module, frozenset(), False)]
        while waiting:
            node, hidden, inside = waiting.pop()
            yield from ((value, hidden) for value in self._of(node, inside=inside))
            own = hidden | _own_names(node) if isinstance(node, _Function) else hidden
            body = {id(one) for one in _body(node)} if isinstance(node, _Function) else set()
            for child in ast.iter_child_nodes(node):
                in_body = id(child) in body
                waiting.append((child, own if in_body else hidden, inside or in_body))

    def _of(self, node: ast.AST, *, inside: bool) -> Iterator[ast.expr]:
        match node:
            case ast.Call(keywords=keywords):
                if _makes_dag_or_task(node, inside=inside):
                    yield from (one.value for one in keywords if one.arg == KEY)
                yield from (value for one in keywords if one.arg == "default_args" for value in _in_dict(one.value))
            case (
                ast.Assign(targets=[ast.Name(id=name)], value=value)
                | ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value)
            ) if name in self._arguments or _DEFAULT_ARGS.search(name):
                yield from _in_dict(value)
            case ast.Assign(
                targets=[ast.Subscript(value=ast.Name(id=name), slice=ast.Constant(value="start_date"))], value=value
            ) if name in self._arguments or _DEFAULT_ARGS.search(name):
                yield value
            case ast.Dict(keys=keys) if _BESIDE & {one.value for one in keys if isinstance(one, ast.Constant)}:
                yield from _in_dict(node)


def _tells_the_present(call: ast.Call) -> bool:
    match call.func:
        case ast.Name(id=name):
            return name in _PRESENT
        case ast.Attribute(value=ast.Name(id="time"), attr="time"):
            return True
        case ast.Attribute(attr=name):
            return name in _PRESENT
    return False


def _makes_dag_or_task(call: ast.Call, *, inside: bool) -> bool:
    """Whether the call makes a DAG or a task. A factory is known by its name, and outside functions only."""
    name = _last_name(call.func)
    if name in ("DAG", "dag") or any(keyword.arg == "task_id" for keyword in call.keywords):
        return True
    if name == "partial" and call.args and _last_name(call.args[0]) == "DAG":
        return True
    return not inside and "dag" in name.lower()


def _last_name(function: ast.expr) -> str:
    match function:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return ""


def _in_dict(value: ast.expr) -> Iterator[ast.expr]:
    """The start dates in a dict, written as such or as ``dict(…)``."""
    if isinstance(value, ast.Dict):
        pairs = zip(value.keys, value.values, strict=True)
        yield from (given for key, given in pairs if isinstance(key, ast.Constant) and key.value == KEY)
    elif isinstance(value, ast.Call) and _last_name(value.func) == "dict":
        yield from (keyword.value for keyword in value.keywords if keyword.arg == KEY)


def _names_of_arguments(module: ast.Module) -> Iterator[str]:
    """The names that are handed to something as its default arguments, or by ``**`` to what makes a DAG or a task."""
    for node in ast.walk(module):
        if isinstance(node, ast.Call):
            for keyword in node.keywords:
                spread = keyword.arg is None and _makes_dag_or_task(node, inside=True)
                if isinstance(keyword.value, ast.Name) and (spread or keyword.arg == "default_args"):
                    yield keyword.value.id


def _assigned(body: list[ast.stmt]) -> Iterator[tuple[str, ast.expr]]:
    """What a scope assigns to its names, in order, and not what functions and classes in it assign to theirs."""
    for statement in body:
        match statement:
            case ast.Assign(targets=targets, value=value):
                yield from ((target.id, value) for target in targets if isinstance(target, ast.Name))
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                yield name, value
            case ast.If() | ast.For() | ast.While() | ast.With() | ast.Try():
                for blocks in ("body", "orelse", "finalbody"):
                    yield from _assigned(getattr(statement, blocks, []))
                for handler in getattr(statement, "handlers", []):
                    yield from _assigned(handler.body)


def _own_names(function: ast.AST) -> frozenset[str]:
    """The names that a function has for itself: its parameters, and all that is bound in it."""
    return frozenset(
        node.arg if isinstance(node, ast.arg) else node.id
        for node in ast.walk(function)
        if isinstance(node, ast.arg) or (isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store))
    )


def _body(function: ast.AST) -> list[ast.AST]:
    body = getattr(function, "body", [])
    return body if isinstance(body, list) else [body]
