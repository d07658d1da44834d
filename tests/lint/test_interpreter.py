"""A command in lint.python that is no Python with an Airflow is refused, with what it said."""

from __future__ import annotations

import sys
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from dagferry_builder.lint.interpreter import Conversation, find_interpreter
from dagferry_schemas.errors import Usage

if TYPE_CHECKING:
    from pathlib import Path


def refusal(tmp_path: Path, named: str) -> Usage:
    with pytest.raises(Usage) as raised:
        interpreter = find_interpreter(named, tmp_path)
        assert interpreter is not None
        with closing(Conversation(interpreter, 1)) as talk:
            talk.environment()
    assert raised.value.code == "lint_python"
    assert raised.value.hint
    return raised.value


def script(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(["#!/bin/sh", *lines, ""]))
    path.chmod(0o755)
    return path


def test_program_that_is_not_there_is_refused(tmp_path: Path) -> None:
    assert "there is no such program" in refusal(tmp_path, "no-such-python-anywhere").message
    assert "'./python'" in refusal(tmp_path, "./python").message


def test_what_is_no_command_is_refused(tmp_path: Path) -> None:
    assert "not a command" in refusal(tmp_path, "python 'half").message
    assert "empty" in refusal(tmp_path, "").message


def test_program_that_is_no_python_is_refused_with_its_words(tmp_path: Path) -> None:
    program = script(tmp_path / "tool", "echo 'tool: what is -c?' >&2", "exit 2")
    error = refusal(tmp_path, str(program))
    assert "does not run as a Python: tool: what is -c?" in error.message
    assert "docker run needs -i" in error.hint


def test_program_that_hangs_up_at_once_is_refused(tmp_path: Path) -> None:
    program = script(tmp_path / "tool", "exec 0<&- 1>&- 2>&-", "exit 0")
    assert "it said nothing" in refusal(tmp_path, str(program)).message


def test_program_that_answers_with_something_else_is_refused(tmp_path: Path) -> None:
    program = script(tmp_path / "tool", "echo hello", "cat >/dev/null")
    assert "does not run as a Python" in refusal(tmp_path, str(program)).message


def test_python_without_an_airflow_is_refused(tmp_path: Path) -> None:
    version = "{}.{}.{}".format(*sys.version_info[:3])
    error = refusal(tmp_path, sys.executable)
    assert f"is Python {version} and has no Airflow" in error.message
    assert "production" in error.hint


def test_prefix_reaches_the_python_behind_it(tmp_path: Path) -> None:
    """Through several words the probe is started anew with its hash seed, and still finds its source on stdin."""
    error = refusal(tmp_path, f"env -i {sys.executable}")
    assert "has no Airflow" in error.message


def test_path_is_relative_to_the_place_that_names_it(tmp_path: Path) -> None:
    script(tmp_path / "python", f'exec {sys.executable} "$@"')
    assert "has no Airflow" in refusal(tmp_path, "./python").message
