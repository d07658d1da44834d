"""The result of lint as JUnit XML, for the test reports of Jenkins, GitLab and others.

1. There is a row, a test case, for each file and rule with findings: the class name is the file, the name the rule.
   GitLab ignores all but the first of two rows with the same names, so all findings of a rule in a file are one row.
2. Errors are failures. Warnings and notes are in the output of a row that passed: they refuse nothing, and were not
   skipped either.
3. Two rows are always there, because an empty report counts as a failure in places: that files were checked, which
   passes, and that Airflow imported the DAG files, which is skipped where no Airflow took part.
4. What XML 1.0 forbids is shown as an escape, like everything else that is not printable.

Elements and attributes are those of Jenkins' ``junit-10.xsd``, and ``file``, which GitLab shows.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Final
from xml.etree import ElementTree as ET

from dagferry_schemas.commandline import plain

from .finding import Severity
from .shown import shown
from .text import checked

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .finding import Finding, Rule
    from .result import Result

FILES: Final = "files were checked"
AIRFLOW: Final = "Airflow imported the DAG files"


def render(result: Result, rules: Mapping[str, Rule]) -> str:
    """The XML document; ``rules`` have the titles."""
    suite = ET.Element("testsuite", name=plain(result.bundle))
    _always(suite, result)
    for (path, rule), group in groupby(sorted(result.findings, key=_row), key=_row):
        _findings(suite, path or plain(result.bundle), rule, list(group), rules)
    whole = ET.Element("testsuites", name="dagferry lint")
    whole.append(suite)
    for element in (whole, suite):
        element.set("tests", str(len(suite.findall("testcase"))))
        element.set("failures", str(len(suite.findall("testcase/failure"))))
        element.set("errors", "0")
        element.set("time", f"{result.seconds:.3f}")
    suite.set("skipped", str(len(suite.findall("testcase/skipped"))))
    ET.indent(whole)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(whole, encoding="unicode")


def _row(finding: Finding) -> tuple[str, str]:
    """What a finding's row is called: as shown, because two names that look the same are the same to GitLab."""
    return plain(finding.path), plain(finding.rule)


def _always(suite: ET.Element, result: Result) -> None:
    name = plain(result.bundle)
    said = "\n".join(checked(result.checked))
    hidden = f"{result.suppressed} suppressed by comments, {result.baselined} known from the baseline"
    files = ET.SubElement(suite, "testcase", classname=name, name=FILES)
    ET.SubElement(files, "system-out").text = f"{said}\n{hidden}"
    airflow = ET.SubElement(suite, "testcase", classname=name, name=AIRFLOW)
    if result.checked.environment is None:
        # GitLab shows the text, Jenkins the attribute.
        why = "no Airflow took part: the DAGs were not checked"
        ET.SubElement(airflow, "skipped", message=why).text = why


def _findings(suite: ET.Element, path: str, rule: str, findings: list[Finding], rules: Mapping[str, Rule]) -> None:
    case = ET.SubElement(suite, "testcase", classname=path, name=rule)
    first = min(findings)
    if first.path:
        case.set("file", path)
    text = "\n".join(line for finding in sorted(findings) for line in _lines(path, finding))
    failed = any(finding.severity is Severity.ERROR for finding in findings)
    if not failed:
        ET.SubElement(case, "system-out").text = text
        return
    more = f" (and {len(findings) - 1} more)" if len(findings) > 1 else ""
    title = f"{rules[first.rule].title}: " if first.rule in rules else ""
    message = f"{title}{shown(first.message)[0]}{more}"
    ET.SubElement(case, "failure", type=rule, message=message).text = text


def _lines(path: str, finding: Finding) -> list[str]:
    place = ":".join([path, *(str(number) for number in (finding.line, finding.column) if number)])
    first, *rest = shown(finding.message)
    hint = [f"  hint: {line}" for line in shown(finding.hint)] if finding.hint else []
    return [f"{place}: {finding.severity.value}: {first}", *(f"  {line}" for line in rest), *hint]
