"""The forms of a diff: what they say, how large they get, and that nothing of a repository is syntax in them.

Markdown is read here by the rules of CommonMark for code spans (section 6.1), written down once more in `spans_of`;
mermaid by the lines that a flowchart of ours may have.
"""

from __future__ import annotations

import html
import re
from dataclasses import replace

from hypothesis import example, given
from hypothesis import strategies as st

from dagferry_builder import diff_markdown, diff_mermaid, diff_text
from dagferry_builder.comparison import Comparison, compare
from dagferry_builder.diff_words import LONGEST
from dagferry_schemas.commandline import plain
from dagferry_schemas.inventory import DagFacts, TaskFacts
from tests.builder.inventories import EXTRACT, REPORT, SALES, between, chain, side, with_tasks

HOSTILE = 'end"] --> x; ``b` </summary><b>@user</b> #1 | **x** ![i](http://a.b) \u202e\n```\n%% style: #35; 1. __init__'
TEXTS = st.text(
    st.one_of(st.sampled_from("`|<>@#&;:\"'[](){}\\ -+~*_!%\n\r\t\u202e\u2028"), st.characters(codec="utf-8"))
)
CODE_SPAN = re.compile(r"(?<!`)(`+)(?!`)(.*?)(?<!`)\1(?!`)")
FENCED = re.compile(r"^```mermaid\n(.*?)\n```$", re.MULTILINE | re.DOTALL)
ARROW = r"(?:-->|==>\|added\||-\.->\|removed\|)"
NODE = r'd?[0-9]*[a-z]+[0-9]*\["(?:[\w ]|#[0-9]+;|<br/>)*"\]'
NAMES = r"d[0-9]+t[0-9]+"
MERMAID_LINE = re.compile(
    rf"flowchart LR|    (?:subgraph {NODE}|end|direction LR|{NODE}|{NAMES} {ARROW} {NAMES}"
    rf"|classDef [a-z]+ [a-z0-9#:,. -]+|class (?:{NAMES}|left)(?:,(?:{NAMES}|left))* [a-z]+)"
)


def spans_of(line: str) -> tuple[str, list[str]]:
    """A line of markdown without its code spans, and what is in them."""
    found = [match[2] for match in CODE_SPAN.finditer(line)]
    return CODE_SPAN.sub("", line), [one[1:-1] if one[:1] == one[-1:] == " " and one.strip() else one for one in found]


def text_of(found: Comparison) -> list[str]:
    return list(diff_text.lines(found))


def arrows(chart: str) -> int:
    return sum(chart.count(arrow) for arrow in ("-->", "==>", "-.->"))


# --- text


def test_text_says_a_small_change_in_one_line() -> None:
    load = TaskFacts("load", "PythonOperator", ("extract",))
    after = replace(SALES, schedule="@hourly", tasks=(EXTRACT, load, replace(REPORT, upstream=("load",))))
    assert text_of(between([SALES], [after]))[2:-1] == [
        "~ sales_daily:",
        "    schedule @daily -> @hourly",
        "    + task load (PythonOperator) after extract",
        "    + edge load -> report",
        "    - edge extract -> report",
    ]
    assert text_of(between([SALES], [replace(SALES, schedule=None, catchup=True)]))[2:-1] == [
        "~ sales_daily: schedule @daily -> none; catchup off -> on"
    ]


def test_text_says_which_params_differ() -> None:
    after = replace(SALES, params={"limit": 2, "since": None}, dagrun_timeout=90.5)
    assert text_of(between([SALES], [after]))[2] == (
        "~ sales_daily: param limit 1 -> 2; - param region; + param since = null; timeout of a run none -> 90.5 s"
    )


def test_text_says_dags_before_files() -> None:
    moved, gone, new = replace(SALES, id="moved"), replace(SALES, id="gone"), replace(SALES, id="new")
    found = compare(
        side("v1", [moved, gone], ["both.py", "old.py"]),
        side("v2", [replace(moved, file="b.py"), new], ["both.py", "new.py"], b"other"),
    )
    assert text_of(found) == [
        "v1 -> v2",
        "DAGs: 1 added, 1 removed, 1 moved",
        "+ new: schedule @daily, 2 tasks, owned by ada (dags/sales.py)",
        "- gone (dags/sales.py)",
        "> moved: dags/sales.py -> b.py",
        "files: 1 added, 1 removed, 1 changed",
        "+ new.py",
        "- old.py",
        "~ both.py",
    ]


