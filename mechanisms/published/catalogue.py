"""Every published mechanism by name, in the order of the table."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from mechanisms.errors import InvalidInputError
from mechanisms.published import (
    certified_removal,
    descent_to_delete,
    features_and_labels,
    hessian_free,
    langevin,
    newton_step,
    noisy_sgd,
    nothing,
    output_noise,
    preprocessing,
    rewind_to_delete,
    shifted_interpolation,
    source_method,
)
from mechanisms.published.fine_tuning import gradient_clipping, group_privacy, model_clipping
from mechanisms.published.frame import PublishedMechanism

CATALOGUE: Mapping[str, Callable[[], PublishedMechanism]] = {
    "finetuning_gradient": gradient_clipping.as_coded,
    "finetuning_model": model_clipping.build,
    "group_privacy": group_privacy.build,
    "descent_to_delete_norm": descent_to_delete.third_party,
    "descent_to_delete_preprocessing": preprocessing.build,
    "features_and_labels": features_and_labels.build,
    "rewind_to_delete_estimated": rewind_to_delete.estimated,
    "hessian_free_short_batch": hessian_free.short_batch,
    "without_source_data_count": newton_step.surrogate_count,
    "langevin_sequential": langevin.first_request,
    "langevin_redrawn": langevin.redrawn,
    "langevin_tabled_noise": langevin.tabled_noise,
    "source_method": source_method.build,
    "finetuning_theorem": gradient_clipping.theorem,
    "finetuning_model_recursion": model_clipping.recursion,
    "group_privacy_bound": group_privacy.bound,
    "clipped_output": output_noise.clipped_model,
    "strongly_convex_output": output_noise.strongly_convex_minimiser,
    "shifted_interpolation": shifted_interpolation.build,
    "source_method_usual": source_method.usual,
    "descent_to_delete": descent_to_delete.theorem,
    "rewind_to_delete": rewind_to_delete.build,
    "langevin_single": langevin.single_deletion,
    "noisy_sgd": noisy_sgd.build,
    "newton_step": newton_step.build,
    "certified_removal": certified_removal.build,
    "hessian_free": hessian_free.build,
    "without_source_data": newton_step.surrogate,
    "deep_unlearning_sequential": nothing.deep_unlearning,
    "edge_unlearning": nothing.edge_unlearning,
}


def published(name: str) -> PublishedMechanism:
    """Return a mechanism by name.

    Raises
    ------
    InvalidInputError
        For a name that is not in the table.
    """
    if name not in CATALOGUE:
        raise InvalidInputError(
            field="row", expected=f"one of {', '.join(CATALOGUE)}", got=name, fix="check the spelling"
        )
    return CATALOGUE[name]()
