"""The commands ``unlearn-audit models``: audit outputs of models that exist, and draw what is to be trained."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from audit.commands.options.claims import claim_options
from audit.commands.options.common import allow_inconclusive_option, json_option, out_option
from audit.commands.output.filing.case_file import case_option, filed_case
from audit.commands.output.saying import say, say_result
from audit.commands.output.writable import MODELS, REPORT, check_writable, display, settled
from audit.commands.report import filed, junit_option, redact_option

if TYPE_CHECKING:
    from audit.commands.output.filing.evidence import Evidence
    from audit.records.models import ModelsResult

KINDS = ("logits", "probabilities", "loss", "values", "scores")


class _PathOrCommand(click.Group):
    """A group whose first word may be a path: ``models PATH`` is ``models audit PATH``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
            args = ["audit", *args]
        return super().parse_args(ctx, args)


@click.group(cls=_PathOrCommand)
def models() -> None:
    """Audit many records with the same few models: unlearn-audit models PATH --epsilon 1.

    PATH is a file or folder of outputs, in one of the layouts that "unlearn-audit models audit --help" lists.
    """


@models.command("audit")
@click.argument("path", type=click.Path(path_type=Path))
@claim_options(
    made="How the retrained or reference models were made; the claim is about that world.",
    refuting="Probability of refuting a true claim, over all records.",
)
@click.option(
    "--kind", type=click.Choice(KINDS), default=None, help="What an output is, where the layout does not say."
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Which models fit, which count.")
@click.option("--details", type=click.IntRange(0), default=20, show_default=True, help="Records with a lower bound.")
@click.option("--discrete", is_flag=True, help="Independent models may have equal outputs: equal rows are no fault.")
@click.option(
    "--follow",
    type=click.Path(path_type=Path, dir_okay=False),
    default=None,
    metavar="FILE",
    help="Models are still being made: count those that came since FILE was written, valid however often it is called.",
)
@click.option("--conditional-on-seed", is_flag=True, help="All models of a kind have one training seed on purpose.")
@out_option
@json_option
@allow_inconclusive_option
@junit_option
@redact_option
@case_option
def audit_models(
    path: Path,
    epsilon: float,
    delta: float,
    kind: str | None,
    reference: str,
    covers: str,
    significance: float,
    seed: int,
    details: int,
    discrete: bool,
    follow: Path | None,
    conditional_on_seed: bool,
    out: Path | None,
    as_json: bool,
    allow_inconclusive: bool,
    junit: Path | None,
    redact: bool,
    case_file: Path | None,
) -> int:
    """Audit the outputs of models that exist already.

    PATH holds unlearned.npy and retrained.npy (a row a model, a column a record; or .csv, .parquet, one .npz); or
    folders unlearned and oracle with a file a model; or models.csv (id, kind) and a file a model; or outputs.npy with
    status.npy and kinds.npy; or LiRA's experiment-* folders, or ML Privacy Meter's, each with status.npy. Beside them
    may lie labels.npy and records.txt. With a status there is a claim a record; else one claim, about one deletion.
    With --follow the files may grow from call to call, new models at the end: a true claim is ever refuted with at most
    the significance.

    Exit codes: 0 nothing refuted, 1 a claim refuted, 3 inconclusive.
    """
    from audit.commands.options.claims import covers_of
    from audit.commands.output.filing.evidence import Evidence
    from audit.commands.report import exit_code, publish
    from audit.models.reading import read_models
    from audit.records.models import ModelsResult
    from mechanisms.claim import Claim, EpsilonDelta, Reference

    check_writable(out, {"--junit": junit, "--follow": follow}, contents=MODELS if follow is None else REPORT)
    out, junit = settled(out), settled(junit)
    evidence = Evidence(out)
    case = filed_case(case_file, evidence)
    evidence.read("models", path)
    claim = Claim(
        guarantee=EpsilonDelta(epsilon=epsilon, delta=delta), reference=Reference(reference), covers=covers_of(covers)
    )
    words = ["unlearn-audit", "models", str(path), f"--epsilon={epsilon!r}", f"--delta={delta!r}"]
    words += [] if kind is None else [f"--kind={kind}"]
    words += [f"--reference={reference}", f"--significance={significance!r}", f"--seed={seed}", f"--details={details}"]
    words += [] if covers == "this_set" else [f"--covers={covers}"]
    words += ["--discrete"] if discrete else []
    words += ["--conditional-on-seed"] if conditional_on_seed else []
    stored = read_models(path)
    say(f"{path.name or path}: {stored.layout}")
    if follow is not None:
        words.append(f"--follow={follow}")
        beside = {} if stored.is_one_deletion else {"conditional_on_seed": conditional_on_seed}
        check_writable(out, contents=REPORT if stored.is_one_deletion else MODELS)
        so_far = stored.follow(
            claim=claim,
            state=follow,
            kind=kind,  # type: ignore[arg-type]
            significance=significance,
            seed=seed,
            continuous=not discrete,
            command=shlex.join(words),
            **beside,
        )
        if isinstance(so_far, ModelsResult):
            publish_models(replace(so_far, case=case), out, as_json, junit=junit, redact=redact, evidence=evidence)
        else:
            publish(replace(so_far, case=case), out, as_json, junit=junit, redact=redact, evidence=evidence)
        return exit_code(so_far, allow_inconclusive=allow_inconclusive)
    result = stored.audit(
        claim=claim,
        kind=kind,  # type: ignore[arg-type]
        significance=significance,
        seed=seed,
        details=details,
        continuous=not discrete,
        conditional_on_seed=conditional_on_seed,
        command=shlex.join(words),
    )
    publish_models(replace(result, case=case), out, as_json, junit=junit, redact=redact, evidence=evidence)
    return exit_code(result, allow_inconclusive=allow_inconclusive)


def publish_models(
    result: ModelsResult, out: Path | None, as_json: bool, *, junit: Path | None, redact: bool, evidence: Evidence
) -> None:
    """Write the pages, then print JSON or the short table; what cannot be written is said and changes no verdict."""
    from mechanisms.errors import UnlearnAuditError
    from reports.models.writing import models_summary, redact_models, write_junit_models, write_models

    if redact:
        result = redact_models(result)
    written: tuple[Path, ...] = ()
    for target, write in ((out, write_models), (junit, write_junit_models)):
        try:
            written += () if target is None else write(result, target)
        except Exception as error:
            said = str(error) if isinstance(error, UnlearnAuditError) else f"{type(error).__name__}: {error}"
            say(f"Error: {target} was not written. The verdict stands. {said}")
    written += filed(evidence, written, redact=redact)
    say_result(result.to_json() if as_json else models_summary(result), is_json=as_json)
    for path in written:
        say(display(path))


@models.command("assign")
@click.option("--records", type=click.IntRange(1), required=True, help="How many records there are.")
@click.option("--models", "n_models", type=click.IntRange(32), required=True, help="How many models are to be trained.")
@click.option("--retain", type=float, default=0.5, show_default=True, help="Probability that a model retains a record.")
@click.option(
    "--forget",
    type=float,
    default=0.5,
    show_default=True,
    help="Probability that a deletion model forgets a record that it does not retain.",
)
@click.option("--deletion", type=float, default=0.5, show_default=True, help="Share of the models that unlearn.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the coins.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="File of the status, such as status.npy.",
)
def assign(records: int, n_models: int, retain: float, forget: float, deletion: float, seed: int, out: Path) -> int:
    """Draw which records each model learns and forgets, so that every record's claim can be tested.

    Writes the status (models x records: 0 absent, 1 forgotten, 2 retained) to OUT, and beside it kinds.npy: 1 for
    models that unlearn what is forgotten, 0 for reference models, which unlearn nothing.
    """
    import numpy as np

    from audit.models.assigning import assign_status
    from mechanisms.errors import InvalidInputError

    drawn = assign_status(records=records, models=n_models, retain=retain, forget=forget, deletion=deletion, seed=seed)
    kinds = out.with_name("kinds.npy")
    if out.suffix != ".npy" or out == kinds:
        raise InvalidInputError(
            field="--out", expected="a .npy file, not kinds.npy", got=str(out), fix="say status.npy"
        )
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        np.save(out, drawn.status)
        np.save(kinds, drawn.kinds)
    except OSError as error:
        raise InvalidInputError(
            field="--out",
            expected="a place that can be written",
            got=str(out),
            fix=f"choose another one ({error.strerror})",
        ) from None
    click.echo(drawn.sentence())
    for path in (out, kinds):
        say(display(path))
    return 0
