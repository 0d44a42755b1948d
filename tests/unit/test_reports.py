"""Reports: the words, the outward rounding, and that HTML, Markdown and JSON tell the same story."""

from __future__ import annotations

import dataclasses
import json
import math
import re
import subprocess
import sys
from collections.abc import Iterator
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import ndtr

import reports
from audit.counts import Counts
from audit.estimates import Estimate, estimate
from audit.evidence import EpsilonLowerBound, EventTest, Finding, Preview, Roc, Sandwich
from audit.histograms import ScoreHistogram, histogram_of
from audit.ledger import Control, DataRecord, Environment, Family, Member, PlanRecord
from audit.plan import Bonferroni
from audit.result import AuditCollection, AuditResult, Table, load_json
from audit.split import Split
from audit.verdict import Reason, Verdict
from mechanisms.claim import (
    BOTH_DIRECTIONS,
    Certificate,
    Claim,
    Direction,
    EpsilonDelta,
    GaussianDP,
    PrivacyProfile,
    Reference,
)
from mechanisms.errors import InvalidInputError
from reports import figures, html, markdown, terminal
from reports.numbers import as_float, counted, down, enough_digits, listed, nearest, up
from reports.view import page

N = 14_000
DELTA = 1e-5
FORWARD = Direction.UNLEARNED_FROM_RETRAINED
HOSTILE = '<script>alert("x")</script>&|`$_$`[a](javascript:b)\x1b\n# x'


# A small audit, made by hand: the counts are those that Gaussian scores with a shift mu would give.


def profile_claim(mu: float, provenance: Any = "exact") -> Claim:
    points = GaussianDP(mu=mu).points(FORWARD)
    log_deltas = tuple(math.log(max(p.delta, 1e-300)) for p in points)
    return Claim(
        guarantee=PrivacyProfile(
            epsilons=tuple(p.epsilon for p in points), log_deltas=dict.fromkeys(BOTH_DIRECTIONS, log_deltas)
        ),
        provenance=provenance,
        assumptions=("The noise is Gaussian and independent across steps",),
    )


def roc(attack: str, mu: float, n: int = N) -> Roc:
    thresholds = np.linspace(-3, 3.5 + mu, 40)
    return Roc(
        attack=attack,
        n_unlearned=n,
        n_retrained=n,
        thresholds=tuple(thresholds.tolist()),
        k_unlearned=tuple(int(k) for k in np.round(n * ndtr(mu - thresholds))),
        k_retrained=tuple(int(k) for k in np.round(n * ndtr(-thresholds))),
    )


def event_test(
    attack: str, mu: float, threshold: float, point: EpsilonDelta, role: Any, level: float, n: int = N
) -> EventTest:
    k1, k0 = round(n * ndtr(mu - threshold)), round(n * ndtr(-threshold))
    bound = max(0.0, math.log(max(k1 / n - 2 * math.sqrt(k1 + 1) / n - point.delta, 1e-9) / ((k0 + 3) / n)))
    rejected = bound > point.epsilon
    return EventTest(
        role=role,
        point=point,
        p_value=level * math.exp(-25 * bound) if rejected else min(1.0, 0.0234567 + 3 * level),
        rejected=rejected,
        bound=EpsilonLowerBound(
            value=bound,
            delta=point.delta,
            direction=FORWARD,
            level=level,
            method="exact_joint",
            attack=attack,
            tail="upper",
            threshold=threshold,
            counts=Counts(k_unlearned=k1, n_unlearned=n, k_retrained=k0, n_retrained=n),
        ),
    )


def digit(seed: int) -> Preview:
    rng = np.random.default_rng(seed)
    grid = np.zeros((8, 8))
    grid[1:7, 2:6] = np.round(rng.uniform(0, 1, (6, 4)) * 16) / 16
    return Preview(record=seed, target=str(seed % 10), image_shape=(8, 8), values=tuple(grid.ravel().tolist()))


def certificates(mu: float, without: float) -> tuple[Certificate, ...]:
    exact = profile_claim(mu)
    published = Claim(
        guarantee=GaussianDP(mu=4 * mu),
        provenance="published",
        assumptions=("Proof gap: the accounting conditions on an event that depends on the noise it then uses.",),
    )
    values = ((exact, "exact"), (published, "published"))
    return tuple(
        Certificate(
            claim=claim,
            method=method,
            epsilon=claim.epsilon_at(DELTA, FORWARD),
            delta=DELTA,
            numerical_error=1e-9,
            epsilon_without_unlearning=without,
        )
        for claim, method in values
    )


