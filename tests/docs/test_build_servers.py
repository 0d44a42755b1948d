"""The files for build servers: read as YAML, with shell that parses, and commands that do what the page says."""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.command_line import run

CI = Path(__file__).parents[2] / "examples" / "ci"
FILES = ("github.yml", "gitlab.yml")


def scripts(name: str) -> list[str]:
    """Return the shell of each step, in order."""
    read: dict[str, Any] = yaml.safe_load((CI / name).read_text("utf-8"))
    if name == "gitlab.yml":
        job = read["claims"]
        return [*job["before_script"], *job["script"], *job["after_script"]]
    (job,) = read["jobs"].values()
    return [step["run"] for step in job["steps"] if "run" in step]


def commands(name: str) -> Iterator[list[str]]:
    for line in "\n".join(scripts(name)).splitlines():
        if line.startswith("unlearn-audit "):
            yield shlex.split(line.split(" || ")[0])[1:]


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_yaml_with_shell_that_parses(name: str) -> None:
    for script in scripts(name):
        done = subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
    text = "\n".join(scripts(name))
    assert "pip install -r requirements.txt" in text
    # The comment is the comparison's Markdown, and what is kept includes JUnit and the next baseline.
    assert text.count("out/claims/compare.md") >= 2
    assert [words[0] for words in commands(name)] == ["run", "compare"]


def test_both_servers_run_the_same_commands() -> None:
    assert list(commands("github.yml")) == list(commands("gitlab.yml"))


def test_a_job_fails_where_a_claim_is_refuted_or_something_is_worse() -> None:
    script = yaml.safe_load((CI / "gitlab.yml").read_text("utf-8"))["claims"]["script"]
    for audited, compared in ((0, 0), (1, 0), (0, 3), (1, 1)):
        shell = "set -eo pipefail\n" + "\n".join(script)
        stand_in = f'unlearn-audit() {{ if [ "$1" = run ]; then return {audited}; else return {compared}; fi; }}\n'
        done = subprocess.run(["bash", "-c", stand_in + shell], check=False)
        assert (done.returncode == 0) is (audited == compared == 0)


@pytest.mark.slow
def test_the_commands_do_what_the_page_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    claims = tmp_path / "claims"
    claims.mkdir()
    plan = (CI / "plan.toml").read_text("utf-8")
    (claims / "plan.toml").write_text(plan, "utf-8")
    done = run("certify", "claims/plan.toml", "--records", "hardest:2", "--routes", "exact", "--json")
    (claims / "baseline.json").write_text(done.stdout, "utf-8")
    for words in commands("github.yml"):
        assert run(*words).returncode == 0
    out = tmp_path / "out" / "claims"
    assert {"junit.xml", "compare.md", "baseline.json", "report.json"} <= {path.name for path in out.iterdir()}
    assert "NO REGRESSION" in (out / "compare.md").read_text("utf-8")
    assert json.loads((out / "baseline.json").read_text("utf-8"))
    # Somebody loosens the calibration.
    (claims / "plan.toml").write_text(plan.replace("epsilon = 0.5", "epsilon = 0.6"), "utf-8")
    *_, compare = commands("gitlab.yml")
    assert run(*compare).returncode == 1
    assert "REGRESSION SHOWN" in (out / "compare.md").read_text("utf-8")
