"""The documentation runs: its Python blocks as one script a page, its commands in order, its output as it is printed.

A page with commands starts in a folder that holds the examples and the files that the README names. In a page, a block
of Python, TOML or shell that begins with a comment that names a file is saved under that name; other Python runs in one
namespace. A text block is the output of the command before it, with ``...`` for lines left out.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import runpy
import shlex
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from tests.e2e.command_line import run as run_here

ROOT = Path(__file__).parents[2]
PAGES = ("docs/certificates.md", "docs/statistics.md", "docs/comparison.md", "docs/stages.md")
HOW_TO = (
    "README.md",
    "docs/audit.md",
    "docs/build_servers.md",
    "docs/certify.md",
    "docs/cluster.md",
    "docs/demo.md",
    "docs/filing.md",
    "docs/lots.md",
    "docs/models.md",
    "docs/network.md",
    "docs/own_mechanism.md",
    "docs/scores.md",
    "docs/selftest.md",
    "docs/streams.md",
    "docs/torch.md",
)
WITHOUT_CODE = ("docs/development.md", "docs/stability.md", "docs/verdicts.md")
# Rendered from a committed result, which tests/docs/test_wild_page.py holds it to.
RENDERED = ("docs/wild.md",)
# What other tests, or continuous integration itself, run: these begin with another environment.
ELSEWHERE = ("make ", "pip install ")
# Minutes: run by make test-slow.
SLOW = ("unlearn-audit demo", "unlearn-audit selftest", "unlearn-audit run examples/plans/network.toml")
AFTER_SLOW = ("python examples/network_difficulty.py",)
# Many seconds each: with all the rest of their page by make test-slow.
LONGER = (
    "python examples/black_box_logistic_regression.py",
    "python examples/lira_layout.py",
    "python examples/stop_when_decided.py",
    "python my_network.py",
    "pytest ",
    "unlearn-audit certify filtered.toml",
    "unlearn-audit certify claims/plan.toml",
    "unlearn-audit compare claims/baseline.json",
    "unlearn-audit run claims/plan.toml",
    "unlearn-audit certify plan.toml --records 757,465",
    "unlearn-audit collect out/shards",
    "unlearn-audit compare baseline.json candidate.toml",
    "unlearn-audit draw small.toml",
    "unlearn-audit run plan.toml --out out/plan",
    # These read what it wrote.
    "unlearn-audit replay out/plan",
    # What it says and how it exits: tests/e2e/test_cli_same_randomness.py.
    "unlearn-audit same-randomness own.toml",
    "unlearn-audit store ls out/plan",
    "unlearn-audit report out/plan/report.json",
    "unlearn-audit run small.toml",
    "unlearn-audit run stream.toml",
)
NAMED = re.compile(r"(?:#!.*\n)?# ([\w.]+\.(?:py|toml|sh))\n")
NUMBER = re.compile(r"(?<![\w#])[-+]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?")


@dataclass(frozen=True, kw_only=True)
class Block:
    """A fenced block and where it begins."""

    language: str
    text: str
    line: int


@dataclass(frozen=True, kw_only=True)
class Command:
    """A command of a page and the output that is shown for it."""

    line: str
    shown: str | None


def blocks(page: str) -> list[Block]:
    tokens = MarkdownIt().parse((ROOT / page).read_text(encoding="utf-8"))
    return [
        Block(language=token.info, text=token.content, line=token.map[0] + 2)
        for token in tokens
        if token.type == "fence" and token.map is not None
    ]


def commands(page: str) -> list[Command | Block]:
    """Return commands and other blocks in order; a text block goes to the last command before it."""
    found: list[Command | Block] = []
    for block in blocks(page):
        if block.language == "console":
            lines = [line.removeprefix("$ ").split("  #")[0].rstrip() for line in block.text.splitlines()]
            assert all(line.startswith("$ ") for line in block.text.splitlines()), f"{page}:{block.line}"
            found += [Command(line=line, shown=None) for line in lines]
        elif block.language == "text":
            last = found.pop()
            assert isinstance(last, Command), f"{page}:{block.line}: output of no command"
            assert last.shown is None, f"{page}:{block.line}: a second output of {last.line}"
            found.append(Command(line=last.line, shown=block.text))
        else:
            found.append(block)
    return found


def is_plain(line: str) -> bool:
    """Return whether a line is a command of ours that needs no shell and runs no code of the page's."""
    words = shlex.split(line)
    return words[0] == "unlearn-audit" and "--mechanism" not in words and not set(line) & set("|<>&;$")


def is_example(line: str) -> bool:
    """Return whether a line is one of our examples, without arguments."""
    return re.fullmatch(r"python examples/\w+\.py", line) is not None