def estimate_of(attack: str, mu: float) -> Estimate:
    rng = np.random.default_rng(round(100 * mu))
    return estimate(attack, rng.normal(mu, 1, 120), rng.normal(0, 1, 90), rng=rng)


def histogram(attack: str, mu: float) -> ScoreHistogram:
    rng = np.random.default_rng(round(100 * mu))
    member = "krylov_lda" if attack == "lda" else None
    return histogram_of(attack, rng.normal(mu, 1, N), rng.normal(0, 1, N), member=member)


def finding(
    claim: Claim,
    record: int,
    label: str,
    *,
    shown: float,
    true: float | None,
    verdict: Verdict,
    level: float = 0.05 / 12,
    **changes: Any,
) -> Finding:
    """A finding whose attacks see a Gaussian shift ``shown`` where the exact law has the shift ``true``."""
    strengths = {"likelihood_ratio": shown, "target_loss": 0.8 * shown, "influence": 0.6 * shown, "lda": 0.5 * shown}
    points = {"claim_row": claim.points(FORWARD)[len(claim.points(FORWARD)) // 3]}
    points["plan_delta"] = EpsilonDelta(epsilon=claim.epsilon_at(DELTA, FORWARD), delta=DELTA)
    tests = tuple(
        event_test(attack, mu, threshold, points[role], role, level)
        for attack, mu in strengths.items()
        for role, threshold in (("claim_row", 0.7), ("plan_delta", 2.3))
    )
    exact = None if true is None else profile_claim(true)
    best = {role: max((t for t in tests if t.role == role), key=lambda t: t.bound.value) for role in points}
    sandwiches = tuple(
        Sandwich(
            role=role,
            bound=test.bound,
            exact=exact.epsilon_at(test.bound.delta, FORWARD) if exact else None,
            claimed=claim.epsilon_at(test.bound.delta, FORWARD),
            ceiling=7.123456,
            detectable_epsilon=1.4321 * claim.epsilon_at(test.bound.delta, FORWARD) + 0.05,
        )
        for role, test in best.items()
    )
    values: dict[str, Any] = {
        "claim": claim,
        "forget": (record,),
        "label": label,
        "verdict": verdict,
        "reason": None,
        "p_value": min(t.p_value for t in tests),
        "level": level,
        "tests": tests,
        "sandwiches": sandwiches,
        "roc": tuple(roc(attack, mu) for attack, mu in strengths.items()),
        "failures": {},
        "certificates": certificates(true, 10.2789) if true is not None else (),
        "parameters": {
            "penalty": 1.0,
            "n_learn": 300.0,
            "n_unlearn": 100.0,
            "sigma_learn": 0.001,
            "sigma_unlearn": 0.0121357,
        },
        "preview": (digit(record),),
        "estimates": tuple(estimate_of(attack, mu) for attack, mu in strengths.items()),
        "histograms": tuple(histogram(attack, mu) for attack, mu in strengths.items()),
    }
    return Finding(**(values | changes))


def controls(forget: tuple[int, ...], label: str, bound: EpsilonLowerBound) -> tuple[Control, ...]:
    about: dict[str, Any] = {"forget": forget, "label": label}
    counted: dict[str, Any] = {"p_value": 0.4567, "level": 0.00025, "n_trials": 4000}
    return (
        Control(name="null", as_expected=True, message="Could not be told apart.", **about, **counted),
        Control(name="neglected", as_expected=False, message="Was NOT told apart.", bound=bound, **about, **counted),
        Control(name="replay", as_expected=True, message="The same stream gave the same releases.", **about),
        Control(name="duplicates", as_expected=True, applicable=False, message="Declared discrete.", **about),
        Control(name="lag_one", as_expected=True, message="Not correlated.", **about, **counted),
        Control(name="step_noise", as_expected=True, message="Drawn afresh.", **about),
    )


def result(title: str, findings: tuple[Finding, ...], **changes: Any) -> AuditResult:
    attacks = ("likelihood_ratio", "target_loss", "influence", "lda")
    level = findings[0].level
    members = tuple(
        Member(claim=0, forget=f.forget, attack=attack, role=role, level=level)
        for f in findings
        for attack in attacks
        for role in ("claim_row", "plan_delta")
    )
    values: dict[str, Any] = {
        "title": title,
        "mechanism": "ridge_langevin",
        "sampler": "closed_form",
        "plan": PlanRecord(
            claims=("exact certificate",),
            forget=tuple(f.forget for f in findings),
            labels=tuple(f.label for f in findings),
            attacks=attacks,
            trials=20_000,
            n_fit=6_000,
            n_counted=N,
            control_trials=4_000,
            counting=Split(),
            significance=0.05,
            delta=DELTA,
            seed=7,
            chunk_size=500,
        ),
        "findings": findings,
        "controls": tuple(c for f in findings if f.bound for c in controls(f.forget, f.label, f.bound)),
        "family": Family(significance=0.05, correction=Bonferroni(), members=members),
        "data": DataRecord(
            name="digits", sha256="9f" * 32, n_records=1500, n_features=65, n_targets=10, kind="classification"
        ),
        "environment": Environment(
            started="2025-11-24T08:00:00Z",
            seconds=41.234,
            python="3.11.2",
            platform="Linux",
            libraries={"numpy": "2.3.5", "scipy": "1.16.3"},
            n_jobs=2,
            command="unlearn-audit run plan.toml --out out --seed 7",
        ),
    }
    return AuditResult(**(values | changes))


def make_collection() -> AuditCollection:
    claim = profile_claim(0.1422)
    good = tuple(
        finding(claim, record, label, shown=0.13, true=0.1422, verdict=Verdict.NOT_REFUTED)
        for record, label in ((757, "hardest"), (465, "median"), (1463, "easiest"))
    )
    lost = tuple(
        finding(claim, record, label, shown=shown, true=0.1422, verdict=verdict)
        for record, label, shown, verdict in (
            (757, "hardest", 2.1, Verdict.REFUTED),
            (1463, "easiest", 0.1, Verdict.NOT_REFUTED),
        )
    )
    published = Claim(guarantee=GaussianDP(mu=0.5688), provenance="published")
    good = (*good, finding(published, 5, "published", shown=0.13, true=0.1422, verdict=Verdict.NOT_REFUTED))
    return AuditCollection(
        title="Deleting three digits",
        introduction="Three records are deleted.\n\nEvery number below was computed by the run that wrote this page.",
        results=(
            result("Noise from the exact certificate", good),
            result("The service lost the request", lost, sampler="stepwise"),
            result("Your own functions", undecided(claim), sampler="user functions", mechanism="my_service"),
        ),
        tables=(
            Table(
                title="What each certificate costs",
                caption="Accuracy on held-out rows, before any deletion 0.882.",
                columns=("record", "noise, exact", "noise, published", "accuracy, exact"),
                rows=(("hardest", "0.0121", "0.0597", "0.793"), ("easiest", "0.00088", "0.0180", "0.879")),
            ),
        ),
    )


def undecided(profile: Claim) -> tuple[Finding, ...]:
    """A refuted claim without certificates, and every way not to decide."""
    failed: dict[str, Any] = {"true": None, "verdict": Verdict.INCONCLUSIVE, "reason": Reason.ATTACK_FAILED}
    one_way = Claim(guarantee=GaussianDP(mu=0.3), directions=(FORWARD,), reference=Reference.RETRAIN_ONLY)
    table = (Preview(record=3, target="1.25", image_shape=None, values=(0.5, -1.25, 3.0)),)
    return (
        finding(point_claim(0.1, 0.01), 3, "", shown=0.9, true=None, verdict=Verdict.REFUTED, preview=table),
        hopeless(),
        finding(
            one_way, 12, "", shown=0.2, failures={"lda": "Expected at least 132 trials, got 70; draw more."}, **failed
        ),
        finding(
            point_claim(1.0, 0.0),
            13,
            "",
            shown=0.2,
            tests=(),
            sandwiches=(),
            roc=(),
            failures={"lda": "broken"},
            **failed,
        ),
        finding(profile, 14, "", shown=0.9, preview=(), **(failed | {"reason": Reason.NOT_REPRODUCIBLE})),
    )


def point_claim(epsilon: float, delta: float) -> Claim:
    return Claim(guarantee=EpsilonDelta(epsilon=epsilon, delta=delta))


def hopeless() -> Finding:
    """A claim above the ceiling, of a mechanism without any noise."""
    made = finding(point_claim(9.5, 0.0), 11, "", shown=0.2, true=0.3, verdict=Verdict.INCONCLUSIVE, p_value=1.0)
    unbounded = {"exact": math.inf, "detectable_epsilon": math.inf}
    certificate = dataclasses.replace(made.certificates[0], epsilon=math.inf, epsilon_without_unlearning=math.inf)
    return dataclasses.replace(
        made,
        sandwiches=tuple(dataclasses.replace(s, **unbounded) for s in made.sandwiches),
        certificates=(certificate,),
        reason=Reason.CANNOT_BE_REFUTED_AT_THIS_N,
    )


@pytest.fixture(scope="module")
def collection() -> AuditCollection:
    return make_collection()


# Numbers


def test_numbers_are_rounded_outward_at_every_magnitude() -> None:
    rng = np.random.default_rng(1)
    values = np.concatenate(
        [10 ** rng.uniform(-320, 300, 2000), 10 ** rng.uniform(-6, 8, 2000), -(10 ** rng.uniform(-6, 8, 500))]
    )
    for value in [*map(float, values), 0.1, 0.3, 1 / 3, 9.996, 999.5, 1e-4, 9.999e-4, 1e7, 9999999.5, 5e-324, 0.0]:
        for digits in (3, 5, 17):
            low, high = as_float(down(value, digits)), as_float(up(value, digits))
            assert low <= value <= high, (value, digits)
            assert high - low <= 2 * 10 ** (1 - digits) * abs(value) + 1e-323, (value, digits)
        assert abs(as_float(nearest(value)) - value) <= 1e-3 * abs(value) + 1e-323


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (down(0.1), "0.1"),
        (up(0.1), "0.1"),
        (up(0.5000001), "0.501"),
        (down(0.4999999), "0.499"),
        (down(9.996), "9.99"),
        (up(9.996), "10"),
        (up(2413.2), "2414"),
        (down(2413.2), "2413"),
        (up(0.05 / 12), "0.00417"),
        (up(0.00025), "2.5e-4"),
        (down(1e-5), "1e-5"),
        (up(12345678.9), "1.24e7"),
        (up(math.inf), "∞"),
        (down(-math.inf), "-∞"),
        (up(math.nan), "not a number"),
        (down(0.0), "0"),
        (nearest(-0.0), "0"),
        (counted(1, "record"), "1 record"),
        (counted(1500, "record"), "1,500 records"),
        (listed(["a"]), "a"),
        (listed(["a", "b", "c"]), "a, b and c"),
    ],
)
def test_number_texts(text: str, expected: str) -> None:
    assert text == expected


