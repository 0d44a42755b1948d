"""Which records a plan file names: ranked, at random, or inserted. An edge: it asks for exact certificates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from attacks.canary import RULES, Rule, choose_records, random_records, remaining_shift, with_boundary_outlier
from audit.trials.chunks import Stream, make_generator
from mechanisms.dataset import Dataset
from mechanisms.errors import InvalidInputError
from mechanisms.protocol import Mechanism
from mechanisms.ridge.langevin import CalibratedNoise, RidgeLangevin
from mechanisms.ridge.privacy_map import calibrate_map, privacy_map

Array = NDArray[np.float64]
Word = Literal["hardest", "median", "easiest", "random", "inserted"]
Ranking = Literal["leverage_residual", "remaining_shift", "certificate"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Canaries:
    """The chosen records, one a word, and the data that they are records of."""

    data: Dataset
    records: tuple[int, ...]


def choose_canaries(
    data: Dataset, words: Sequence[Word], *, by: Ranking, mechanism: Mechanism, penalty: float, seed: int
) -> Canaries:
    """Return one record for each word; "inserted" appends one to the data, "random" draws another one each time.

    Parameters
    ----------
    data
        The records as they were loaded; ranks are theirs, without an inserted one.
    by
        What the words hardest, median and easiest rank by.
    mechanism
        For a ranking by what its steps leave, or by its exact certificates.
    penalty
        Of the ridge objective that ranks by leverage and residual.
    seed
        Of the plan.

    Raises
    ------
    InvalidInputError
        When the mechanism does not have what the ranking needs.
    """
    unknown = set(words) - set(get_args(Word))
    if unknown:
        raise InvalidInputError(
            field="records.choose",
            expected=f"words among {', '.join(get_args(Word))}",
            got=min(unknown),
            fix="or name records with forget",
        )
    rules: list[Rule] = [rule for rule in RULES if rule in words]
    ranked = _ranking(data, by, mechanism) if rules else None
    found: dict[Any, int] = dict(zip(rules, choose_records(data, rules, penalty=penalty, ranking=ranked), strict=True))
    n_random = words.count("random")
    drawn = list(random_records(data, n_random, rng=make_generator(seed, Stream.RECORDS))) if n_random else []
    if "inserted" in words:
        found["inserted"] = data.n_records
        data = with_boundary_outlier(data, penalty=penalty)
    return Canaries(data=data, records=tuple(drawn.pop(0) if w == "random" else found[w] for w in words))


def _ranking(data: Dataset, by: Ranking, mechanism: Mechanism) -> Array | None:
    if by == "leverage_residual":
        return None
    if not isinstance(mechanism, RidgeLangevin):
        raise InvalidInputError(
            field="records.by",
            expected='"leverage_residual" for this mechanism',
            got=by,
            fix="other rankings need ridge_langevin",
        )
    noise = mechanism.sigma_unlearn
    if by == "remaining_shift":
        # Calibrated noise is not known yet; where it is calibrated it is the noise that matters.
        given = not isinstance(noise, CalibratedNoise)
        return remaining_shift(
            data,
            penalty=mechanism.penalty,
            n_unlearn=mechanism.n_unlearn,
            step_size=mechanism.step_size,
            sigma_unlearn=float(noise) if not isinstance(noise, CalibratedNoise) else 1.0,
            sigma_learn=mechanism.sigma_learn if given else 0.0,
            n_learn=mechanism.n_learn,
        )
    if isinstance(noise, CalibratedNoise):
        return calibrate_map(data, mechanism, epsilon=noise.epsilon, delta=noise.delta).sigma_unlearn
    return privacy_map(data, mechanism, delta=mechanism.delta).two_sided
