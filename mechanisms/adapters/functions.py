"""A mechanism from two or three plain functions."""

from __future__ import annotations

from collections.abc import Mapping

from mechanisms.adapters.deletion import FunctionsDeletion, FunctionsMechanism
from mechanisms.adapters.stages import CalibrateFn, EmptyForgetSetError, EvaluateFn, LearnFn, ObserveFn, UnlearnFn
from mechanisms.claim import Reference
from mechanisms.errors import InvalidInputError
from mechanisms.protocol import Access, ReleaseSpec

__all__ = [
    "CalibrateFn",
    "EmptyForgetSetError",
    "FunctionsDeletion",
    "FunctionsMechanism",
    "LearnFn",
    "ObserveFn",
    "UnlearnFn",
    "from_functions",
]


def from_functions(
    *,
    learn: LearnFn,
    unlearn: UnlearnFn,
    release: ReleaseSpec | tuple[int, ...] | int,
    observe: ObserveFn | None = None,
    calibrate: CalibrateFn | None = None,
    evaluate: EvaluateFn | None = None,
    reference: Reference = Reference.RETRAIN_THEN_UNLEARN,
    name: str = "user_functions",
    parameters: Mapping[str, int | float | str] | None = None,
) -> FunctionsMechanism:
    """Return a mechanism that calls the user's functions; it states no certificate, so that an audit decides.

    Parameters
    ----------
    learn
        ``learn(data, rng) -> model``: ``data`` are the records that the audit is given, whole or in part: a
        :class:`~mechanisms.dataset.Dataset`, or any other :class:`~mechanisms.reading.records.RecordSet`. Every random
        number must come from ``rng``. The arrays of a data set are read-only, because all trials share them: change
        copies (``data.features.copy()``, ``torch.tensor(data.features)``).
    unlearn
        ``unlearn(model, retained, forget, rng[, calibration]) -> release``: called with an empty ``forget``
        (``len(forget) == 0``) in the reference world ``retrain_then_unlearn``, where it must add the same noise.
    release
        Shape of what an attacker sees, white box (or a full :class:`~mechanisms.protocol.ReleaseSpec`).
    observe
        ``observe(model, deleted) -> array``: what an attacker sees of a model, for example its outputs on the deleted
        records, which are the same ``deleted`` in every world, in the order of the forget set. By default the model
        itself, an array. Say what the rows are by ``ReleaseSpec(outputs=Outputs(kind=...))``: the deleted records
        first, in that order, and then any others.
    calibrate
        ``calibrate(data, forget) -> value``: runs once for each deletion; the value is passed to ``unlearn`` in
        BOTH worlds. It may set the size of the noise. It must not hold what the deleted records did to a model, such as
        the difference of models with and without them: in the reference world ``unlearn`` could add that to a
        retrained model, and an ignored deletion would agree with it. An audit measures how far the reference world is
        from what ``learn(retained)`` returns, and decides nothing where it moves more than half of the way back; less
        than that, or a change in other directions, is reported and not found.
    evaluate
        ``evaluate(model) -> number``, such as the accuracy on held-out records: what a model is good for. Mean and
        spread over ten models of each world are printed beside the verdict and decide nothing.
    reference
        With ``RETRAIN_ONLY`` the retrained world releases what ``learn`` returns.
    name
        For reports.
    parameters
        Public hyper-parameters, granted to attacks (``penalty`` enables the influence attack).

    Returns
    -------
    FunctionsMechanism
        For ``audit.run``.

    Raises
    ------
    InvalidInputError
        When ``release`` is neither a shape nor a ``ReleaseSpec``.

    Notes
    -----
    Nothing is called yet: what the functions get wrong shows when a deletion is bound or sampled. Trials are
    independent only if functions keep no state between calls and draw from ``rng`` alone.

    References
    ----------
    Sekhari, Acharya, Kamath, Suresh 2021, "Remember what you want to forget: algorithms for machine unlearning"
    (arXiv:2103.03279), for the world ``retrain_then_unlearn``; Guo, Goldstein, Hannun, van der Maaten 2020, "Certified
    data removal from machine learning models" (arXiv:1911.03030), for ``retrain_only``.

    Examples
    --------
    >>> from_functions(
    ...     learn=lambda data, rng: data.features.T @ data.targets,
    ...     unlearn=lambda model, retained, forget, rng: model + rng.standard_normal(model.shape),
    ...     release=(3, 1),
    ... ).name
    'user_functions'
    """
    if isinstance(release, int):
        release = (release,)
    if not isinstance(release, ReleaseSpec | tuple | list):
        raise InvalidInputError(
            field="release",
            expected="a shape such as (11,), or a ReleaseSpec",
            got=release,
            fix="give the array's shape",
        )
    spec = release if isinstance(release, ReleaseSpec) else ReleaseSpec(shape=tuple(release), access=Access.WHITE_BOX)
    return FunctionsMechanism(
        learn=learn,
        unlearn=unlearn,
        calibrate=calibrate,
        reference=reference,
        release=spec,
        name=name,
        public=dict(parameters or {}),
        observe=observe,
        evaluate=evaluate,
    )
