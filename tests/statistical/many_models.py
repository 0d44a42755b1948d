"""Worlds at the boundary of a claim for studies of many records with shared models, and what audits make of them.

Every record's number is high (3) or low (-3) plus noise; "high" has probability .2 in the retrained world and
e^epsilon * .2 + delta = .54 in the unlearned one, so that the claim holds with equality at an event that is easy to
find. Also ``benchmarks/models.py`` uses these.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from attacks.portfolio import OUTPUTS
from audit.gathering.contrast import Kind
from audit.gathering.selection import choose_event, claim_rows
from audit.given.options import Options
from audit.given.rows import GivenRows, gather_rows
from audit.models.assigning import Status
from audit.models.examining import Rows, Sides, Tests, examine
from audit.models.following.betting import Bets, SoFar, bets_of
from audit.models.following.deletion import ModelsStream
from audit.models.following.records import BATCH, FIRST_FIT
from audit.models.options import counting_of
from audit.models.outputs import Outputs
from audit.plan.split import Split
from audit.records.counts import Counts
from audit.statistics.bets import log_sum
from audit.statistics.bounds import clopper_pearson_bound, exact_joint_rejects
from audit.statistics.e_values import e_bh
from audit.statistics.multiplicity import equal_share, holm_rejects
from mechanisms.claim import BOTH_DIRECTIONS, Claim, EpsilonDelta

Array = NDArray[np.float64]
CLAIM = Claim(guarantee=EpsilonDelta(epsilon=1.0, delta=1e-5))
P0 = 0.2
P1 = math.e * P0 + 1e-5
RECORDS = 100
LEVEL = 0.05
LAWS = ("exchangeable", "shared factor", "one outlier")
SIZES = (32, 64, 256)
STREAM = ModelsStream(claim=CLAIM, kind="scores", significance=LEVEL, seed=0, first_fit=FIRST_FIT, most=0, batch=BATCH)


def latent(law: str, models: int, records: int, rng: np.random.Generator) -> Array:
    """Return standard normals, which records of one model share to 0.9 under "shared factor"."""
    own = rng.standard_normal((models, records))
    if law != "shared factor":
        return own
    return np.sqrt(0.9) * rng.standard_normal((models, 1)) + np.sqrt(0.1) * own


def numbers(chance: Array, law: str, rng: np.random.Generator) -> Array:
    """Return outputs that are high with given probabilities, shape (models, records)."""
    high = latent(law, *chance.shape, rng) < ndtri(chance)
    return np.asarray(np.where(high, 3.0, -3.0) + 0.1 * rng.standard_normal(chance.shape))


# One deletion


def one_deletion(law: str, models: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Return outputs of half as many unlearned and retrained models: together they show one event, at the boundary.

    "exchangeable": each record shows it under noise of its own; "shared factor": under noise that is nearly the same
    for all; "one outlier": one record shows it plainly, and the others nothing.
    """
    sides = []
    for chance in (P1, P0):
        n = models // 2
        high = rng.random((n, 1)) < chance
        shown = np.where(high, 1.0, -1.0)
        noise = latent("shared factor" if law == "shared factor" else law, n, RECORDS, rng)
        weight = np.zeros(RECORDS) if law == "one outlier" else np.full(RECORDS, 0.7)
        if law == "one outlier":
            weight[17] = 5.0
        sides.append(shown * weight + noise)
    return sides[0], sides[1]


def joint_test_rejects(unlearned: Array, retrained: Array, seed: int, counting: Split | None = None) -> bool:
    """Return whether the joint test of :func:`audit.from_models` refutes the claim; its table and controls apart."""
    options = Options(
        claim=CLAIM,
        significance=LEVEL,
        seed=seed,
        delta=None,
        attacks=(OUTPUTS,),
        threshold=None,
        counting=counting_of(len(unlearned), counting),
        releases=True,
        names=("u", "r"),
        continuous=True,
    )
    given = GivenRows(unlearned=unlearned, retrained=retrained, names=("u", "r"), dtypes=(unlearned.dtype,) * 2)
    plan = options.plan(given)
    evidence = gather_rows(unlearned, retrained, plan.attackers, plan, Kind.CLAIMS)
    (name,) = evidence.prepared
    scores = evidence.unlearned[name], evidence.retrained[name]
    n = (len(scores[0]), len(scores[1]))
    event = choose_event(evidence.prepared[name], claim_rows(CLAIM), n_counted=n, level=LEVEL)
    return exact_joint_rejects(event.count(*scores), point=event.point, direction=event.direction, level=LEVEL)


# A claim a record


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What one replicate's audit of all records said."""

    holm: NDArray[np.bool_]
    listed: NDArray[np.bool_]
    mean_e: float


