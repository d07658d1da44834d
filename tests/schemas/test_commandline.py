"""How every command ends: one document, one exit code, nothing that a reader has to guess."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, NoReturn

import click
import pytest

from dagferry_schemas import commandline
from dagferry_schemas.errors import Conflict, DagferryError, DeliveryFailed, MachineFault, Unknown, Untrusted, Usage

if TYPE_CHECKING:
    from collections.abc import Callable


def raising(error: BaseException) -> Callable[[list[str]], object]:
    def main(_args: list[str]) -> NoReturn:
        raise error

    return main


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Untrusted("went back", "the release stays"), 1),
        (Usage("no such option"), 2),
        (Unknown("no such version"), 2),
        (Conflict("somebody was first"), 3),
        (DeliveryFailed("no route"), 4),
        (MachineFault("disk full"), 5),
    ],
)
def test_a_foreseen_failure_is_one_document_one_message_and_the_code_of_its_class(
    capfd: pytest.CaptureFixture[str], error: DagferryError, code: int
) -> None:
    assert commandline.run(raising(error), ["-o", "json"]) == code
    out, err = capfd.readouterr()
    assert json.loads(out) == {"error": error.to_dict()}
    assert f"error: {error.message}" in err
    assert "Traceback" not in err
    assert commandline.run(raising(error), []) == code
    assert capfd.readouterr().out == ""


def test_a_bug_is_70_with_its_traceback_and_the_request_to_report_it(capfd: pytest.CaptureFixture[str]) -> None:
    assert commandline.run(raising(ZeroDivisionError("oops")), ["--output=json"]) == 70
    out, err = capfd.readouterr()
    assert json.loads(out)["error"]["code"] == "bug"
    assert "Traceback" in err
    assert "please report" in err


@pytest.mark.parametrize(("error", "code"), [(KeyboardInterrupt(), 130), (click.Abort(), 130)])
def test_an_interruption_is_130(capfd: pytest.CaptureFixture[str], error: BaseException, code: int) -> None:
    assert commandline.run(raising(error), ["-ojson"]) == code
    out, err = capfd.readouterr()
    assert json.loads(out)["error"]["code"] == "interrupted"
    assert "Traceback" not in err


def test_sigterm_is_143_after_what_was_open_is_closed(capfd: pytest.CaptureFixture[str]) -> None:
    closed: list[bool] = []
    before = signal.getsignal(signal.SIGTERM)

    def main(_args: list[str]) -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(10)
        finally:
            closed.append(True)

    assert commandline.run(main, ["-o", "json"]) == 143
    assert json.loads(capfd.readouterr().out)["error"]["code"] == "terminated"
    assert closed
    assert signal.getsignal(signal.SIGTERM) is before


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--count", type=int, required=True)
@click.option("-o", "--output")
def command(count: int, output: str) -> int:
    commandline.emit({"count": count}, output, f"{count} things")
    return 0


def run_command(args: list[str]) -> object:
    return command.main(args, prog_name="things", standalone_mode=False)


@pytest.mark.parametrize(
    "args",
    [["-o", "json"], ["--count", "x", "-ojson"], ["--count=1", "--output=json", "more"], ["--nothing", "-ojson"]],
)
def test_wrong_usage_is_2_and_a_document_as_well(capfd: pytest.CaptureFixture[str], args: list[str]) -> None:
    assert commandline.run(run_command, args) == 2
    out, err = capfd.readouterr()
    error = json.loads(out)["error"]
    assert (error["code"], error["hint"]) == ("usage", "try 'things --help'")
    assert error["message"] in err


def test_a_result_is_its_text_or_one_document(capfd: pytest.CaptureFixture[str]) -> None:
    assert commandline.run(run_command, ["--count", "3"]) == 0
    assert capfd.readouterr().out == "3 things\n"
    assert commandline.run(run_command, ["--count", "3", "-o", "json"]) == 0
    assert capfd.readouterr().out == '{"count": 3}\n'


def test_help_is_0(capfd: pytest.CaptureFixture[str]) -> None:
    assert commandline.run(run_command, ["--help"]) == 0
    assert capfd.readouterr().out.startswith("Usage: things")


def test_a_name_that_is_no_utf_8_leaves_a_document_that_everybody_can_read(
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    commandline.emit({"path": "odd-\udcff", "other": "ü"}, "json", "")
    assert json.loads(capfdbinary.readouterr().out.decode("utf-8")) == {"path": "odd-?", "other": "ü"}
    commandline.emit({}, "text", "odd-\udcff ü")
    assert capfdbinary.readouterr().out.decode("utf-8") == "odd-? ü\n"


def test_control_characters_in_a_message_do_not_reach_the_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    commandline.run(raising(Usage("\x1b[31mred\x07\x9b", "first\nsecond\r")), [])
    err = capfd.readouterr().err
    assert "\x1b" not in err
    assert err == "error: \\x1b[31mred\\x07\\x9b\nhint: first\nsecond\n"


@pytest.mark.parametrize(
    ("args", "default", "wanted"),
    [
        ([], "text", "text"),
        ([], "json", "json"),
        (["-o", "text"], "json", "text"),
        (["pull", "--output", "json", "-o", "text"], "text", "text"),
        (["-o"], "json", "json"),
        (["--", "-o", "json"], "text", "text"),
        (["--offline"], "text", "text"),
    ],
)
def test_the_output_is_known_before_anything_is_parsed(args: list[str], default: str, wanted: str) -> None:
    assert commandline.wanted_output(args, default) == wanted


SCRIPT = """
import sys
from dagferry_schemas import commandline
sys.exit(commandline.run(lambda args: commandline.emit({"text": "x" * 1000000}, "json", ""), ["-o", "json"]))
"""


def started(stdout: int) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return subprocess.Popen([sys.executable, "-c", SCRIPT], stdout=stdout, stderr=subprocess.PIPE, env=environment)


def test_a_full_disk_under_stdout_is_said_with_5() -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        process = started(full)
        _, err = process.communicate(timeout=20)
    finally:
        os.close(full)
    assert process.returncode == 5
    assert err.startswith(b"error: the result cannot be written to stdout: No space left on device")
    assert b"Traceback" not in err


def test_a_reader_that_went_away_ends_it_without_a_traceback() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        process = started(writing)
        _, err = process.communicate(timeout=20)
    finally:
        os.close(writing)
    assert process.returncode == 1
    assert b"Traceback" not in err


@pytest.mark.parametrize(
    ("name", "extra"), [("requests", "builder"), ("boto3", "s3"), ("kingfisher-secret-scanner", "builder")]
)
def test_a_package_of_an_extra_that_is_missing_is_wrong_usage(
    name: str, extra: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_args: list[str]) -> None:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    assert commandline.run(fail, ["-o", "json"]) == 2
    error = json.loads(capsys.readouterr().out)["error"]
    assert name in error["message"]
    assert repr(extra) in error["hint"]


def test_a_module_of_ours_that_is_missing_is_a_bug(capsys: pytest.CaptureFixture[str]) -> None:
    def fail(_args: list[str]) -> None:
        raise ModuleNotFoundError("No module named 'dagferry_x'", name="dagferry_x")

    assert commandline.run(fail, []) == 70
    assert "bug in dagferry" in capsys.readouterr().err
