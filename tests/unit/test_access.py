"""Access as data: what a plan grants, what attacks need, and outputs of a linear mechanism."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from attacks.linear.influence import Influence
from attacks.outputs.u_lira import ULira
from attacks.portfolio import portfolio
from audit.commands.plan_file.example import example_plan
from audit.commands.plan_file.reading import ResolvedPlan, read_plan
from audit.errors import PlanError
from audit.plan.audit_plan import AuditPlan
from audit.records.verdict import Verdict
from audit.running.binding import bind, make_context
from audit.running.runner import run
from mechanisms.adapters.observed import ObservedOutputs
from mechanisms.claim import Claim, EpsilonDelta
from mechanisms.dataset import Dataset
from mechanisms.errors import InvalidInputError
from mechanisms.faulty import NeglectedRidge
from mechanisms.protocol import Access, HasLaw, OutputKind, World
from mechanisms.ridge.langevin import RidgeLangevin
from mechanisms.sources import load_named

EXAMPLE_PLAN = example_plan()
RIDGE = RidgeLangevin(n_learn=20, n_unlearn=4, sigma_unlearn=0.0005, sampler="closed_form")
CLAIM = Claim(guarantee=EpsilonDelta(epsilon=0.5, delta=1e-3))


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_named("digits", rows=120)


class TestObservedOutputs:
    @pytest.mark.parametrize("kind", ["values", "logits", "probabilities", "labels"])
    def test_outputs_are_those_of_the_weights(self, digits: Dataset, kind: OutputKind) -> None:
        inner = RIDGE.bind(digits, (3,))
        deletion = ObservedOutputs(mechanism=RIDGE, outputs=kind, probe=(8, 3)).bind(digits, (3,))
        weights = inner.sample(World.UNLEARNED, 5, rng=np.random.default_rng(0))
        seen = deletion.sample(World.UNLEARNED, 5, rng=np.random.default_rng(0))
        assert seen.shape == (5, *deletion.release.shape)
        expected = np.stack([digits.features[[3, 8]] @ w for w in weights])
        if kind == "probabilities":
            expected = np.exp(expected) / np.exp(expected).sum(axis=2, keepdims=True)
        if kind == "labels":
            expected = expected.argmax(axis=2)[:, :, None]
        np.testing.assert_allclose(seen, expected, rtol=1e-9, atol=1e-12)
        assert deletion.release.access is Access.BLACK_BOX
        assert deletion.release.continuous == (kind != "labels")

    def test_claims_stay_and_are_no_longer_exact(self, digits: Dataset) -> None:
        deletion = ObservedOutputs(mechanism=RIDGE).bind(digits, (3,))
        assert not isinstance(deletion, HasLaw)
        stated = RIDGE.bind(digits, (3,)).certificates()
        assert [c.claim.guarantee for c in deletion.certificates()] == [c.claim.guarantee for c in stated]
        assert "exact" not in {c.claim.provenance for c in deletion.certificates()}

    def test_the_context_says_where_the_deleted_records_are(self, digits: Dataset) -> None:
        deletion = ObservedOutputs(mechanism=RIDGE, outputs="values", probe=(8,)).bind(digits, (3, 5))
        probe = make_context(deletion, digits, (3, 5)).probe
        assert probe is not None
        assert (probe.kind, probe.rows) == ("values", (0, 1))
        assert make_context(RIDGE.bind(digits, (3,)), digits, (3,)).probe is None

    def test_what_cannot_be_observed(self, digits: Dataset) -> None:
        with pytest.raises(InvalidInputError, match=r"probe\.records"):
            ObservedOutputs(mechanism=RIDGE, probe=(120,)).bind(digits, (3,))
        with pytest.raises(InvalidInputError, match="linear weights"):
            ObservedOutputs(mechanism=ObservedOutputs(mechanism=RIDGE)).bind(digits, (3,))


class TestGranted:
    def plan(self, *attacks: object, access: Access | None = None) -> AuditPlan:
        return AuditPlan(claims=(CLAIM,), forget=((3,),), attacks=attacks, access=access)  # type: ignore[arg-type]

    def test_an_attack_that_needs_more_is_refused_before_anything_is_drawn(self, digits: Dataset) -> None:
        seen = ObservedOutputs(mechanism=RIDGE)
        with pytest.raises(InvalidInputError, match=r"influence needs white_box releases \(the parameters\)"):
            bind(seen, digits, self.plan(Influence()), 0)
        bind(seen, digits, self.plan(ULira(), *portfolio(), access=Access.BLACK_BOX), 0)

    def test_a_plan_and_a_mechanism_must_agree(self, digits: Dataset) -> None:
        with pytest.raises(InvalidInputError, match='access to be "white_box"'):
            bind(RIDGE, digits, self.plan(ULira(), access=Access.BLACK_BOX), 0)
        bind(RIDGE, digits, self.plan(Influence(), access=Access.WHITE_BOX), 0)

    def test_a_black_box_audit_refutes_an_ignored_deletion(self, digits: Dataset) -> None:
        """With the portfolio, whose ledger has a line for each family."""
        service = ObservedOutputs(mechanism=NeglectedRidge(mechanism=RIDGE), outputs="values")
        plan = AuditPlan(
            claims=(CLAIM,), forget=((77,),), attacks=portfolio(), trials=1000, access=Access.BLACK_BOX, seed=1
        )
        result = run(service, digits, plan)
        assert result.verdict is Verdict.REFUTED
        assert {member.attack for member in result.family.members} == {a.name for a in portfolio()}
        fired = {test.bound.attack for test in result.findings[0].tests if test.rejected}
        assert "portfolio:mean" in fired


class TestPlanFile:
    attacks = EXAMPLE_PLAN[EXAMPLE_PLAN.index("[[attacks]]") :]

    def read(self, folder: Path, attack: str, *changes: tuple[str, str]) -> ResolvedPlan:
        text = EXAMPLE_PLAN.replace(self.attacks, f'[[attacks]]\nname = "{attack}"\n')
        for old, new in (("rows = 1500", "rows = 90"), *changes):
            assert old in text
            text = text.replace(old, new)
        (folder / "plan.toml").write_text(text)
        return read_plan(folder / "plan.toml")

    def test_a_portfolio_is_an_attack_a_family(self, tmp_path: Path) -> None:
        plan = self.read(tmp_path, "portfolio").plan
        assert [attack.name for attack in plan.attacks] == ["portfolio:mean", "portfolio:scale", "portfolio:tail"]
        assert plan.access is None

    def test_black_box(self, tmp_path: Path) -> None:
        probe = '[probe]\noutputs = "probabilities"\nrecords = [4, 5]\n\n[records]'
        resolved = self.read(tmp_path, "u_lira", ("[records]", probe), ("seed = 7", 'seed = 7\naccess = "black_box"'))
        assert resolved.plan.access is Access.BLACK_BOX
        assert isinstance(resolved.mechanism, ObservedOutputs)
        assert (resolved.mechanism.outputs, resolved.mechanism.probe) == ("probabilities", (4, 5))
        assert bind(resolved.mechanism, resolved.data, resolved.plan, 0).context.probe is not None

    def test_a_probe_without_black_box(self, tmp_path: Path) -> None:
        with pytest.raises(PlanError, match='probe belongs to access = "black_box"'):
            self.read(tmp_path, "lda", ("[records]", "[probe]\nrecords = [1]\n\n[records]"))
