"""From gaps to certificates of logistic and softmax regression: sure, probable and uniform, by shifted interpolation.

The accounting is that of ridge's repaired route (``mechanisms.ridge.routes``): the minorant of the gaps, a comparison
chain whose deleted gradients are clipped at their bounds, and the probability of that event charged in both directions.

References
----------
Bok, Su, Altschuler 2024, "Shifted interpolation for differential privacy" (arXiv:2403.00278).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from mechanisms.claim import Certificate
from mechanisms.errors import InvalidInputError
from mechanisms.logistic.gaps import ProbableGaps, SureGaps
from mechanisms.logistic.process import LogisticProcess
from mechanisms.ridge.routes import REPAIR, Gaps, RouteName, SensitivityRoute

SURE = (
    "Sure: a record's gradient is at most its own norm times the largest residual of the loss, whatever the weights. "
    "No event can fail."
)
PROBABLE = (
    "Around the noiseless path: residuals are bounded by what they are without noise and how far noise can move the "
    "weights."
)
UNIFORM = (
    "Uniform: one certificate for every forget set of this size, from the largest norms over all records. It depends "
    "on these data and says nothing about others."
)
CONTRACTION = (
    "One step on the retained data contracts by max(1 - step_size penalty, step_size L - 1), L a bound on the "
    "curvature of their loss."
)
OF_ALL = (
    "One step on the retained data contracts at least as fast as max(1 - step_size penalty, step_size L - 1), L a "
    "bound on the curvature of the loss of all data."
)
WITHOUT = "Epsilon without unlearning is the smallest bound of the routes on what learning alone gives."


@dataclass(frozen=True, kw_only=True, eq=False)
class LogisticRoutes:
    """The routes of one deletion, each built when it is first asked for; the unlearning noise is still free."""

    process: LogisticProcess
    delta: float

    @cached_property
    def sure(self) -> SensitivityRoute:
        """The deleted records' own norms: holds surely."""
        return self._route("sure", SureGaps.of(self.process), self.process.contraction, (SURE, CONTRACTION, WITHOUT))

    @cached_property
    def probable(self) -> SensitivityRoute:
        """The deleted records' residuals near the noiseless path: holds but for a probability, which is charged."""
        stated = (PROBABLE, REPAIR, CONTRACTION, WITHOUT)
        return self._route("probable", ProbableGaps.of(self.process), self.process.contraction, stated)

    @cached_property
    def uniform(self) -> SensitivityRoute:
        """The baseline: the largest norms over all records, for everyone.

        Raises
        ------
        InvalidInputError
            When a step does not contract on the full data.
        """
        contraction = self.process.expansion
        if contraction > 1:
            raise InvalidInputError(
                field="step_size",
                expected="at most 2/L of the full data for a certificate of every record",
                got=self.process.step_size,
                fix="lower it",
            )
        return self._route("uniform", SureGaps.largest(self.process), contraction, (UNIFORM, OF_ALL, WITHOUT))

    def certificate_of(self, name: RouteName, sigma_unlearn: float) -> Certificate:
        """Return the certificate of a route at a noise."""
        route: SensitivityRoute = getattr(self, name)
        # Each bounds it: the event of the probable route costs more than it gains where epsilon is large.
        without = min(route.epsilon(0.0), self.sure.epsilon(0.0), self.probable.epsilon(0.0))
        return route.certificate(sigma_unlearn, epsilon_without_unlearning=without)

    def _route(self, name: RouteName, gaps: Gaps, contraction: float, assumptions: tuple[str, ...]) -> SensitivityRoute:
        return SensitivityRoute(
            name=name,
            provenance="repaired",
            assumptions=assumptions,
            inflated=True,
            process=self.process,
            gaps=gaps,
            contraction=contraction,
            delta=self.delta,
        )