def test_rounding_outward_never_hides_that_a_bound_exceeds_a_claim() -> None:
    assert enough_digits(0.2, 0.5) == 3
    for bound, claimed in ((0.50040, 0.50035), (1.0000001, 1.0), (0.7, 0.1), (1.0000000000000002, 1.0)):
        digits = enough_digits(bound, claimed)
        assert as_float(down(bound, digits)) > as_float(up(claimed, digits))


# What is said


BREAKING = str.maketrans({"\N{NO-BREAK SPACE}": " ", "\N{NON-BREAKING HYPHEN}": "-"})


def html_text(document: str) -> str:
    body = re.sub(r"<style>.*?</style>", " ", document, flags=re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", body)).translate(BREAKING)


def unescaped(text: str) -> str:
    return unescape(re.sub(r"\\([\\`*_{}\[\]|~$#])", r"\1", text))


@pytest.fixture(scope="module")
def document(collection: AuditCollection) -> str:
    return html.render(collection)


@pytest.fixture(scope="module")
def texts(collection: AuditCollection, document: str) -> dict[str, str]:
    return {
        "html": unescaped(html_text(document)),
        "md": unescaped(markdown.render(collection)),
        "terminal": terminal.summary(collection),
    }


def test_every_verdict_is_said_in_words_in_both_formats(collection: AuditCollection, texts: dict[str, str]) -> None:
    view = page(collection)
    findings = [f for audit in view.audits for f in audit.findings]
    originals = [f for r in collection.results for f in r.findings]
    assert len(findings) == len(originals) == 11
    for part, original in zip(findings, originals, strict=True):
        assert part.verdict.key == original.verdict.value
        assert part.verdict.text == original.verdict.value.upper().replace("_", " ")
        for name in ("html", "md"):
            for said in (part.sentence, part.strength, part.verdict.text):
                assert said in texts[name], (name, said)
    for name in ("html", "md", "terminal"):
        for word in ("✕ REFUTED", "○ NOT REFUTED", "? INCONCLUSIVE"):
            assert word in texts[name].replace("  ", " "), (name, word)


def test_not_refuted_never_comes_without_what_could_have_been_refuted(collection: AuditCollection) -> None:
    for audit, r in zip(page(collection).audits, collection.results, strict=True):
        for part, original in zip(audit.findings, r.findings, strict=True):
            if original.verdict is Verdict.NOT_REFUTED:
                sandwich = original.sandwiches[0]
                assert f"probability 0.8 is {up(sandwich.detectable_epsilon)}" in part.strength
                assert "a Gaussian shift" in part.strength
                assert f"ε = {up(sandwich.ceiling)} (the ceiling)" in part.strength


def test_reasons_are_given_in_plain_words(texts: dict[str, str]) -> None:
    for said in (
        "what is claimed lies above everything that this many trials could ever show (at most ε = 7.13 at δ = 0)",
        "lda could not be run, so the audit is weaker than planned.",
        "No attack could be run: there is no lower bound.",
        "evidence from a broken sampler speaks neither for nor against a claim.",
        "No true ε, however large, would have been refuted with probability 0.8",
        "Attack lda could not be run: Expected at least 132 trials, got 70; draw more.",
        "Proof gap: the accounting conditions on an event that depends on the noise it then uses.",
    ):
        assert said in texts["html"], said
        assert said in texts["md"], said


def said_of(made: Finding) -> str:
    return page(result("One", (made,))).audits[0].findings[0].sentence


def test_every_reason_is_said() -> None:
    made = hopeless()
    assert "more trials are needed" in said_of(made)
    assert "stopped before all" in said_of(dataclasses.replace(made, reason=Reason.CUT_SHORT))
    assert "a claim before this one was not refuted" in said_of(dataclasses.replace(made, reason=Reason.NOT_TESTED))
    assert "no reason was recorded" in said_of(dataclasses.replace(made, reason=None))
    assert set(Reason) == {
        Reason.CANNOT_BE_REFUTED_AT_THIS_N,
        Reason.CUT_SHORT,
        Reason.ATTACK_FAILED,
        Reason.NOT_REPRODUCIBLE,
        Reason.NOT_TESTED,
    }


def promising_nothing() -> Finding:
    made = hopeless()
    claim = point_claim(math.inf, 0.0)
    return dataclasses.replace(
        made, claim=claim, sandwiches=tuple(dataclasses.replace(s, claimed=math.inf) for s in made.sandwiches)
    )


def test_a_claim_of_no_finite_epsilon_is_drawn_and_said() -> None:
    made = promising_nothing()
    assert "no finite ε at δ = 0, could not be decided: it promises no finite ε" in said_of(made)
    check_html(html.render(result("One", (made,))))
    assert "no finite ε, δ = 0" in terminal.summary(result("One", (made,)))


def test_a_claim_of_no_finite_epsilon_survives_the_json(tmp_path: Path) -> None:
    made = result("One", (promising_nothing(),))
    (path,) = reports.write(made, tmp_path, formats=("json",))
    assert load_json(path.read_text(encoding="utf-8")) == made


def test_no_word_makes_more_of_a_verdict_than_it_is(texts: dict[str, str]) -> None:
    for text in texts.values():
        assert not re.search(r"\b(passed|passes|safe|certified|proven|proved|verified)\b", text, flags=re.IGNORECASE)


def test_limits_stand_before_the_records_and_name_the_sampler(
    collection: AuditCollection, texts: dict[str, str]
) -> None:
    for name in ("html", "md"):
        text = texts[name]
        assert text.index("What this does not show") < text.index("Parameters of this deletion")
        assert "only stepwise, which runs every training step, tests the laws" in text
        assert "Each audit is a family of its own." in text
    for sampler, said in (("stepwise", "shares no code with the laws"), ("user functions", "your production code")):
        alone = page(dataclasses.replace(collection.results[0], sampler=sampler))
        assert said in " ".join(passage.text for passage in alone.limits)
        assert "Each audit is a family of its own." not in [passage.heading for passage in alone.limits]


def test_a_certificate_hardly_below_epsilon_without_unlearning_is_noted() -> None:
    claim = profile_claim(0.1422)
    made = finding(
        claim, 1, "", shown=0.1, true=0.1422, verdict=Verdict.NOT_REFUTED, certificates=certificates(0.1422, 0.52)
    )
    notes = page(result("One", (made,))).audits[0].findings[0].notes
    assert any("hardly below ε without unlearning (0.52)" in note for note in notes)
    assert any("not below ε without unlearning (0.52): the learning noise alone does more" in note for note in notes)
    assert not page(make_collection().results[0]).audits[0].findings[0].notes


def test_a_bound_above_the_exact_epsilon_is_noted(collection: AuditCollection) -> None:
    lost, kept = page(collection).audits[1].findings
    assert len([note for note in lost.notes if "what was sampled is not what the certificate describes" in note]) == 2
    assert kept.notes == ()
    broken = dataclasses.replace(
        collection.results[1].findings[0], verdict=Verdict.INCONCLUSIVE, reason=Reason.NOT_REPRODUCIBLE
    )
    assert page(result("One", (broken,))).audits[0].findings[0].notes == ()


# HTML


class Checker(HTMLParser):
    """Collects what must not be there, and whether elements nest."""

    VOID = frozenset({"meta", "img", "br", "link", "input", "hr"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.ids: list[str] = []
        self.attributes: list[tuple[str, str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]
        self.ids += [value for name, value in attrs if name == "id" and value]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def check_html(document: str) -> Checker:
    checker = Checker()
    checker.feed(document)
    checker.close()
    assert checker.open == []
    assert not checker.tags & {"script", "iframe", "object", "embed", "link", "base", "form"}
    assert len(set(checker.ids)) == len(checker.ids)
    for tag, name, value in checker.attributes:
        assert not name.startswith("on"), (tag, name)
        if name == "src":
            assert (value or "").startswith("data:image/png;base64,")
        if name in ("href", "xlink:href"):
            assert (value or "").startswith("#")
            assert (value or "")[1:] in checker.ids
        if name == "style":
            assert re.findall(r"url\((?!#)", value or "") == []
    return checker


def test_html_is_one_closed_file(document: str) -> None:
    checker = check_html(document)
    policy = [value for tag, name, value in checker.attributes if tag == "meta" and name == "content"]
    assert "default-src 'none'; style-src 'unsafe-inline'; img-src data:" in policy
    assert document.index("Content-Security-Policy") < document.index("<style>")
    without_images = re.sub(r"base64,[A-Za-z0-9+/=]+", "", document)
    assert not re.search(r"(https?:|//[a-z]|@import|javascript:)", without_images)
    images = [value for tag, name, value in checker.attributes if tag == "img" and name == "alt"]
    assert "Deleted record 757, target 7: an image of 8 by 8 pixels" in images
    drawings = [value for tag, name, value in checker.attributes if tag == "svg" and name == "aria-label"]
    assert all(drawings)
    assert len(drawings) >= 20


def hostile_collection() -> AuditCollection:
    """The collection with every free text replaced."""
    loaded = json.loads(make_collection().to_json())
    names = {"title", "introduction", "caption", "label", "message", "mechanism", "sampler", "method", "name", "kind"}
    names |= {"python", "platform", "started", "command", "attack", "target", "sha256"}
    lists = {"columns", "rows", "assumptions", "labels", "attacks", "claims"}

    def poison(value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            if key in ("parameters", "failures", "libraries"):
                return {f"{k}{HOSTILE}": (v if isinstance(v, float) else HOSTILE) for k, v in value.items()}
            fixed = {"kind"} if "kind" in value and "n_features" not in value else set()
            fixed |= {"name"} if "as_expected" in value else set()
            fixed |= {"method"} if "threshold" in value else set()
            return {k: v if k in fixed else poison(v, k) for k, v in value.items()}
        if isinstance(value, list):
            return [poison(item, key) for item in value]
        return f"{value}{HOSTILE}" if isinstance(value, str) and key in names | lists else value

    made = load_json(json.dumps(poison(loaded)))
    assert isinstance(made, AuditCollection)
    return made


def test_hostile_names_stay_text_everywhere() -> None:
    hostile = hostile_collection()
    assert HOSTILE in hostile.results[0].findings[0].label
    document = html.render(hostile)
    check_html(document)
    assert "<script" not in document
    assert "\x1b" not in document
    assert document.count("&lt;script&gt;") > 100
    text = markdown.render(hostile)
    outside_code = re.sub(r"(`{3,})sh\n.*?\n\1\n", "", text, flags=re.DOTALL)
    assert "<script" not in outside_code
    assert not re.search(r"(?<!\\)\]\(", outside_code)
    assert not re.search(r"^# x", outside_code, flags=re.MULTILINE)
    assert "\x1b" not in text
    for table in markdown_tables(outside_code):
        assert len({len(row) for row in table}) == 1
    assert "\x1b" not in terminal.summary(hostile)


# Agreement


class Tables(HTMLParser):
    """Tables of an HTML page as lists of rows of cells; a heading row without text is left out."""

    def __init__(self) -> None:
        super().__init__()
        self.tables: list[list[list[str]]] = []
        self.in_cell = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
            self.in_cell = True

    def handle_endtag(self, tag: str) -> None:
        self.in_cell = self.in_cell and tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        if self.in_cell:
            self.tables[-1][-1][-1] += data.translate(BREAKING)


def html_tables(document: str) -> list[list[list[str]]]:
    parser = Tables()
    parser.feed(document)
    return [[[" ".join(cell.split()) for cell in row] for row in table] for table in parser.tables]


def markdown_tables(text: str) -> Iterator[list[list[str]]]:
    for block in re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE):
        lines = [line for line in block.splitlines() if not re.fullmatch(r"[|\-: ]+", line) or line.strip("| ") == ""]
        yield [
            [unescaped(cell.strip()).replace("**", "") for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines
        ]


@pytest.mark.parametrize("alone", [False, True])
def test_html_and_markdown_hold_the_same_tables(collection: AuditCollection, document: str, alone: bool) -> None:
    value = collection.results[1] if alone else collection
    from_html = [tuple(map(tuple, t)) for t in html_tables(html.render(value) if alone else document)]
    from_markdown = [tuple(map(tuple, t if any(t[0]) else t[1:])) for t in markdown_tables(markdown.render(value))]
    assert len(from_html) > 5
    assert sorted(from_html) == sorted(from_markdown)


def test_printed_numbers_are_those_of_the_json_rounded_outward(collection: AuditCollection, tmp_path: Path) -> None:
    reports.write(collection, tmp_path)
    loaded = json.loads((tmp_path / "report.json").read_text())
    stored = [f for r in loaded["results"] for f in r["findings"] if f["sandwiches"]]
    for document in (
        html_tables((tmp_path / "report.html").read_text()),
        list(markdown_tables((tmp_path / "report.md").read_text())),
    ):
        shown = [table for table in document if table[0][0] == "at"]
        assert len(shown) == len(stored) == 10
        for table, f in zip(shown, stored, strict=True):
            for row, sandwich in zip(table[1:], f["sandwiches"], strict=True):
                assert as_float(row[1]) <= float(sandwich["bound"]["value"])
                stored_values = [sandwich[k] for k in ("exact", "claimed", "detectable_epsilon", "ceiling")]
                pairs = zip(row[2:7], [*stored_values, sandwich["bound"]["level"]], strict=True)
                for text, value in pairs:
                    if value is None:
                        assert text == "–"
                    else:
                        number = float(str(value).replace("Infinity", "inf"))
                        assert number <= as_float(text) <= number * 1.01


def test_tests_table_shows_counts_and_ledger_adds_up(collection: AuditCollection) -> None:
    first = collection.results[1]
    view = page(first).audits[0]
    assert len(view.findings[0].tests.rows) == len(first.findings[0].tests)
    best = min(first.findings[0].tests, key=lambda t: t.p_value).bound.counts
    assert view.findings[0].tests.rows[0][4:6] == (f"{best.k_unlearned:,} / {N:,}", f"{best.k_retrained:,} / {N:,}")
    assert view.findings[0].tests_summary == "8 tests, 8 rejected"
    assert len(view.ledger.rows) == 2
    assert "16 tests, corrected after Bonferroni" in view.ledger.caption
    assert sum(int(row[4]) for row in view.ledger.rows) == 16


def test_pages_are_byte_stable_and_rendered_from_the_json_alone(collection: AuditCollection, document: str) -> None:
    import matplotlib

    again = load_json(collection.to_json())
    assert not isinstance(again, AuditResult)
    with matplotlib.rc_context({"font.size": 30, "svg.fonttype": "path", "figure.dpi": 300}):
        assert html.render(again) == document
    assert markdown.render(again) == markdown.render(collection)
    assert terminal.summary(again) == terminal.summary(collection)


# Pictures


def test_pictures_are_well_formed_and_carry_the_printed_numbers(collection: AuditCollection) -> None:
    from xml.etree import ElementTree

    refuted = collection.results[1].findings[0]
    part = page(collection.results[1]).audits[0].findings[0]
    drawn = {
        "sandwich": figures.sandwich(part.sandwiches, "p"),
        "trade_off": figures.trade_off(refuted, "p"),
        "rare": figures.rare_events(refuted, "p"),
        "near": figures.trade_off(collection.results[0].findings[0], "p"),
    }
    texts = {name: [e.text for e in ElementTree.fromstring(svg).iter("text")] for name, svg in drawn.items()}
    for view in part.sandwiches:
        for number in (view.bound, view.claimed, view.detectable, view.ceiling):
            assert number.text in texts["sandwich"]
    assert "claim allows" in texts["trade_off"]
    assert {"likelihood_ratio", "target_loss", "influence", "lda"} <= set(texts["rare"])
    assert "difference of rates, unlearned − retrained" in texts["near"]
    assert not [svg for svg in drawn.values() if re.search("<metadata|xmlns|<style", svg)]
    assert figures.sandwich((), "p") == ""
    assert figures.trade_off(dataclasses.replace(refuted, roc=()), "p") == ""


def test_the_exact_law_is_drawn_when_it_is_not_the_claim(collection: AuditCollection) -> None:
    published, exact = collection.results[0].findings[3], collection.results[0].findings[0]
    assert "exact law allows" in figures.trade_off(published, "p")
    assert "exact law allows" not in figures.trade_off(exact, "p")


def test_attacks_beyond_four_are_counted_not_drawn(collection: AuditCollection) -> None:
    made = collection.results[1].findings[0]
    crowded = dataclasses.replace(made, roc=tuple(roc(f"attack_{i}", 0.5) for i in range(6)))
    part = page(result("One", (crowded,))).audits[0].findings[0]
    assert "The points of 2 more attacks are in report.json." in part.trade_off_caption
    assert "attack_5" not in figures.trade_off(crowded, "p")


def test_the_deleted_image_is_drawn_pixel_by_pixel() -> None:
    import base64
    import io

    from PIL import Image

    values = (0.0, 0.25, 0.5, 1.0, 2.0, -1.0)
    data = figures.image(values, (2, 3))
    picture = Image.open(io.BytesIO(base64.b64decode(data.removeprefix("data:image/png;base64,"))))
    assert np.asarray(picture).tolist() == [[255, 191, 128], [0, 0, 255]]


# Writing


def test_write_makes_the_named_files(collection: AuditCollection, tmp_path: Path) -> None:
    paths = reports.write(collection.results, tmp_path / "new", formats=("md", "json"))
    assert [path.name for path in paths] == ["report.md", "report.json"]
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["report.json", "report.md"]
    loaded = load_json(paths[1].read_text(encoding="utf-8"))
    assert isinstance(loaded, AuditCollection)
    assert loaded.results == collection.results
    (mixed,) = reports.write([collection, collection.results[0]], tmp_path, formats=("json",))
    joined = load_json(mixed.read_text(encoding="utf-8"))
    assert isinstance(joined, AuditCollection)
    assert (joined.title, joined.tables) == ("4 audits", collection.tables)
    assert joined.results == (*collection.results, collection.results[0])
    one = reports.write(collection.results[0], tmp_path, formats=("json",))
    assert load_json(one[0].read_text(encoding="utf-8")) == collection.results[0]


def test_write_refuses_what_it_cannot_do(collection: AuditCollection, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="formats"):
        reports.write(collection, tmp_path, formats=("pdf",))
    with pytest.raises(InvalidInputError, match="at least one result"):
        reports.write((), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_terminal_summary_names_what_could_have_been_seen(texts: dict[str, str]) -> None:
    assert re.search(r"Record 757 \(hardest\).*1\.31.*0\.259.*✕ REFUTED", texts["terminal"])
    assert "probability 0.8" in texts["terminal"]


def test_importing_reports_is_light() -> None:
    code = "import reports, sys; print(sorted({'matplotlib', 'jinja2', 'rich', 'numpy'} & set(sys.modules)))"
    root = Path(reports.__file__).parents[1]
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert shown.stdout.strip() == "[]"
