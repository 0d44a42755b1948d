"""Docstrings of what others rely on: shapes, errors and sources. That none is missing at all, the linter checks."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import textwrap
from collections.abc import Iterator
from typing import Any

import pytest

from attacks.registry import ATTACKS

# Every public name of these modules that computes a bound, a p-value, an estimate or a certificate.
MODULES = (
    "audit.statistics.bands",
    "audit.statistics.bounds",
    "audit.records.estimates",
    "audit.statistics.gdp",
    "audit.statistics.multiplicity",
    "audit.lots.statistics.betting",
    "audit.lots.statistics.judging",
    "audit.lots.statistics.tails",
    "audit.power.ceilings",
    "audit.regression.differences",
    "audit.statistics.e_process",
    "audit.statistics.e_values",
    "audit.gathering.split_bound",
    "mechanisms.accounting.calibration",
    "mechanisms.accounting.gaussian_pair",
    "mechanisms.accounting.gdp",
    "mechanisms.accounting.renyi",
    "mechanisms.accounting.shifted_interpolation",
)
# Names there that are plain data or arithmetic, with nothing to cite.
PLAIN = {
    "mechanisms.accounting.calibration.far_too_little",
    "audit.statistics.bounds.NullRange",
    "audit.records.estimates.Estimate",
    "audit.statistics.gdp.GaussianBound",
    "audit.statistics.multiplicity.equal_share",
    "audit.statistics.multiplicity.ledger",
    "audit.statistics.multiplicity.role_levels",
    "audit.lots.statistics.betting.Bet",
    "audit.lots.statistics.judging.Judgement",
    "audit.lots.statistics.judging.n_fit",
    "audit.lots.statistics.tails.whole_weights",
    "audit.power.ceilings.ranked_events",
    "audit.power.ceilings.expected_verdict",
    "audit.power.ceilings.refutable",
    "audit.regression.differences.Difference",
    "audit.statistics.e_process.Advance",
    "audit.statistics.e_process.epsilon_grid",
    "mechanisms.accounting.calibration.Calibration",
    "mechanisms.accounting.calibration.round_up_to_grid",
}
MECHANISMS = (
    "mechanisms.logistic.langevin.LogisticLangevin",
    "mechanisms.networks.langevin.NetworkLangevin",
    "mechanisms.perturbation.newton_removal.NewtonRemoval",
    "mechanisms.perturbation.output_perturbation.OutputPerturbation",
    "mechanisms.ridge.downdate.ExactDowndate",
    "mechanisms.ridge.langevin.RidgeLangevin",
    "mechanisms.ridge.minibatches.RidgeMinibatch",
)
OTHERS = ("mechanisms.adapters.functions.from_functions", "mechanisms.adapters.sklearn.from_estimator")
SOURCE = re.compile(r"(?:19|20)\d\d|arXiv")
POINTER = re.compile(r":(?:func|meth|class|mod):`")


def public() -> Iterator[tuple[str, Any]]:
    for module in MODULES:
        for name, value in vars(importlib.import_module(module)).items():
            is_own = getattr(value, "__module__", None) == module and not name.startswith("_")
            if is_own and (inspect.isfunction(value) or inspect.isclass(value)):
                yield f"{module}.{name}", value
    for attack in ATTACKS.values():
        yield f"{type(attack).__module__}.{type(attack).__name__}", type(attack)
    for path in (*MECHANISMS, *OTHERS):
        module, name = path.rsplit(".", 1)
        yield path, getattr(importlib.import_module(module), name)


PUBLIC = dict(public())


def section(doc: str, name: str) -> str:
    """Return the text of a numpydoc section, empty where there is none."""
    found = re.search(rf"^{name}\n-{{3,}}\n(.*?)(?=^\w[\w ]*\n-{{3,}}\n|\Z)", doc, re.MULTILINE | re.DOTALL)
    return found[1] if found else ""


def raised(value: Any) -> set[str]:
    """Return the names of errors that a function's own body raises."""
    if not inspect.isfunction(value):
        return set()
    tree = ast.parse(textwrap.dedent(inspect.getsource(value)))
    calls = [node.exc for node in ast.walk(tree) if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call)]
    return {call.func.id for call in calls if isinstance(call.func, ast.Name) and call.func.id.endswith("Error")}


def takes_arrays(value: Any) -> bool:
    if not inspect.isfunction(value):
        return False
    annotations = [str(p.annotation) for p in inspect.signature(value).parameters.values()]
    return any(re.search(r"Array|Floats|Ints|NDArray", text) for text in annotations)


def test_there_is_something_to_check() -> None:
    assert len(PUBLIC) > 60
    assert set(PUBLIC) >= PLAIN


@pytest.mark.parametrize("path", PUBLIC)
def test_shapes_errors_and_sources_are_stated(path: str) -> None:
    value = PUBLIC[path]
    doc = inspect.getdoc(value) or ""
    assert doc.split("\n")[0].endswith("."), "the first line is a sentence"
    arguments = [p for p in inspect.signature(value).parameters.values() if p.name != "self"]
    if inspect.isfunction(value) and len(arguments) > 1:
        parameters = section(doc, "Parameters")
        assert parameters, "no Parameters"
        names = set(re.findall(r"\w+", parameters))
        assert {p.name for p in arguments} <= names
    if takes_arrays(value):
        assert "hape" in doc, "an array without its shape"
    assert raised(value) <= set(re.findall(r"\w+Error", section(doc, "Raises"))), "an error that is not listed"
    if path not in PLAIN:
        references = section(doc, "References")
        assert SOURCE.search(references) or POINTER.search(references), "no source"