def test_a_task_that_went_took_its_edges_along() -> None:
    assert text_of(between([SALES], [with_tasks(replace(REPORT, upstream=()))]))[2] == (
        "~ sales_daily: - task extract (PythonOperator)"
    )


def test_every_form_says_which_version_has_no_inventory_and_why() -> None:
    found = compare(side("v1", [SALES]), side("v2", None, why="it was published without lint"))
    for form in ("\n".join(text_of(found)), diff_markdown.page(found), diff_mermaid.diagram(found)):
        assert "not known" in form
        assert "v2" in form
        assert re.search("v1.* no inventory", form) is None
        assert "published without lint" in form
    assert found.to_dict()["dags"] is None
    assert found.to_dict()["no_inventory"] == {"v2": "it was published without lint"}


# --- markdown


@given(TEXTS)
@example("`")
@example("``` `` `")
@example(" ")
@example(" both ")
@example("")
@example(HOSTILE)
def test_code_span_holds_the_text_and_nothing_gets_out(text: str) -> None:
    rest, (inside,) = spans_of(f"- {diff_markdown.code(text)}: 1 task")
    assert rest == "- : 1 task"
    shown = plain(text) or "(empty)"
    assert inside in (shown, shown[: LONGEST - 1] + "…")
    assert "\n" not in diff_markdown.code(text)


def strange(name: str, operator: str, schedule: str | None = None) -> DagFacts:
    """A DAG in which every text is ``name``."""
    tasks = (TaskFacts(name, operator, (), name, (name,)), TaskFacts(name + "2", name, (name,)))
    return DagFacts(name, name, schedule, None, None, (name,), (name,), {name: [name]}, None, 0.0, tasks)


def everywhere(name: str) -> Comparison:
    """A comparison that says ``name`` wherever a repository can say something."""
    changed = replace(strange(name, name, name), params={name: name}, tags=(), owners=())
    before = [strange(name, "old"), strange(name + "gone", "x"), replace(strange(name + "moved", "x"), file="a")]
    return between(before, [changed, strange(name + "new", name), strange(name + "moved", "x")])


@given(TEXTS.map(lambda text: text[:80]))
@example(HOSTILE)
@example("@everyone #1 <img src=x>")
def test_markdown_outside_of_code_is_ours_alone(name: str) -> None:
    page = FENCED.sub("", diff_markdown.page(everywhere(name)))
    for line in page.splitlines():
        folded = re.fullmatch(r"<details><summary>(?:Graph of <code>(.*)</code>|[\w:, ]+)</summary>", line)
        if folded:
            assert folded[1] is None or not set("<>") & set(folded[1])
            assert folded[1] is None or plain(name)[:20] in html.unescape(folded[1])
        elif line not in (diff_markdown.MARK, "</details>"):
            assert re.fullmatch(r"(?:#{3} |\*\*|  - |- )?[A-Za-z0-9:, ()→=.…>*-]*", spans_of(line)[0]), line


def test_markdown_tells_everything_that_text_tells() -> None:
    page = diff_markdown.page(everywhere("shop"))
    for word in (
        "### DAGs: 1 added, 1 removed, 1 moved, 1 changed",
        "**Added**",
        "**Removed**",
        "**Moved**",
        "**Changed**",
    ):
        assert word in page
    assert "operator `old` -> `shop`" in page
    assert "`shopmoved`: `a` → `shopmoved`" in page
    assert "`-` param" not in page
    assert "```mermaid\nflowchart LR\n" in page


def test_markdown_folds_long_lists_and_files() -> None:
    many = [replace(SALES, id=f"dag_{number:03}") for number in range(11)]
    page = diff_markdown.page(compare(side("v1", [], ["a.py"]), side("v2", many, ["b.py"])))
    assert "<details><summary>Added</summary>" in page
    assert "<details><summary>files: 1 added, 1 removed</summary>\n\n- `+` `b.py`\n- `-` `a.py`\n\n</details>" in page
    assert "**Added**" in diff_markdown.page(between([], many[:10]))


def test_markdown_stays_below_the_limit_of_a_comment_and_counts_what_is_missing() -> None:
    wide = "ß" * 300
    dags = [replace(SALES, id=f"{number}{wide}") for number in range(500)]
    files = [f"{number}/{'x' * 150}.py" for number in range(2000)]
    page = diff_markdown.page(compare(side("v1", [], ["a.py"]), side("v2", dags, files)))
    assert len(page.encode()) < 65_536
    for whole, part in zip((500, 2001), page.split("</details>"), strict=False):
        shown, (missing,) = re.findall("^- `", part, re.MULTILINE), re.findall("and ([0-9]+) more", part)
        assert len(shown) + int(missing) == whole
    assert page.count("<details>") == page.count("</details>") == 2