@dataclass(kw_only=True)
class Study:
    """Audits of records as :func:`audit.from_status` makes them, controls and pages apart; equal counts tested once."""

    records: int = RECORDS
    tests: Tests = field(init=False)

    def __post_init__(self) -> None:
        self.tests = Tests(equal_share(LEVEL, self.records))

    def rows(
        self, outputs: Array, unlearned: Array, retrained: Array, fitting: Array, rng: np.random.Generator
    ) -> Rows:
        sides = Sides(unlearned=unlearned, retrained=retrained, fitting=fitting)
        return examine(outputs[:, :, None], sides, claim_rows(CLAIM), self.tests, rng=rng)

    def outcome(self, rows: Rows) -> Outcome:
        return Outcome(
            holm=holm_rejects(rows.p_value, level=LEVEL),
            listed=e_bh(np.exp(rows.log_e), level=LEVEL),
            mean_e=float(np.exp(log_sum(rows.log_e[None])[0])) / len(rows.log_e),
        )


def status_of(models: int, records: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Return a status by coins and which models are deletion models; everything not retained is forgotten by 1/2."""
    deletion = np.arange(models) < models // 2
    retained = rng.random((models, records)) < 0.5
    forgotten = ~retained & deletion[:, None] & (rng.random((models, records)) < 0.5)
    return np.where(retained, Status.RETAINED, np.where(forgotten, Status.FORGOTTEN, Status.ABSENT)), deletion


def fitted(deletion: Array, rng: np.random.Generator) -> Array:
    """Return which models fit: the same share of each kind."""
    fitting = np.zeros(len(deletion), dtype=np.bool_)
    for which in (deletion, ~deletion):
        models = rng.permutation(np.flatnonzero(which))
        share = counting_of(len(models), None).fit_fraction
        fitting[models[: round(share * len(models))]] = True
    return fitting


def chances(status: Array, deletion: Array, law: str) -> Array:
    """Return how likely each model's number is high: at the boundary for every (retained, forgotten) set.

    In a deletion model a record that is absent is high with P0 / e, which the same claim allows too: deletion models
    are pulled away from reference models wherever they may be. Under "one outlier" record 17 is left in.
    """
    found = np.where(deletion[:, None], np.where(status == Status.FORGOTTEN, P1, P0 / math.e), P0)
    if law == "one outlier":
        found[:, 17] = np.where(status[:, 17] == Status.FORGOTTEN, 0.999, found[:, 17])
    return np.where(status == Status.RETAINED, 0.9, found)


def replicate(study: Study, law: str, models: int, rng: np.random.Generator) -> Outcome:
    """Return the outcome of one audit of a claim a record at the boundary."""
    status, deletion = status_of(models, study.records, rng)
    outputs = numbers(chances(status, deletion, law), law, rng)
    unlearned = deletion[:, None] & (status == Status.FORGOTTEN)
    retrained = ~deletion[:, None] & (status != Status.RETAINED)
    return study.outcome(study.rows(outputs, unlearned, retrained, fitted(deletion, rng), rng))


def followed(law: str, models: int, rng: np.random.Generator) -> tuple[Bets, NDArray[np.bool_]]:
    """Return the bets of :func:`audit.follow_status` after so many models, kinds mixed, and which claims are true.

    Under "one outlier" record 17 is nearly always high where it was forgotten, and seldom in reference models.
    """
    status, deletion = status_of(models, RECORDS, rng)
    order = rng.permutation(models)
    status, deletion, true = status[order], deletion[order], np.ones(RECORDS, dtype=np.bool_)
    chance = chances(status, deletion, law)
    if law == "one outlier":
        true[17], chance[~deletion, 17] = False, 0.02
    given = Outputs(array=numbers(chance, law, rng), kind="scores", labels=None, name="outputs")
    return bets_of(SoFar(outputs=given, status=status, is_deletion=deletion), STREAM), true


def pooled_rejects(law: str, models: int, rng: np.random.Generator) -> bool:
    """Return whether counting every record of every model as a trial of its own refutes the claim (it holds)."""
    status, deletion = status_of(models, RECORDS, rng)
    high = numbers(chances(status, deletion, law), law, rng) > 0
    unlearned = high[deletion[:, None] & (status == Status.FORGOTTEN)]
    retrained = high[~deletion[:, None] & (status != Status.RETAINED)]
    counts = Counts(
        k_unlearned=int(unlearned.sum()),
        n_unlearned=len(unlearned),
        k_retrained=int(retrained.sum()),
        n_retrained=len(retrained),
    )
    return clopper_pearson_bound(counts, delta=1e-5, direction=BOTH_DIRECTIONS[0], level=LEVEL) > 1.0


def count(n: int, what: Callable[[np.random.Generator], bool], *key: int) -> int:
    """Return in how many of n replicates something happens; each has its own stream."""
    return sum(bool(what(np.random.default_rng([*key, i]))) for i in range(n))
