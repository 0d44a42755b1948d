"""Controls of what trials share: learned models that are used again, and data that a trial changed.

In the flow: the runner asks after scoring. Either makes the findings of the forget set inconclusive: a count of trials
assumes that each learns anew, from the same data.
"""

from __future__ import annotations

from audit.controls.learning import Learning, learning_of
from audit.controls.replay import WORLDS, Replayed
from audit.plan.audit_plan import AuditPlan
from audit.records.ledger import Control
from audit.trials.watching import Seen
from mechanisms.protocol import Deletion, HasData
from mechanisms.reading.records import RecordSet

# Fewer trainings may agree by chance where learning has few outcomes.
MIN_TRAININGS = 20


def reused_models_control(
    deletion: Deletion,
    seen: tuple[Seen, Seen],
    replayed: Replayed,
    plan: AuditPlan,
    *,
    record: int,
    forget: tuple[int, ...],
    label: str,
) -> tuple[Control, ...]:
    """Look for learned models that are equal, among the counted trainings of each world; nothing where none are shown.

    Parameters
    ----------
    deletion
        Learns a few times more where models repeat (:func:`audit.controls.learning.learning_of`). Where its releases
        may be equal (``continuous``), models may be too.
    seen
        Distinct models among the counted trainings of the unlearned and of the retrained world.
    replayed
        Whether a fresh process learned the same model.
    plan, record
        The seed, and the position of the forget set.

    Notes
    -----
    Equal models are no fault where learning was seen to be a function of data and stream: one that is deterministic
    learns one model, and one that chooses among few (a tree with ties) repeats them by rights. Where it was seen to
    answer from models that it kept, or where that could not be seen and the releases have a density, repeats are a
    fault; and so is one model in one world where the other learns many, whatever a fresh process showed: that world was
    trained once and kept. False alarm for models with a density: about n^2 2^-64 for n trainings, from equal
    fingerprints.
    """
    opaque = next((s.opaque for s in seen if s.opaque), "")
    shown = [(world.value, s, one) for world, s, one in zip(WORLDS, seen, replayed.one_model, strict=True) if s.models]
    if not shown and not opaque:
        return ()
    counts = [
        f"{s.models:,} distinct model{'s' if s.models != 1 else ''} in {s.n:,} trainings of the {world} world"
        for world, s, _ in shown
    ]
    repeated = [(s.models, one) for _, s, one in shown if s.models != s.n]
    continuous = deletion.release.continuous
    models = max((models or 0 for models, _ in repeated), default=0)
    learning = Learning.UNKNOWN
    if repeated and not opaque:
        learning = learning_of(deletion, models, seed=plan.seed, record=record)
    reused = any(_is_fault(models or 0, one, learning, continuous) for models, one in repeated)
    # Learning that is not random learns one model in each world; here one of them was learned once and kept.
    reused |= continuous and len(shown) > 1 and len({s.models == 1 for _, s, _ in shown if s.n >= MIN_TRAININGS}) > 1
    if opaque:
        message = f"Not applicable: learned models cannot be told apart, for {opaque}."
    else:
        one_confirmed = all(models == 1 and one for models, one in repeated)
        message = _said(" and ".join(counts), learning, reused, bool(repeated), one_confirmed)
    return (
        Control(
            name="reused_models",
            forget=forget,
            label=label,
            as_expected=not reused,
            applicable=not opaque,
            message=message,
            n_trials=max(s.n for s in seen),
        ),
    )


def _said(counts: str, learning: Learning, reused: bool, repeated: bool, one_confirmed: bool) -> str:
    if reused:
        opening = "Learned models are used again"
        seen = ""
        if learning is Learning.KEEPS_MODELS:
            seen = " On data that differ by a rounding, or on half of them, one random stream did not give one model."
        elif learning is Learning.UNKNOWN:
            opening = "Learned models repeat"
            seen = " Whether they were kept, or learning has no more outcomes, could not be seen."
        return (
            f"{opening}: {counts}.{seen} Trials that share a model are not independent, and counting them says more "
            "than it should: look for a cache, on disk too, or for checkpoints that are chosen from. If learning "
            "itself has few outcomes, declare continuous=False where the shape of a release is declared."
        )
    if not repeated:
        return f"Learned models are all different: {counts}."
    if learning is Learning.OF_ITS_STREAM:
        return f"Each training starts anew, as it must: {counts}, for learning has no more outcomes."
    if one_confirmed:
        return f"Learning is not random, which a fresh process confirmed: {counts}."
    return f"{counts}. Whether models are used again, or learning has no more outcomes, is not known."


def _is_fault(models: int, one_model: bool | None, learning: Learning, continuous: bool) -> bool:
    if learning is Learning.KEEPS_MODELS:
        return True
    if learning is Learning.OF_ITS_STREAM or not continuous:
        return False
    # One model and no fresh process to ask: a deterministic learner looks like this too, and the replay says so.
    return models > 1 or one_model is False


def unchanged_data_control(
    deletion: Deletion,
    data: RecordSet,
    seen: tuple[Seen, Seen],
    *,
    sha256: str,
    forget: tuple[int, ...],
    label: str,
) -> tuple[Control, ...]:
    """Say which data a trial changed; nothing where the mechanism does not know and the data given are as they were.

    Parameters
    ----------
    deletion, data
        What drew, and the data that were given, as they are now.
    seen
        What workers saw, each after every chunk.
    sha256
        Of the data before any code of the user ran.
    """
    watches = isinstance(deletion, HasData)
    changed = [what for side in seen for what in side.changed]
    changed += deletion.changed_data() if isinstance(deletion, HasData) else ()
    if not changed and data.sha256() != sha256:
        changed = ["all records"]
    if not (changed or watches):
        return ()
    message = (
        f"The mechanism changed the data that all trials share: {', '.join(dict.fromkeys(changed))}. Later trials "
        "learned from other data than the claim is about. Change copies, such as data.features.copy()."
        if changed
        else "The data that all trials share are unchanged."
    )
    return (Control(name="unchanged_data", forget=forget, label=label, as_expected=not changed, message=message),)
