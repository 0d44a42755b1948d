"""What is refused before anything is computed: too few models, one seed for all, a model that is filed twice."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from audit.models.outputs import Outputs
from audit.power.ceilings import ceiling
from mechanisms.claim import Claim, Reference
from mechanisms.errors import InvalidInputError, require
from mechanisms.reading.arrays import real_array
from mechanisms.reading.scalars import flag

# Fewest models of a kind.
LEAST = 16


def check_enough(n: int, kind: str, *, significance: float, delta: float) -> None:
    """Refuse fewer than 16 models of a kind, and say what so few could show.

    Raises
    ------
    InvalidInputError
        With the ceiling of such an audit.
    """
    most = ceiling(n_null=max(1, n // 2), level=significance, delta=delta) if n else 0.0
    require(
        n >= LEAST,
        f"the number of {kind}",
        expected=f"at least {LEAST}",
        got=f"{n}; half of them counted could show no ε above {most:.2f}, whatever the truth",
        fix="add models",
    )


def n_distinct_models(sides: Sequence[Outputs], model_ids: tuple[ArrayLike, ArrayLike] | None) -> int:
    """Return how many models the smaller world has, where several rows may be of one model."""
    if model_ids is None or len(model_ids) != 2:
        return min(side.n_models for side in sides)
    return min(len(set(np.asarray(ids).ravel().tolist())) for ids in model_ids)


def check_reference(reference: Reference | None, claim: Claim) -> None:
    """Refuse retrained models of another world than the claim is about.

    Raises
    ------
    InvalidInputError
        Naming both.
    """
    require(
        reference is None or Reference(reference) is claim.reference,
        "reference",
        expected=f"{claim.reference.value}, the claim's reference world",
        got=getattr(reference, "value", reference),
        fix="state the claim about the world that the models are of: Claim(..., reference=Reference.RETRAIN_ONLY)",
    )


def check_seeds(seeds: Sequence[object], kind: str, *, conditional: bool) -> str | None:
    """Return what to say of models of one training seed; refuse them unless that is wanted.

    Raises
    ------
    InvalidInputError
        When all models of a kind have one seed, and ``conditional`` is not set.
    """
    flag(conditional, "conditional_on_seed")
    if len(seeds) < 2 or len(set(seeds)) > 1:
        return None
    require(
        conditional,
        f"seeds of {kind}",
        expected="training seeds of their own",
        got=f"{seeds[0]!r} for all {len(seeds)}",
        fix="train with a seed each, or say conditional_on_seed=True: the verdict is then about that seed alone",
    )
    return f"All {kind} were trained with the seed {seeds[0]}: this verdict is about that seed alone."


def seeds_of(seeds: Sequence[object], is_deletion: NDArray[np.bool_]) -> tuple[list[object], list[object]]:
    """Return the seeds of deletion and of reference models; none where none are known.

    Raises
    ------
    InvalidInputError
        When there is not one seed for each model.
    """
    require(
        len(seeds) in (0, len(is_deletion)),
        "seeds",
        expected=f"{len(is_deletion):,}, one a model",
        got=len(seeds),
        fix="give the seed of each model in the order of the outputs, or leave seeds out",
    )
    known = [(seed, bool(is_one)) for seed, is_one in zip(seeds, is_deletion, strict=False)]
    return [seed for seed, is_one in known if is_one], [seed for seed, is_one in known if not is_one]


def names_of(records: Sequence[object] | ArrayLike | None, n: int) -> tuple[str, ...]:
    """Return what the records are called, their numbers by default.

    Raises
    ------
    InvalidInputError
        When there is not one name for each record, or two are the same.
    """
    if records is None:
        return tuple(str(i) for i in range(n))
    names = tuple(str(name) for name in np.asarray(records).tolist())
    require(len(names) == n, "records", expected=f"{n:,} names", got=f"{len(names):,}", fix="name each record once")
    if len(set(names)) < n:
        twice = next(name for name in names if names.count(name) > 1)
        raise InvalidInputError(field="records", expected="names of their own", got=twice, fix="name each record once")
    return names


def sampled_columns(outputs: Outputs, most: int = 1000) -> np.ndarray:
    """Return some columns of the outputs as they were stored, shape (models, columns), to see their precision."""
    per = int(np.prod(outputs.array.shape[2:], dtype=np.int64)) or 1
    places = np.unique(np.linspace(0, outputs.n_records - 1, max(1, most // per)).round().astype(np.intp))
    columns = [np.asarray(outputs.array[:, slice(int(i), int(i) + 1)]).reshape(outputs.n_models, -1) for i in places]
    return np.concatenate(columns, axis=1)


def alike(first: Outputs, second: Outputs) -> None:
    """Refuse outputs of the two worlds that differ in records, columns or type.

    Raises
    ------
    InvalidInputError
        Naming what differs.
    """
    for what, one, other in (
        ("records and columns", first.array.shape[1:], second.array.shape[1:]),
        ("type", first.array.dtype, second.array.dtype),
    ):
        require(
            one == other,
            second.name,
            expected=f"{what} as in {first.name}: {one}",
            got=str(other),
            fix="store both alike: a type of its own tells the worlds apart by rounding alone"
            if what == "type"
            else "give outputs on the same records, models on the first axis",
        )


def whole_ids(values: ArrayLike, name: str) -> np.ndarray:
    """Return an array of whole numbers that stand for words, such as a status.

    Raises
    ------
    InvalidInputError
        For anything else.
    """
    array = real_array(values, name)
    require(array.dtype.kind in "biu", name, expected="whole numbers", got=f"dtype {array.dtype}", fix="use codes")
    return array
