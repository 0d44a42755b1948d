"""Every seeded fault and every harmless variant, as data: what is edited, what is claimed, and what should see it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from mechanisms.claim import EpsilonDelta, GaussianDP
from mechanisms.faulty import network_faults, newton_faults, output_faults, published_faults, ridge_faults
from mechanisms.faulty.network_problem import NetworkProblem
from mechanisms.faulty.problems import BoundFault, NewtonProblem, OutputProblem, Problem, RidgeProblem
from mechanisms.faulty.published_service import PublishedProblem
from mechanisms.published import langevin

Family = Literal["mean", "scale", "tail", "custom"]


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A seeded fault.

    Parameters
    ----------
    name
        Unique, for tables and the command line.
    description
        One sentence: what the service does.
    problem
        Data, canary and claim, with the edit.
    family
        The family of attacks that is expected to see it: "mean" (releases are moved), "scale" (spread otherwise),
        "tail" (a minority of them); ``None`` for a harmless variant.
    trials
        Releases a world in a full self-test.
    oracle_trials
        Releases a world that say what is true where no law does, and as many again that fit them.
    harmless
        True when the edit does not break the claim: an audit should not refute it.
    """

    name: str
    description: str
    problem: Problem
    family: Family | None
    trials: int = 20_000
    oracle_trials: int = 20_000
    harmless: bool = False

    def bind(self) -> BoundFault:
        """Return the faulty service, bound to its problem."""
        return self.problem.bind()


def _fault(
    edit: Callable[[Any], Any], problem: Callable[..., Problem], family: Family | None, trials: int, **settings: Any
) -> Fault:
    prefixes: dict[Any, str] = {
        RidgeProblem: "ridge",
        OutputProblem: "output",
        NewtonProblem: "newton",
        NetworkProblem: "network",
        PublishedProblem: "published",
    }
    prefix = prefixes[problem]
    return Fault(
        name=f"{prefix}_{edit.__name__}",
        description=str(edit.__doc__).strip(),
        problem=problem(edit=edit, **settings),
        family=family,
        trials=trials,
        oracle_trials=min(trials, 20_000) if problem in (NetworkProblem, PublishedProblem) else 20_000,
        harmless=family is None,
    )


_HALF = GaussianDP(mu=0.5)
_REDRAWN = partial(langevin.data, published_faults.REQUEST)

