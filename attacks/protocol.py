"""What an attack is: fitted on trials whose world is known, it scores releases whose world is not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from mechanisms.dataset import Dataset
from mechanisms.errors import NotApplicableError
from mechanisms.protocol import Access, GaussianLaw, OutputKind, ReleaseSpec
from mechanisms.reading.records import HasLabels, RecordSet

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What an attack needs beyond the trials.

    Parameters
    ----------
    access
        Kinds of release that it can score.
    law
        True when it needs the law of the claimed mechanism.
    trials
        Fewest trials of a world that it can be fitted on.
    matrices
        True when it reads the records as matrices of numbers (a :class:`~mechanisms.dataset.Dataset`).
    labels
        True when the classes of the deleted records will do instead, where a release shows answers.
    """

    access: tuple[Access, ...] = (Access.WHITE_BOX,)
    law: bool = False
    trials: int = 0
    matrices: bool = False
    labels: bool = False


@dataclass(frozen=True, kw_only=True)
class Probe:
    """Where a black-box release shows the deleted records.

    Parameters
    ----------
    kind
        What an output is.
    rows
        For each deleted record, the row of a release (its position on the first axis) that holds its output.
    """

    kind: OutputKind
    rows: tuple[int, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class AttackContext:
    """What the threat model grants. Never a claim's epsilon, never the world of a scored trial.

    Parameters
    ----------
    retained, deleted
        The two parts of the data; an attack that reads numbers in them asks for :func:`matrices`.
    release
        Shape and kind of one release.
    parameters
        The mechanism's public hyper-parameters.
    law_unlearned, law_retrained
        Laws of the CLAIMED mechanism where they are known, else ``None``.
    probe
        Where a black-box release shows the deleted records; ``None`` for other releases, or when it does not.
    """

    retained: RecordSet
    deleted: RecordSet
    release: ReleaseSpec
    parameters: Mapping[str, int | float | str] = field(default_factory=dict)
    law_unlearned: GaussianLaw | None = None
    law_retrained: GaussianLaw | None = None
    probe: Probe | None = None


class FittedAttack(Protocol):
    """An attack that is ready to score; picklable, because workers score."""

    def score(self, releases: Array) -> Array:
        """Return one score a release, shape (n,); higher means "unlearned world"."""
        ...


class Attack(Protocol):
    """A way to tell the unlearned world from the retrained world."""

    @property
    def name(self) -> str:
        """Name in plans and reports."""
        ...

    @property
    def needs(self) -> Needs:
        """What it needs beyond the trials."""
        ...

    def fit(
        self, unlearned: Array, retrained: Array, context: AttackContext, *, rng: np.random.Generator
    ) -> FittedAttack:
        """Fit on trials of both worlds (batch on axis 0).

        Raises
        ------
        NotApplicableError
            When the release or the context does not grant what the attack needs.
        """
        ...


@runtime_checkable
class Foresees(Protocol):
    """An attack that can say from the context alone, before any model is trained, that it will fail or be blind."""

    def trouble(self, context: AttackContext, *, n_fit: int) -> str | None:
        """Return why a fit on so many trials of each world fails, or scores all releases alike; ``None`` if neither."""
        ...


def trouble(attack: Attack, context: AttackContext, *, n_fit: int) -> str | None:
    """Return why an attack cannot be fitted, or would score all releases alike, before any model is trained.

    Parameters
    ----------
    attack
        Of this package or of your own: one that offers :class:`Foresees` is asked.
    context
        What the threat model grants.
    n_fit
        Trials of each world in one fit.

    Returns
    -------
    str or None
        A sentence that names the attack; ``None`` when nothing is foreseen, which is no promise.
    """
    said = refusal(attack, context.release.access) or unreadable(attack, context.deleted)
    if said is not None:
        return said
    if attack.needs.law and (context.law_unlearned is None or context.law_retrained is None):
        return f"{attack.name} needs the law of the claimed mechanism, and this one states none"
    if n_fit < attack.needs.trials:
        return too_few(attack.name, attack.needs.trials, n_fit)
    return attack.trouble(context, n_fit=n_fit) if isinstance(attack, Foresees) else None


def too_few(attack: str, least: int, n_fit: int) -> str:
    """Return the sentence for an attack that would be fitted on too few trials."""
    return f"{attack} needs at least {least} fitting trials a world, and one fit would have {n_fit}"


def failure(check: Callable[[], object]) -> str | None:
    """Return what a check says when it finds that an attack is not applicable."""
    try:
        check()
    except NotApplicableError as error:
        return str(error)
    return None


def require_trials(attack: str, unlearned: Array, retrained: Array, *, least: int) -> None:
    """Refuse to fit on fewer trials of either world.

    Raises
    ------
    NotApplicableError
        Naming the number needed.
    """
    if min(len(unlearned), len(retrained)) < least:
        raise NotApplicableError(
            f"{attack} needs at least {least} fitting trials a world, got {len(unlearned)} unlearned and "
            f"{len(retrained)} retrained; raise trials or fit_fraction"
        )


def refusal(attack: Attack, access: Access) -> str | None:
    """Return why an attack cannot score releases of a kind, or ``None`` when it can."""
    if access in attack.needs.access:
        return None
    needed = " or ".join(kind.value for kind in attack.needs.access)
    shown = _SEEN[attack.needs.access[0]]
    return f"{attack.name} needs {needed} releases ({shown}), and the mechanism gives {access.value} ones"


def unreadable(attack: Attack, records: RecordSet) -> str | None:
    """Return why an attack cannot read records, or ``None`` when it can or need not."""
    if not getattr(attack.needs, "matrices", False) or isinstance(records, Dataset):
        return None
    if getattr(attack.needs, "labels", False) and labels_of(records) is not None:
        return None
    return _no_matrices(attack.name, records)


def labels_of(records: RecordSet) -> NDArray[np.int64] | None:
    """Return the class of each record; ``None`` where records say none."""
    return records.labels() if isinstance(records, HasLabels) else None


def matrices(context: AttackContext, attack: str) -> tuple[Dataset, Dataset]:
    """Return the retained and the deleted records as matrices of numbers.

    Raises
    ------
    NotApplicableError
        When they are records of another kind.
    """
    retained, deleted = context.retained, context.deleted
    if isinstance(retained, Dataset) and isinstance(deleted, Dataset):
        return retained, deleted
    raise NotApplicableError(f"{_no_matrices(attack, deleted)}; use lda instead")


def _no_matrices(attack: str, records: RecordSet) -> str:
    return (
        f"{attack} needs records that are matrices of numbers (a Dataset), and {records.name} is a "
        f"{type(records).__name__}"
    )


_SEEN = {
    Access.WHITE_BOX: "the parameters",
    Access.BLACK_BOX: "outputs on a probe set",
    Access.TRANSCRIPT: "the model before and after",
}