def run_within(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a plain command or an example in this process, which has loaded everything already."""
    if is_plain(line):
        return run_here(*shlex.split(line)[1:])
    with contextlib.redirect_stdout(io.StringIO()) as out:
        runpy.run_path(str(folder / line.split()[1]), run_name="__main__")
    return subprocess.CompletedProcess(args=line, returncode=0, stdout=out.getvalue(), stderr="")


def run(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    binaries = str(Path(sys.executable).parent)
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "CI", "PYTEST_ADDOPTS")}
    environment |= {"PATH": binaries + os.pathsep + os.environ["PATH"]}
    # An environment that was set up before the plugin's entry point does not know it.
    line = re.sub(r"^pytest ", "python -m pytest -p unlearn_audit_pytest -p no:cacheprovider ", line)
    return subprocess.run(
        line,
        shell=True,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def pattern(shown: str) -> re.Pattern[str]:
    """Return what output matches: as shown, for any numbers, any white space, and any lines at ``...``."""
    parts = re.split(r"^\.\.\.\n?", shown, flags=re.MULTILINE)
    return re.compile(r".*".join(re.escape(plain(part)) for part in parts), re.DOTALL)


def plain(text: str) -> str:
    # Rules are as long as the columns are wide, which depends on the numbers.
    return "".join(NUMBER.sub("0", re.sub("[─=]{3,}", "", text)).split())


def perform(steps: list[Command | Block], folder: Path, page: str, *, here: bool = False) -> list[str]:
    """Run the steps in order, plain commands and examples in this process where asked to; return what was run."""
    (folder / "examples").symlink_to(ROOT / "examples")
    for block in blocks("README.md"):
        save(block, folder)
    namespace: dict[str, object] = {}
    performed = []
    for step in steps:
        if isinstance(step, Block):
            if not save(step, folder):
                assert step.language == "python", f"{page}:{step.line}: {step.language} is not run"
                exec(compile(step.text, f"{page}:{step.line}", "exec"), namespace)
            continue
        within_this = here and (is_plain(step.line) or is_example(step.line))
        done = run_within(step.line, folder) if within_this else run(step.line, folder)
        performed.append(step.line)
        assert done.returncode in (0, 1), f"{step.line}\n{done.stderr}"
        assert "Traceback" not in done.stderr, f"{step.line}\n{done.stderr}"
        if step.shown is not None:
            assert pattern(step.shown).fullmatch(plain(done.stdout)), f"{step.line}\n{done.stdout}"
    return performed


def save(block: Block, folder: Path) -> bool:
    """Save a block that names a file; return whether it does."""
    named = NAMED.match(block.text)
    if named:
        (folder / named[1]).write_text(block.text, encoding="utf-8")
    return bool(named)


@pytest.mark.parametrize("page", PAGES)
def test_the_python_of_a_page_runs(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = blocks(page)
    assert {block.language for block in found} <= {"python", "math"}
    script = ["\n"] * (found[-1].line + found[-1].text.count("\n"))
    for block in found:
        if block.language == "python":
            # At its own line, so that a traceback names the line of the page.
            lines = block.text.splitlines(keepends=True)
            script[block.line - 1 : block.line - 1 + len(lines)] = lines
    (tmp_path / "page.py").write_text("".join(script), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    runpy.run_path("page.py", run_name="page")
    assert sum("assert " in line for line in script) >= 3


def within(page: str, left_out: tuple[str, ...]) -> list[Command | Block]:
    """Return the blocks of a page, and its commands but those that begin as said or run elsewhere."""
    skipped = (*ELSEWHERE, *left_out)
    return [step for step in commands(page) if isinstance(step, Block) or not step.line.startswith(skipped)]


QUICK = (*SLOW, *AFTER_SLOW, *LONGER)


@pytest.mark.parametrize("page", HOW_TO)
def test_a_page_runs_as_it_is_written(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    steps = within(page, QUICK)
    assert len(perform(steps, tmp_path, page, here=True)) == sum(isinstance(step, Command) for step in steps)


@pytest.mark.slow
@pytest.mark.parametrize("page", HOW_TO)
def test_the_long_commands_of_a_page_run_as_they_are_written(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if "network" in page and find_spec("torch") is None:
        pytest.skip("needs torch: pip install 'unlearn-audit[torch]'")
    steps = within(page, ())
    if not any(isinstance(step, Command) and step.line.startswith(QUICK) for step in steps):
        pytest.skip("all of its commands are run by make test")
    perform(steps, tmp_path, page)


def test_every_page_is_tested_and_long_commands_are_in_one() -> None:
    pages = {path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").glob("*.md")}
    assert pages | {"README.md"} == {*PAGES, *HOW_TO, *WITHOUT_CODE, *RENDERED}
    written = [step.line for page in HOW_TO for step in commands(page) if isinstance(step, Command)]
    for line in QUICK:
        assert any(command.startswith(line) for command in written), line
    assert len(written) >= 25
    for page in WITHOUT_CODE:
        assert not blocks(page)


def test_the_readme_is_a_front_door() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 200
    # From it every page can be reached.
    for page in (*PAGES, *HOW_TO[1:], *WITHOUT_CODE, *RENDERED):
        assert f"]({page})" in text, page


@pytest.mark.parametrize("page", [*HOW_TO, *PAGES, *WITHOUT_CODE, *RENDERED])
def test_links_to_files_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!https?:|#)([^)#\s]+)", text)
    paths = re.findall(r"`((?:audit|attacks|benchmarks|docs|examples|mechanisms|reports|tests)/[\w/.-]+)`", text)
    missing = [link for link in links if not ((ROOT / page).parent / link).exists()]
    missing += [path for path in paths if not (ROOT / path).exists()]
    assert not missing
    assert links or paths
