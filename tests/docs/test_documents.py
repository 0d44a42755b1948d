"""The documentation runs: its Python blocks as one script a page, its commands in order, its output as it is printed.

In a page, a block of Python or TOML that begins with a comment that names a file is saved under that name; other Python
runs in one namespace. A text block is the output of the command before it, with ``...`` for lines left out.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[2]
PAGES = ("docs/certificates.md", "docs/statistics.md", "docs/comparison.md", "docs/stages.md")
# What other tests, or continuous integration itself, run: these begin with another environment.
ELSEWHERE = ("make ", "pip install ")
# Minutes: run by make test-slow.
SLOW = ("unlearn-audit demo", "unlearn-audit selftest", "unlearn-audit run examples/plans/network.toml")
AFTER_SLOW = ("python examples/network_difficulty.py",)
# Many seconds each: with all the rest of the README by make test-slow.
LONGER = (
    "python examples/black_box_logistic_regression.py",
    "python examples/stop_when_decided.py",
    "pytest ",
    "unlearn-audit certify plan.toml --records 757,465,1463",
)
NAMED = re.compile(r"# ([\w.]+\.(?:py|toml))\n")
NUMBER = re.compile(r"(?<![\w#])[-+]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?")


@dataclass(frozen=True, kw_only=True)
class Block:
    """A fenced block and where it begins."""

    language: str
    text: str
    line: int


@dataclass(frozen=True, kw_only=True)
class Command:
    """A command of the README and the output that is shown for it."""

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


def perform(steps: list[Command | Block], folder: Path) -> list[str]:
    """Run the steps in order; return the commands that were run."""
    (folder / "examples").symlink_to(ROOT / "examples")
    namespace: dict[str, object] = {}
    performed = []
    for step in steps:
        if isinstance(step, Block):
            named = NAMED.match(step.text)
            if named:
                (folder / named[1]).write_text(step.text, encoding="utf-8")
            else:
                assert step.language == "python", f"README.md:{step.line}: {step.language} is not run"
                exec(compile(step.text, f"README.md:{step.line}", "exec"), namespace)
            continue
        done = run(step.line, folder)
        performed.append(step.line)
        assert done.returncode in (0, 1), f"{step.line}\n{done.stderr}"
        assert "Traceback" not in done.stderr, f"{step.line}\n{done.stderr}"
        if step.shown is not None:
            assert pattern(step.shown).fullmatch(plain(done.stdout)), f"{step.line}\n{done.stdout}"
    return performed


@pytest.mark.parametrize("page", PAGES)
def test_the_python_of_a_page_runs(page: str, tmp_path: Path) -> None:
    found = blocks(page)
    assert {block.language for block in found} <= {"python", "math"}
    script = ["\n"] * (found[-1].line + found[-1].text.count("\n"))
    for block in found:
        if block.language == "python":
            # At its own line, so that a traceback names the line of the page.
            lines = block.text.splitlines(keepends=True)
            script[block.line - 1 : block.line - 1 + len(lines)] = lines
    (tmp_path / "page.py").write_text("".join(script), encoding="utf-8")
    done = run(f"{sys.executable} -W error page.py", tmp_path)
    assert done.returncode == 0, f"{page}\n{done.stderr}"
    assert sum("assert " in line for line in script) >= 3


@pytest.mark.parametrize("left_out", [LONGER, pytest.param((), marks=pytest.mark.slow)], ids=["shortened", "whole"])
def test_the_readme_runs_as_it_is_written(
    left_out: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    skipped = (*ELSEWHERE, *SLOW, *AFTER_SLOW, *left_out)
    steps = [s for s in commands("README.md") if isinstance(s, Block) or not s.line.startswith(skipped)]
    performed = perform(steps, tmp_path)
    assert len(performed) >= (10 if left_out else 14)
    assert (tmp_path / "out" / "both" / "audit.xml").exists()


@pytest.mark.slow
@pytest.mark.parametrize("slow", SLOW)
def test_the_long_commands_of_the_readme_run_as_they_are_written(slow: str, tmp_path: Path) -> None:
    if "network" in slow and find_spec("torch") is None:
        pytest.skip("needs torch: pip install 'unlearn-audit[torch]'")
    wanted = (slow, *(AFTER_SLOW if "network" in slow else ()))
    steps = [s for s in commands("README.md") if isinstance(s, Command) and s.line.startswith(wanted)]
    assert len(perform(list(steps), tmp_path)) == len(wanted)


@pytest.mark.parametrize("page", ["README.md", *PAGES])
def test_links_to_files_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!https?:|#)([^)#\s]+)", text)
    paths = re.findall(r"`((?:audit|attacks|benchmarks|docs|examples|mechanisms|reports|tests)/[\w/.-]+)`", text)
    missing = [link for link in links if not ((ROOT / page).parent / link).exists()]
    missing += [path for path in paths if not (ROOT / path).exists()]
    assert not missing
    assert links or paths
