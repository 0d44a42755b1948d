"""What users import: every name that a package lends, and nothing in the documentation from deeper than one level."""

from __future__ import annotations

import ast
import doctest
import inspect
import pkgutil
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[2]
PACKAGES = ("mechanisms", "attacks", "audit", "reports")
PAGES = ("README.md", *(path.relative_to(ROOT).as_posix() for path in sorted((ROOT / "docs").glob("*.md"))))
EXAMPLES = [path.relative_to(ROOT).as_posix() for path in sorted((ROOT / "examples").rglob("*.py"))]
# Modules that users call by their name, beside the names that their room lends.
MODULES = {"mechanisms.accounting": {"gdp"}}
DOTTED = re.compile(rf"\b((?:{'|'.join(PACKAGES)})(?:\.[A-Za-z_]\w*)+)\b(?!\.\w)")


def lenders() -> list[str]:
    """Return the packages and rooms that lend names."""
    inits = [path for name in PACKAGES for path in (ROOT / name).rglob("__init__.py")]
    lending = [path.parent for path in inits if "lend(" in path.read_text(encoding="utf-8")]
    return sorted(".".join(folder.relative_to(ROOT).parts) for folder in lending)


LENDERS = lenders()


@dataclass(frozen=True, kw_only=True)
class Lists:
    """The three lists of names in a package's file; the first two are by module."""

    imported: Mapping[str, set[str]]
    lent: Mapping[str, set[str]]
    stated: list[str]


def lists(package: str) -> Lists:
    """Read them: imports under TYPE_CHECKING, the homes that are handed to ``lend``, and ``__all__``."""
    tree = ast.parse((ROOT / package.replace(".", "/") / "__init__.py").read_text(encoding="utf-8"))
    (branch,) = (node for node in tree.body if isinstance(node, ast.If))
    imports = [node for node in branch.body if isinstance(node, ast.ImportFrom)]
    (call,) = (node for part in branch.orelse for node in ast.walk(part) if isinstance(node, ast.Call))
    homes = ast.literal_eval(call.args[1])
    (stated,) = (n for n in tree.body if isinstance(n, ast.Assign) and ast.unparse(n.targets[0]) == "__all__")
    return Lists(
        imported={str(node.module): {alias.name for alias in node.names} for node in imports},
        lent={module: set(names.split()) for module, names in homes.items()},
        stated=ast.literal_eval(stated.value),
    )


def test_packages_lend_names() -> None:
    assert set(LENDERS) >= {*PACKAGES, "mechanisms.ridge", "mechanisms.accounting", "audit.statistics"}
    import mechanisms

    wanted = (
        "from_functions from_estimator Claim EpsilonDelta GaussianDP PrivacyProfile Reference load_named load_file "
        "from_arrays"
    )
    assert set(wanted.split()) <= set(mechanisms.__all__)


@pytest.mark.parametrize("package", LENDERS)
def test_what_is_lent_is_what_type_checkers_see(package: str) -> None:
    found = lists(package)
    assert found.imported == found.lent
    assert sorted(found.stated) == sorted(name for names in found.lent.values() for name in names)
    assert found.stated == import_module(package).__all__


@pytest.mark.parametrize("package", LENDERS)
def test_every_lent_name_is_there_and_has_a_docstring(package: str) -> None:
    module = import_module(package)
    for home, names in lists(package).lent.items():
        for name in names:
            value = getattr(module, name)
            assert inspect.isclass(value) or inspect.isfunction(value), name
            assert value.__module__ == home, f"{name} is defined in {value.__module__}"
            assert value.__doc__, name
            # A dataclass without one is given its signature.
            assert not value.__doc__.startswith(f"{name}("), name
    assert set(dir(module)) >= {*module.__all__, "__doc__"}
    with pytest.raises(AttributeError, match=f"module '{package}' has no attribute 'nonsense'"):
        module.nonsense  # noqa: B018


@pytest.mark.parametrize("package", LENDERS)
def test_no_lent_name_is_the_name_of_a_module(package: str) -> None:
    """Importing the module ``a.b`` binds ``b`` in ``a``, and would hide a name ``b`` that ``a`` lends."""
    module = import_module(package)
    assert not {info.name for info in pkgutil.iter_modules(module.__path__)} & set(module.__all__)


