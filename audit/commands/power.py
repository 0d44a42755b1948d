"""The planning commands: ``power``, ``run --dry-run``, and the warnings that ``run`` prints before it starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from audit.commands.compare import mechanism_option, own_mechanism
from audit.commands.output.saying import say, say_result
from audit.commands.processes.supervised import user_code
from audit.errors import ExitCode
from mechanisms.errors import InvalidInputError

if TYPE_CHECKING:
    from audit.commands.plan_file.reading import ResolvedPlan
    from audit.lots.power import Rehearsed
    from audit.plan.audit_plan import AuditPlan
    from audit.plan.bound_record import BoundRecord
    from audit.power.forecasts import Forecast
    from audit.records.ledger import Family
    from audit.running.runner import Announce
    from audit.trials.engines import Streams

PLAN_MARGIN = 2.0
NUMBER_MARGINS = (1.5, 2.0, 3.0, 5.0)

margin_option = click.option(
    "--margin", type=float, default=None, help="True epsilon over claimed epsilon that the audit should see; 2."
)


@click.command()
@click.argument("plan", required=False, type=click.Path(path_type=Path, dir_okay=False))
@click.option("--epsilon", type=float, default=None, help="Without a plan: the claimed epsilon.")
@click.option("--delta", type=float, default=None, help="Without a plan: the claimed delta; 1e-5.")
@click.option("--significance", type=float, default=None, help="Without a plan: of the whole audit; 0.05.")
@click.option("--tests", type=int, default=None, help="Without a plan: how many tests share the significance; 1.")
@click.option("--trials", type=int, default=None, help="Releases a world; overrides the plan's.")
@margin_option
@click.option("--lots", type=int, default=None, help="Of deletions drawn by lot: how many candidates there are.")
@click.option("--runs", type=int, default=None, help="With --lots: trained models; 1.")
@click.option("--auc", type=float, default=None, help="With --lots: how well each candidate is told apart, above 0.5.")
@click.option(
    "--rehearsal",
    type=click.Path(path_type=Path, dir_okay=False),
    default=None,
    help="With --lots: report.json of an audit by lot that was made already, instead of --auc.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the forecast as JSON on standard output.")
@mechanism_option("Forecast the audit of this object of yours")
def power(
    plan: Path | None,
    epsilon: float | None,
    delta: float | None,
    significance: float | None,
    tests: int | None,
    trials: int | None,
    margin: float | None,
    lots: int | None,
    runs: int | None,
    auc: float | None,
    rehearsal: Path | None,
    as_json: bool,
    own: str | None,
) -> int:
    """Say what an audit could show before it runs: ceiling, detectable epsilon, power, trials needed. Draws nothing.

    Give a PLAN, or the numbers of one claim: unlearn-audit power --epsilon 1 --delta 1e-5 --trials 20000 --tests 4

    Of deletions drawn by lot: unlearn-audit power --lots 200 --runs 1 --epsilon 1
    """
    if lots is not None:
        others = {"PLAN": plan, "--tests": tests, "--trials": trials, "--margin": margin, "--mechanism": own}
        return _by_lot(others, lots, runs, auc, rehearsal, epsilon, delta, significance, as_json)
    from audit.power.forecasting import forecast_numbers
    from audit.running.forecast_plan import forecast

    numbers = {"--epsilon": epsilon, "--delta": delta, "--significance": significance, "--tests": tests}
    if plan is not None:
        _refuse(numbers)
        from audit.commands.output.saying import say_notes
        from audit.commands.plan_file.reading import read_plan

        read = read_plan(plan, trials=trials, mechanism=own_mechanism(own))
        say_notes(read)
        margins = (PLAN_MARGIN if margin is None else margin,)
        with user_code("forecasting its audit"):
            found = forecast(read.mechanism, read.data, read.plan, margins=margins, title=read.title)
    elif epsilon is None or trials is None:
        raise InvalidInputError(
            field="PLAN" if epsilon is None else "--trials",
            expected="given",
            got="nothing",
            fix="name a plan file, or describe a claim: --epsilon 1 --delta 1e-5 --trials 20000",
        )
    else:
        found = forecast_numbers(
            epsilon=epsilon,
            delta=1e-5 if delta is None else delta,
            trials=trials,
            significance=0.05 if significance is None else significance,
            tests=1 if tests is None else tests,
            margins=NUMBER_MARGINS if margin is None else (margin,),
        )
    return _print(found, as_json)


def _by_lot(
    others: Mapping[str, object],
    lots: int,
    runs: int | None,
    auc: float | None,
    rehearsal: Path | None,
    epsilon: float | None,
    delta: float | None,
    significance: float | None,
    as_json: bool,
) -> int:
    from audit.lots.power import AUCS, forecast_lots
    from reports.lots.forecast import lots_forecast_summary, rehearsal_words

    for name, value in others.items():
        if value is not None:
            raise InvalidInputError(field=name, expected="left out with --lots", got=value, fix="say --runs and --auc")
    if epsilon is None:
        raise InvalidInputError(field="--epsilon", expected="given", got="nothing", fix="say what is claimed")
    if rehearsal is not None and auc is not None:
        raise InvalidInputError(field="--auc", expected="left out with --rehearsal", got=auc, fix="drop one of them")
    seen = None if rehearsal is None else _rehearsed(rehearsal)
    aucs = AUCS if auc is None else (auc,)
    found = forecast_lots(
        candidates=lots,
        runs=1 if runs is None else runs,
        epsilon=epsilon,
        delta=1e-5 if delta is None else delta,
        significance=0.05 if significance is None else significance,
        aucs=aucs if seen is None else (seen.cautious, seen.likely),
    )
    if seen is not None:
        click.echo(rehearsal_words(seen), err=as_json)
    click.echo(found.to_json() if as_json else lots_forecast_summary(found), nl=as_json)
    return ExitCode.OK


def _rehearsed(path: Path) -> Rehearsed:
    from audit.errors import SchemaError
    from audit.lots.power import rehearsed
    from audit.lots.result import LotsResult

    try:
        result = LotsResult.from_json(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, SchemaError) as error:
        said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        fix = "name report.json of an audit by lot"
        raise InvalidInputError(field=str(path), expected="a stored audit by lot", got=said, fix=fix) from None
    return rehearsed(result)


def dry_run(read: ResolvedPlan, plan: Path, *, margin: float | None, engine: Streams, as_json: bool) -> int:
    """Print what cheap checks of a plan show. Writes nothing; exit code 0, or 3 where no verdict can come of it."""
    from audit.power.forecasting import check_margins
    from audit.running.cheap_checks import check_cheaply
    from reports.forecasts.checks import checks_summary

    # The run would refuse it.
    check_margins((PLAN_MARGIN if margin is None else margin,))
    with user_code("checking it"):
        found = check_cheaply(read.mechanism, read.data, read.plan, engine=engine, title=read.title)
    say_result(found.to_json() if as_json else checks_summary(found, str(plan)), nl=as_json, is_json=as_json)
    return ExitCode.OK if all(control.as_expected for control in found.controls) else ExitCode.INCONCLUSIVE


def warner(margin: float | None) -> Announce:
    """Return what prints a bound plan's warnings on standard error, before anything is drawn."""
    from audit.power.forecasting import check_margins, forecast_bound

    margins = (PLAN_MARGIN if margin is None else margin,)
    check_margins(margins)

    def announce(plan: AuditPlan, records: Sequence[BoundRecord], family: Family) -> None:
        from reports.forecasts.summary import caution_lines

        for line in caution_lines(
            forecast_bound(plan, records, family, margins=margins, title="", mechanism="", brief=True)
        ):
            say(line)

    return announce


def _refuse(numbers: dict[str, float | int | None]) -> None:
    given = {name: value for name, value in numbers.items() if value is not None}
    if given:
        name, value = next(iter(given.items()))
        raise InvalidInputError(
            field=name, expected="left out when a plan is given", got=value, fix="put it into the plan"
        )


def _print(found: Forecast, as_json: bool) -> int:
    from reports.forecasts.summary import forecast_summary

    click.echo(found.to_json() if as_json else forecast_summary(found), nl=as_json)
    return ExitCode.OK