def test_markdown_of_many_changed_dags_stays_below_the_limit_and_says_which_graphs_are_missing() -> None:
    before = [chain(f"dag_{number}", 120, "A") for number in range(400)]
    after = [chain(f"dag_{number}", 120, "B") for number in range(400)]
    page = diff_markdown.page(between(before, after))
    assert len(page.encode()) < 65_536
    assert page.count("```mermaid") == diff_markdown.MOST_DIAGRAMS
    assert "395 more graphs: `dagferry diff --format mermaid`" in page
    assert page.count("<details>") == page.count("</details>")


def test_markdown_counts_the_changes_of_a_dag_that_has_very_many() -> None:
    grown = with_tasks(*(TaskFacts(f"task_{number}", "EmptyOperator") for number in range(30)))
    page = diff_markdown.page(between([with_tasks()], [grown]))
    assert page.count("  - `+` task") == 20
    assert "  - … and 10 changes more" in page


# --- mermaid


def test_mermaid_marks_what_changed_in_words_and_in_colours() -> None:
    load = TaskFacts("load", "PythonOperator", ("extract",))
    found = between([SALES], [with_tasks(replace(EXTRACT, operator="BashOperator"), load)])
    assert diff_mermaid.diagram(found).splitlines()[:10] == [
        "flowchart LR",
        '    subgraph d1["sales_daily"]',
        "    direction LR",
        '    d1t1["extract<br/>BashOperator<br/>changed"]',
        '    d1t2["load<br/>PythonOperator<br/>added"]',
        '    d1t3["report<br/>BashOperator<br/>removed"]',
        "    d1t1 ==>|added| d1t2",
        "    d1t1 -.->|removed| d1t3",
        "    end",
        "    classDef added fill:#dafbe1,stroke:#1a7f37,stroke-width:2px,color:#1f2328",
    ]
    assert diff_mermaid.diagram(found).splitlines()[-3:] == [
        "    class d1t2 added",
        "    class d1t3 removed",
        "    class d1t1 changed",
    ]


def test_mermaid_of_nothing_is_a_diagram_too() -> None:
    assert diff_mermaid.diagram(between([SALES], [SALES])) == 'flowchart LR\n    n1["no DAG was added or changed"]'
    assert '"no tasks"' in diff_mermaid.diagram(between([], [with_tasks()]))


@given(TEXTS.map(lambda text: text[:80]))
@example(HOSTILE)
@example("end")
@example("1. list")
def test_mermaid_has_no_line_that_a_name_could_have_written(name: str) -> None:
    chart = diff_mermaid.diagram(everywhere(name))
    for line in chart.split("\n"):
        assert MERMAID_LINE.fullmatch(line), line


@given(TEXTS.map(lambda text: text[:40]))
@example("größe_日本")
def test_mermaid_label_says_the_text(text: str) -> None:
    label = diff_mermaid.label(text, 4096)
    assert re.sub(r"#([0-9]+);", lambda code: chr(int(code[1])), label) == plain(text)


def test_a_large_dag_is_drawn_by_what_changed_and_its_neighbours() -> None:
    chart = diff_mermaid.diagram(between([chain("large", 300, "A")], [chain("large", 300, "B")]))
    assert chart.count("<br/>changed") == 6
    # three on each side, but for the first and, its neighbours being fewer, the last
    assert chart.count("<br/>") == 6 + 39
    assert "261 more tasks not drawn" in chart


def test_mermaid_never_is_too_large_for_github_to_draw() -> None:
    wide = [TaskFacts(f"{number}" + "\U0001f600" * 200, "\U0001f600" * 200) for number in range(60)]
    cases = {
        "a new DAG of 3,000 tasks": ([], [chain("large", 3000, "A")]),
        "long names": ([], [with_tasks(*wide)]),
        "300 DAGs": ([], [chain(f"dag_{number}", 40, "A") for number in range(300)]),
        "every task changed": ([chain("d", 3000, "A")], [replace(chain("d", 3000, "B"), tasks=())]),
    }
    for name, (before, after) in cases.items():
        chart = diff_mermaid.diagram(between(before, after))
        assert len(chart) < 50_000, name
        assert arrows(chart) < 500, name
        assert " not drawn" in chart, name
