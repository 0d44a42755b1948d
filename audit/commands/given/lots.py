"""The commands ``unlearn-audit lots``: prepare an experiment, check its scores, follow a service. Imports are lazy."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from audit.commands.options.lots import (
    A_FILE,
    A_FOLDER,
    claim_of,
    judging_options,
    publish_lots,
    require_only,
    say_order,
    state_of,
    words_of,
)
from audit.commands.output.filing.case_file import filed_case
from audit.commands.output.saying import say_result
from audit.commands.output.writable import check_writable, settled
from audit.commands.report import exit_code
from audit.errors import ExitCode
from mechanisms.errors import InvalidInputError

CONTENTS = ("report.json", "report.html", "report.md", "manifest.json")


@click.group()
def lots() -> None:
    """Audit deletions that are drawn by lot: one trained model is enough, and none is retrained.

    A secret half of a pool of candidates is given to training and asked to be deleted; the other half is never given.
    Whoever sees the released model guesses which.
    """


@lots.command()
@click.argument("pool", type=A_FILE)
@click.option("--runs", type=click.IntRange(1), default=1, show_default=True, help="Models that will be trained.")
@click.option(
    "--draw",
    type=click.Choice(["fair", "paired", "exactly_k", "one"]),
    default="fair",
    show_default=True,
    help="A coin a candidate, one of each two neighbours, a set of k, or one record.",
)
@click.option("--k", type=click.IntRange(1), default=None, help="How many exactly_k draws.")
@click.option("--out", type=A_FOLDER, required=True, help="A new folder for service/, scoring/ and auditor/.")
def prepare(pool: Path, runs: int, draw: str, k: int | None, out: Path) -> int:
    """Draw secret coins for the candidates of POOL (.csv, .json, .jsonl, .npy) and write three folders.

    service/ goes to whoever trains, scoring/ to whoever scores, auditor/ stays here. All hold the commitment to the
    coins.
    """
    from audit.lots.files.folders import prepare as make

    check_writable(out, contents=("service/", "scoring/", "auditor/"))
    made = make(pool, out, runs=runs, draw=draw, k=k)  # type: ignore[arg-type]
    say_result(
        f"{made.candidates} candidates, {made.runs} run{'s' if made.runs > 1 else ''}, draw {made.draw}\n"
        f"commitment {made.commitment}\n"
        f"{out}/service  for whoever trains: insert run_<j>/insert, then delete run_<j>/delete; the others never\n"
        f"{out}/scoring  for whoever scores: the pool alone\n"
        f"{out}/auditor  stays here until the scores are written down"
    )
    return ExitCode.OK


@lots.command()
@click.argument("folder", metavar="DIR", type=A_FOLDER)
@click.argument("scores", type=A_FILE)
@click.option(
    "--runs-threshold",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=None,
    help="Of several runs: which p-value of a run is a hit, fixed before them; else a quarter of the runs chooses.",
)
@judging_options(needs_claim=True)
def check(
    folder: Path,
    scores: Path,
    runs_threshold: float | None,
    epsilon: float,
    delta: float,
    reference: str,
    covers: str | None,
    statistic: str,
    guesses: int | None,
    significance: float,
    out: Path | None,
    as_json: bool,
    allow_inconclusive: bool,
    junit: Path | None,
    redact: bool,
    case_file: Path | None,
) -> int:
    """Open the coins of DIR and judge SCORES (.csv, .json or .npy, in the order of scoring/candidates.txt).

    The draw is read from the manifest. Whatever differs from what was committed to is refused by name.
    """
    from audit.commands.output.filing.evidence import Evidence
    from audit.lots.auditing import from_lots, which_record
    from audit.lots.files.folders import opened
    from audit.lots.files.score_files import read_lot_scores

    check_writable(out, {"--junit": junit}, contents=CONTENTS)
    out, junit = settled(out), settled(junit)
    evidence = Evidence(out)
    case = filed_case(case_file, evidence)
    evidence.read("lots", folder)
    evidence.read("scores", scores)
    found = opened(folder)
    manifest = found.manifest
    values = read_lot_scores(scores, found.candidates, manifest.runs)
    say_order(scores)
    claim = claim_of(found, epsilon, delta, reference, covers)
    command = words_of("check", folder, scores, epsilon, delta, reference, covers, statistic, guesses, significance)
    command += [] if runs_threshold is None else [f"--runs-threshold={runs_threshold!r}"]
    told: dict[str, Any] = {
        "significance": significance,
        "title": f"Deletions by lot: {folder.name}",
        "command": shlex.join(command),
        "commitment": manifest.commitment,
        "covariates": found.covariates,
    }
    if manifest.draw == "one":
        require_only(statistic == "count" and runs_threshold is None, "--statistic", "count, without --runs-threshold")
        result = which_record(values, found.coins.argmax(axis=1), claim=claim, names=guesses or 1, **told)
    else:
        result = from_lots(
            values,
            found.coins,
            claim=claim,
            draw=manifest.draw,
            pairs=manifest.pairs,
            statistic=statistic,  # type: ignore[arg-type]
            guesses=guesses,
            runs_threshold=runs_threshold,
            **told,
        )
    publish_lots(replace(result, case=case), out, as_json, junit=junit, redact=redact, evidence=evidence)
    return exit_code(result, allow_inconclusive=allow_inconclusive)


@lots.command()
@click.argument("folder", metavar="DIR", type=A_FOLDER)
@click.argument("scores", type=A_FILE)
@click.option(
    "--state", type=A_FILE, required=True, help="A file for what all releases so far say; made by the first release."
)
@judging_options(needs_claim=False)
def stream(
    folder: Path,
    scores: Path,
    state: Path,
    epsilon: float | None,
    delta: float,
    reference: str,
    covers: str | None,
    statistic: str,
    guesses: int | None,
    significance: float,
    out: Path | None,
    as_json: bool,
    allow_inconclusive: bool,
    junit: Path | None,
    redact: bool,
    case_file: Path | None,
) -> int:
    """Count the next release of a service: DIR was prepared for its batch, SCORES are those of the released model.

    The verdict is valid after every release. A batch must enter the training after all releases that were counted.
    The first release states the claim with --epsilon; later ones keep it.
    """
    from audit.commands.output.filing.evidence import Evidence
    from audit.lots.auditing import follow_stream
    from audit.lots.files.folders import opened
    from audit.lots.files.score_files import read_lot_scores
    from reports.writing import write_texts

    check_writable(out, {"--junit": junit, "--state": state}, contents=CONTENTS)
    out, junit = settled(out), settled(junit)
    evidence = Evidence(out)
    case = filed_case(case_file, evidence)
    evidence.read("lots", folder)
    evidence.read("scores", scores)
    found, past = opened(folder), state_of(state)
    draw, runs = found.manifest.draw, found.manifest.runs
    if draw == "one" or runs != 1:
        raise InvalidInputError(
            field=f"{folder}", expected="one run of a drawn set", got=f"draw {draw}, {runs} runs", fix="prepare one run"
        )
    values = read_lot_scores(scores, found.candidates, 1)
    say_order(scores)
    if past is None and epsilon is None:
        raise click.UsageError("the first release of a stream states the claim: give --epsilon.")
    claim = None if past is not None or epsilon is None else claim_of(found, epsilon, delta, reference, covers)
    words = words_of("stream", folder, scores, epsilon, delta, reference, covers, statistic, guesses, significance)
    result = follow_stream(
        values,
        found.coins,
        claim=claim,
        state=past,
        draw=draw,
        pairs=found.manifest.pairs,
        statistic=statistic,  # type: ignore[arg-type]
        guesses=guesses,
        significance=significance,
        command=shlex.join([*words, f"--state={state}"]),
        commitment=found.manifest.commitment,
        covariates=found.covariates,
    )
    # Before anything is shown: a release that is counted twice would be counted against the claim twice.
    write_texts(state.parent, {state.name: f"{result.to_json()}\n"})
    publish_lots(replace(result, case=case), out, as_json, junit=junit, redact=redact, evidence=evidence)
    return exit_code(result, allow_inconclusive=allow_inconclusive)