def test_mypy_sees_every_name_and_no_other(tmp_path: Path) -> None:
    """Also in a project of a user's: hence py.typed, and strict."""
    assert all((ROOT / name / "py.typed").exists() for name in PACKAGES)
    script = tmp_path / "script.py"
    script.write_text(
        "".join(f"from {package} import {name}\n" for package in LENDERS for name in import_module(package).__all__)
        + "".join(f"from {package} import nonsense\n" for package in LENDERS),
        encoding="utf-8",
    )
    inits = [str(ROOT / package.replace(".", "/") / "__init__.py") for package in LENDERS]
    flags = ("--strict", "--follow-imports=skip", "--config-file=", "--explicit-package-bases", "--no-error-summary")
    command = [sys.executable, "-m", "mypy", *flags, f"--cache-dir={tmp_path}", *inits, str(script)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    wrong = set(re.findall(r'script\.py:\d+: error: Module "([\w.]+)" has no attribute "(\w+)"', done.stdout))
    assert wrong == {(package, "nonsense") for package in LENDERS}, done.stdout + done.stderr
    assert done.stdout.count("script.py") == len(LENDERS), done.stdout


def code_of(page: str) -> Iterator[str]:
    """Yield the Python of a page, an example, or the examples of a module's docstrings."""
    text = (ROOT / page).read_text(encoding="utf-8")
    if page.endswith(".md"):
        yield from (t.content for t in MarkdownIt().parse(text) if t.type == "fence" and t.info == "python")
    elif page in EXAMPLES:
        yield text
    # To look for examples where there are none takes seconds.
    elif ">>>" in text:
        yield "".join(example.source for example in doctest.DocTestParser().get_examples(text))


def too_deep(code: str) -> list[str]:
    """Return the imports that reach further than one level below a package, or for what no room lends."""
    found = []
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            found += [a.name for a in node.names if a.name.split(".")[0] in PACKAGES and a.name.count(".") > 1]
        elif isinstance(node, ast.ImportFrom) and str(node.module).split(".")[0] in PACKAGES:
            package, names = str(node.module), [alias.name for alias in node.names]
            if package.count(".") > 1:
                found.append(package)
            elif package in LENDERS:
                lent = {*import_module(package).__all__, *MODULES.get(package, ())}
                found += [f"{package}.{name}" for name in names if name not in lent]
            elif hasattr(import_module(package), "__path__"):
                found += [f"{package}.{name}" for name in names]
    return found


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("import audit.plan.split", ["audit.plan.split"]),
        ("def f():\n    from audit.plan.split import Split", ["audit.plan.split"]),
        ("from audit.plan import split", ["audit.plan.split"]),
        ("from mechanisms import Claim, claim", ["mechanisms.claim"]),
        ("from mechanisms.ridge import RidgeLaws, laws", ["mechanisms.ridge.laws"]),
        ("import audit, numpy.linalg\nfrom attacks.canary import choose_records\nfrom audit import Split", []),
    ],
)
def test_deep_imports_are_found(code: str, found: list[str]) -> None:
    assert too_deep(code) == found


def test_nobody_is_told_to_import_from_deeper_than_one_level() -> None:
    modules = [path.relative_to(ROOT).as_posix() for name in PACKAGES for path in sorted((ROOT / name).rglob("*.py"))]
    found = {
        page: deep
        for page in (*PAGES, *EXAMPLES, *modules)
        if (deep := [name for code in code_of(page) for name in too_deep(code)])
    }
    assert not found
    # In running text, as `mechanisms.sources.load_file(...)`.
    prose = [name for page in PAGES for name in DOTTED.findall((ROOT / page).read_text(encoding="utf-8"))]
    assert not [name for name in prose if is_deep(name)]
    fixes = [name for page in modules for text in fixes_of(page) for name in DOTTED.findall(text)]
    assert fixes
    assert not [name for name in fixes if is_deep(name)]


def fixes_of(page: str) -> Iterator[str]:
    """Yield the texts by which a module's errors tell what to do."""
    text = (ROOT / page).read_text(encoding="utf-8")
    for node in ast.walk(ast.parse(text)) if "fix=" in text else ():
        if isinstance(node, ast.keyword) and node.arg == "fix":
            yield from (str(n.value) for n in ast.walk(node.value) if isinstance(n, ast.Constant))


def is_deep(name: str) -> bool:
    """Tell whether a dotted name leads through a module deeper than one level below a package."""
    parts = name.split(".")
    path = ROOT.joinpath(*parts[:3])
    return len(parts) > 2 and (path.is_dir() or path.with_suffix(".py").exists())


def test_deep_names_are_found() -> None:
    names = DOTTED.findall("`mechanisms.sources.load_file(x)`, audit.Verdict.REFUTED and audit.plan.split.Split.")
    assert names == ["mechanisms.sources.load_file", "audit.Verdict.REFUTED", "audit.plan.split.Split"]
    assert [is_deep(name) for name in names] == [False, False, True]


@pytest.mark.parametrize(
    "module",
    [
        "audit.given.auditing",
        "audit.lots.auditing",
        "audit.records.result",
        "mechanisms.adapters.sklearn",
        "mechanisms.lazy",
        "mechanisms.perturbation.output_perturbation",
    ],
)
def test_examples_in_docstrings_run(module: str) -> None:
    done = doctest.testmod(import_module(module))
    assert done.attempted
    assert not done.failed