FAULTS: tuple[Fault, ...] = (
    _fault(ridge_faults.lost_request, RidgeProblem, "mean", 20_000),
    _fault(ridge_faults.wrong_record, RidgeProblem, "mean", 20_000),
    _fault(ridge_faults.added_again, RidgeProblem, "mean", 20_000),
    _fault(ridge_faults.tenth_of_the_steps, RidgeProblem, "mean", 20_000),
    _fault(ridge_faults.one_step, RidgeProblem, "mean", 20_000),
    _fault(ridge_faults.one_step_short, RidgeProblem, "mean", 60_000),
    _fault(ridge_faults.third_of_the_learning_rate, RidgeProblem, "mean", 20_000),
    _fault(ridge_faults.averaged_twice, RidgeProblem, "mean", 20_000),
    _fault(ridge_faults.forgotten_penalty, RidgeProblem, "mean", 20_000),
    _fault(ridge_faults.stale_preprocessing, RidgeProblem, "mean", 20_000),
    _fault(ridge_faults.record_dependent_steps, RidgeProblem, "mean", 20_000),
    _fault(ridge_faults.early_stopping, RidgeProblem, "mean", 20_000),
    _fault(ridge_faults.unlearning_noise_of_learning, RidgeProblem, "mean", 20_000),
    _fault(ridge_faults.carried_momentum, RidgeProblem, "scale", 20_000),
    _fault(ridge_faults.no_noise, RidgeProblem, "scale", 20_000),
    _fault(ridge_faults.less_noise, RidgeProblem, "scale", 20_000),
    _fault(ridge_faults.variance_for_deviation, RidgeProblem, "scale", 20_000),
    _fault(ridge_faults.half_the_coordinates, RidgeProblem, "scale", 20_000),
    _fault(ridge_faults.fixed_seed, RidgeProblem, "scale", 20_000),
    _fault(ridge_faults.repeated_noise, RidgeProblem, "scale", 20_000),
    _fault(ridge_faults.clipped_noise, RidgeProblem, "scale", 20_000),
    _fault(ridge_faults.dataset_size_leak, RidgeProblem, "scale", 30_000, n_records=20, n_unlearn=18),
    _fault(ridge_faults.skipped_sometimes, RidgeProblem, "tail", 40_000),
    _fault(output_faults.average_record, OutputProblem, "mean", 20_000, target=_HALF),
    _fault(output_faults.variance_for_deviation, OutputProblem, "mean", 20_000, target=_HALF),
    _fault(output_faults.half_the_coordinates, OutputProblem, "mean", 20_000, target=_HALF),
    _fault(output_faults.one_cell_of_the_table, OutputProblem, "mean", 20_000, target=_HALF),
    _fault(output_faults.classical_formula, OutputProblem, "mean", 90_000, target=EpsilonDelta(epsilon=6.0, delta=0.5)),
    _fault(output_faults.order_free_renyi, OutputProblem, "mean", 20_000, target=EpsilonDelta(epsilon=1.0, delta=1e-3)),
    _fault(output_faults.one_of_several_deletions, OutputProblem, "mean", 20_000, target=_HALF, n_deleted=4),
    _fault(output_faults.smoothness_for_lipschitz, OutputProblem, "mean", 20_000, target=_HALF, residual=5.0),
    _fault(output_faults.wrong_sign, OutputProblem, "mean", 20_000, target=_HALF),
    _fault(output_faults.clipped_noise, OutputProblem, "mean", 20_000, target=_HALF),
    _fault(output_faults.fixed_seed, OutputProblem, "scale", 20_000, target=_HALF),
    _fault(newton_faults.no_step, NewtonProblem, "mean", 10_000),
    _fault(newton_faults.wrong_sign, NewtonProblem, "mean", 10_000),
    _fault(newton_faults.averaged_twice, NewtonProblem, "mean", 10_000),
    _fault(newton_faults.wrong_record, NewtonProblem, "mean", 10_000),
    _fault(newton_faults.subsampled_hessian, NewtonProblem, "mean", 10_000),
    _fault(newton_faults.unchecked_residual, NewtonProblem, "mean", 10_000, sigma=0.015),
    _fault(newton_faults.stopped_early, NewtonProblem, "mean", 10_000),
    _fault(network_faults.tenth_of_the_noise, NetworkProblem, "mean", 3000),
    _fault(network_faults.no_clipping, NetworkProblem, "mean", 3000),
    _fault(network_faults.radius_of_the_model, NetworkProblem, "mean", 3000),
    _fault(network_faults.repeated_noise, NetworkProblem, "scale", 3000),
    _fault(network_faults.one_step_short, NetworkProblem, "mean", 3000),
    _fault(network_faults.dropout_left_on, NetworkProblem, "scale", 3000),
    _fault(network_faults.skipped_request, NetworkProblem, "mean", 3000, n_unlearn=6),
    _fault(network_faults.late_filter, NetworkProblem, "mean", 3000, mu=3.0, keeping="canary"),
    _fault(network_faults.divisor_of_active_records, NetworkProblem, "mean", 3000, keeping="others"),
    _fault(published_faults.reused_noise, PublishedProblem, "scale", 20_000, row="finetuning_model"),
    _fault(published_faults.order_free_renyi_step, PublishedProblem, "mean", 20_000, row="finetuning_gradient"),
    _fault(published_faults.norm_for_squared_norm, PublishedProblem, "mean", 20_000, row="descent_to_delete_norm"),
    _fault(published_faults.mean_residual, PublishedProblem, "mean", 3000, row="features_and_labels"),
    _fault(published_faults.group_delta, PublishedProblem, "mean", 5000, row="group_privacy"),
    _fault(published_faults.shifted_step_index, PublishedProblem, "mean", 20_000, row="langevin_sequential"),
    _fault(
        published_faults.redrawn_replacements, PublishedProblem, "mean", 20_000, row="langevin_single", records=_REDRAWN
    ),
    _fault(published_faults.noise_never_applied, PublishedProblem, "scale", 20_000, row="edge_unlearning"),
)
HARMLESS: tuple[Fault, ...] = (
    _fault(ridge_faults.no_fault, RidgeProblem, None, 20_000),
    _fault(ridge_faults.shuffled_records, RidgeProblem, None, 20_000),
    _fault(ridge_faults.longer_unlearning, RidgeProblem, None, 20_000),
    _fault(ridge_faults.more_noise, RidgeProblem, None, 20_000),
    _fault(ridge_faults.small_ascent_first, RidgeProblem, None, 20_000, route="repaired"),
    _fault(output_faults.doubled_noise, OutputProblem, None, 20_000, target=_HALF),
    _fault(output_faults.corrected_model, OutputProblem, None, 20_000, target=_HALF),
    _fault(newton_faults.two_steps, NewtonProblem, None, 10_000),
    _fault(newton_faults.stale_hessian, NewtonProblem, None, 10_000, ordinary=True),
    _fault(network_faults.no_fault, NetworkProblem, None, 3000),
    _fault(network_faults.budgets_kept, NetworkProblem, None, 3000, mu=3.0, keeping="canary"),
    _fault(published_faults.fresh_noise, PublishedProblem, None, 20_000, row="finetuning_model"),
    _fault(published_faults.renyi_with_its_order, PublishedProblem, None, 20_000, row="finetuning_gradient"),
    _fault(published_faults.squared_norm, PublishedProblem, None, 20_000, row="descent_to_delete_norm"),
    _fault(published_faults.steps_of_its_own, PublishedProblem, None, 20_000, row="langevin_sequential"),
    _fault(published_faults.kept_replacements, PublishedProblem, None, 20_000, row="langevin_single"),
    _fault(published_faults.noise_applied, PublishedProblem, None, 20_000, row="edge_unlearning"),
)
CATALOGUE: tuple[Fault, ...] = FAULTS + HARMLESS
