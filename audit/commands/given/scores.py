"""The command ``unlearn-audit scores``: audit two files of scores or releases. Imports are lazy."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

import click

from audit.commands.options.claims import claim_options
from audit.commands.options.common import allow_inconclusive_option, json_option, out_option
from audit.commands.output.filing.case_file import case_option, filed_case
from audit.commands.output.saying import say
from audit.commands.output.writable import check_writable, settled
from audit.commands.report import junit_option, redact_option

file_type = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.argument("unlearned", type=file_type)
@click.argument("retrained", type=file_type)
@claim_options(
    made="How the models of RETRAINED were made; the claim is about that world.",
    refuting="Probability of refuting a true claim.",
)
@click.option(
    "--fixed-threshold",
    type=float,
    default=None,
    help="A score threshold chosen before anybody looked at these files: every row is counted.",
)
@click.option("--column", default=None, help="Which column is the score: its name in the header, or 1, 2, ...")
@click.option("--releases", is_flag=True, help="Every column is a parameter of the model, also whole numbers.")
@click.option(
    "--model-ids",
    type=(file_type, file_type),
    default=None,
    metavar="UNLEARNED_IDS RETRAINED_IDS",
    help="Files (.npy, .txt, .csv) with the model of each row, where some are of one model: one row of each counts.",
)
@click.option("--discrete", is_flag=True, help="Independent models may have equal scores: equal rows are no fault.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Which rows fit, which count.")
@out_option
@json_option
@allow_inconclusive_option
@junit_option
@redact_option
@case_option
def scores(
    unlearned: Path,
    retrained: Path,
    epsilon: float,
    delta: float,
    reference: str,
    covers: str,
    significance: float,
    fixed_threshold: float | None,
    column: str | None,
    releases: bool,
    model_ids: tuple[Path, Path] | None,
    discrete: bool,
    seed: int,
    out: Path | None,
    as_json: bool,
    allow_inconclusive: bool,
    junit: Path | None,
    redact: bool,
    case_file: Path | None,
) -> int:
    """Audit scores of models that you made yourself.

    UNLEARNED and RETRAINED are .npy, .npz or .csv files with one row a model: one score, the higher the more it looks
    like an unlearned model, or all parameters. They may differ in length. Keep the rows in the order in which the
    models were made. Where other columns stand beside the score, as job numbers do, name it with --column; a .csv file
    may then have a header. For outputs on many records, a column a record, use unlearn-audit models.
    """
    from audit.commands.options.claims import covers_of
    from audit.commands.output.filing.evidence import Evidence
    from audit.commands.report import exit_code, publish
    from audit.given.auditing import from_scores
    from audit.given.files import read_scores
    from audit.given.models import read_ids
    from mechanisms.claim import Claim, EpsilonDelta, Reference

    check_writable(out, {"--junit": junit})
    out, junit = settled(out), settled(junit)
    evidence = Evidence(out)
    case = filed_case(case_file, evidence)
    for path in (unlearned, retrained, *(model_ids or ())):
        evidence.read("scores", path)
    claim = Claim(
        guarantee=EpsilonDelta(epsilon=epsilon, delta=delta), reference=Reference(reference), covers=covers_of(covers)
    )
    words = ["unlearn-audit", "scores", str(unlearned), str(retrained), f"--epsilon={epsilon!r}", f"--delta={delta!r}"]
    words += [f"--reference={reference}", f"--significance={significance!r}", f"--seed={seed}"]
    words += [] if covers == "this_set" else [f"--covers={covers}"]
    words += [] if fixed_threshold is None else [f"--fixed-threshold={fixed_threshold!r}"]
    words += [] if model_ids is None else ["--model-ids", *map(str, model_ids)]
    words += ["--discrete"] if discrete else []
    ids = None if model_ids is None else (read_ids(model_ids[0]), read_ids(model_ids[1]))
    words += [] if column is None else [f"--column={column}"]
    words += ["--releases"] if releases else []
    if column is not None and releases:
        raise click.UsageError("--column names the one score, --releases says that there is none: give one of the two.")
    rows = [read_scores(path, column=column, releases=releases) for path in (unlearned, retrained)]
    for path, values in zip((unlearned, retrained), rows, strict=True):
        # A column too many or too few shows here.
        say(f"{path.name}: an array of shape {values.shape}, one row a model")
    if column is None and not releases and rows[0].ndim > 1 and rows[0].shape[1] > 1:
        say("If each column is a record, on which the model was asked: unlearn-audit models is made for that.")
    result = from_scores(
        *rows,
        claim=claim,
        significance=significance,
        seed=seed,
        threshold=fixed_threshold,
        # One column is left, and the user has named it.
        column=None if column is None else 1,
        releases=releases,
        names=(unlearned.name, retrained.name),
        command=shlex.join(words),
        model_ids=ids,
        continuous=not discrete,
    )
    publish(replace(result, case=case), out, as_json, junit=junit, redact=redact, evidence=evidence)
    return exit_code(result, allow_inconclusive=allow_inconclusive)
