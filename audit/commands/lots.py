"""The commands ``unlearn-audit lots``: prepare an experiment, check its scores, follow a service. Imports are lazy."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from audit.commands.report import exit_code, junit_option, redact_option
from audit.commands.saying import say, say_result
from audit.commands.writable import check_writable, display, settled
from audit.errors import ExitCode, SchemaError
from mechanisms.errors import InvalidInputError, UnlearnAuditError

if TYPE_CHECKING:
    from audit.lots.files.folders import Opened
    from audit.lots.result import LotsResult
    from mechanisms.claim import Claim

_FILE = click.Path(path_type=Path, dir_okay=False)
_FOLDER = click.Path(path_type=Path, file_okay=False)
CONTENTS = ("report.json", "report.html", "report.md")


@click.group()
def lots() -> None:
    """Audit deletions that are drawn by lot: one trained model is enough, and none is retrained.

    A secret half of a pool of candidates is given to training and asked to be deleted; the other half is never given.
    Whoever sees the released model guesses which.
    """


@lots.command()
@click.argument("pool", type=_FILE)
@click.option("--runs", type=click.IntRange(1), default=1, show_default=True, help="Models that will be trained.")
@click.option(
    "--draw",
    type=click.Choice(["fair", "paired", "exactly_k", "one"]),
    default="fair",
    show_default=True,
    help="A coin a candidate, one of each two neighbours, a set of k, or one record.",
)
@click.option("--k", type=click.IntRange(1), default=None, help="How many exactly_k draws.")
@click.option("--out", type=_FOLDER, required=True, help="A new folder for service/, scoring/ and auditor/.")
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


def _shared(needs_claim: bool) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return a decorator that adds the options of both judging commands."""
    options = (
        click.option("--epsilon", type=click.FloatRange(0), required=needs_claim, help="What is claimed, in nats."),
        click.option("--delta", type=click.FloatRange(0, 1), default=1e-5, show_default=True, help="Its delta."),
        click.option(
            "--reference",
            type=click.Choice(["retrain_then_unlearn", "retrain_only", "certifying"]),
            default="retrain_then_unlearn",
            show_default=True,
            help="The law of the retained data that is claimed to be near.",
        ),
        click.option(
            "--covers",
            default=None,
            metavar="WHICH",
            help="Which deletions are claimed, such as up_to:200; by default all that the coins could draw.",
        ),
        click.option(
            "--statistic",
            type=click.Choice(["count", "weighted", "both"]),
            default="count",
            show_default=True,
            help="Count the surest guesses, weigh all, or both at half the level; fix it before the scores.",
        ),
        click.option("--guesses", type=click.IntRange(1), default=None, help="How many of the surest are counted."),
        click.option(
            "--significance",
            type=click.FloatRange(0, 0.5, min_open=True, max_open=True),
            default=0.05,
            show_default=True,
            help="Probability of refuting a true claim.",
        ),
        click.option("--out", type=_FOLDER, default=None, help="Folder for the page as HTML, Markdown and JSON."),
        click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on standard output."),
        click.option("--allow-inconclusive", is_flag=True, help="Exit 0 instead of 3 when nothing could be decided."),
        junit_option,
        redact_option,
    )

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


@lots.command()
@click.argument("folder", metavar="DIR", type=_FOLDER)
@click.argument("scores", type=_FILE)
@click.option(
    "--runs-threshold",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=None,
    help="Of several runs: which p-value of a run is a hit, fixed before them; else a quarter of the runs chooses.",
)
@_shared(needs_claim=True)
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
) -> int:
    """Open the coins of DIR and judge SCORES (.csv, .json or .npy, in the order of scoring/candidates.txt).

    The draw is read from the manifest. Whatever differs from what was committed to is refused by name.
    """
    from audit.lots.auditing import from_lots, which_record
    from audit.lots.files.folders import opened
    from audit.lots.files.score_files import read_lot_scores

    check_writable(out, {"--junit": junit}, contents=CONTENTS)
    out, junit = settled(out), settled(junit)
    found = opened(folder)
    manifest = found.manifest
    values = read_lot_scores(scores, found.candidates, manifest.runs)
    _say_order(scores)
    claim = _claim(found, epsilon, delta, reference, covers)
    command = _command("check", folder, scores, epsilon, delta, reference, covers, statistic, guesses, significance)
    command += [] if runs_threshold is None else [f"--runs-threshold={runs_threshold!r}"]
    told: dict[str, Any] = {
        "significance": significance,
        "title": f"Deletions by lot: {folder.name}",
        "command": shlex.join(command),
        "commitment": manifest.commitment,
    }
    if manifest.draw == "one":
        _only(statistic == "count" and runs_threshold is None, "--statistic", "count, without --runs-threshold")
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
    publish_lots(result, out, as_json, junit=junit, redact=redact)
    return exit_code(result, allow_inconclusive=allow_inconclusive)


@lots.command()
@click.argument("folder", metavar="DIR", type=_FOLDER)
@click.argument("scores", type=_FILE)
@click.option(
    "--state", type=_FILE, required=True, help="A file for what all releases so far say; made by the first release."
)
@_shared(needs_claim=False)
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
) -> int:
    """Count the next release of a service: DIR was prepared for its batch, SCORES are those of the released model.

    The verdict is valid after every release. A batch must enter the training after all releases that were counted.
    The first release states the claim with --epsilon; later ones keep it.
    """
    from audit.lots.auditing import follow_stream
    from audit.lots.files.folders import opened
    from audit.lots.files.score_files import read_lot_scores
    from reports.writing import write_texts

    check_writable(out, {"--junit": junit, "--state": state}, contents=CONTENTS)
    out, junit = settled(out), settled(junit)
    found, past = opened(folder), _state(state)
    draw, runs = found.manifest.draw, found.manifest.runs
    if draw == "one" or runs != 1:
        raise InvalidInputError(
            field=f"{folder}", expected="one run of a drawn set", got=f"draw {draw}, {runs} runs", fix="prepare one run"
        )
    values = read_lot_scores(scores, found.candidates, 1)
    _say_order(scores)
    if past is None and epsilon is None:
        raise click.UsageError("the first release of a stream states the claim: give --epsilon.")
    claim = None if past is not None or epsilon is None else _claim(found, epsilon, delta, reference, covers)
    words = _command("stream", folder, scores, epsilon, delta, reference, covers, statistic, guesses, significance)
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
    )
    # Before anything is shown: a release that is counted twice would be counted against the claim twice.
    write_texts(state.parent, {state.name: f"{result.to_json()}\n"})
    publish_lots(result, out, as_json, junit=junit, redact=redact)
    return exit_code(result, allow_inconclusive=allow_inconclusive)


def publish_lots(result: LotsResult, out: Path | None, as_json: bool, *, junit: Path | None, redact: bool) -> None:
    """Write the pages, then print JSON or the words; what cannot be written is said and does not change the verdict."""
    import reports
    from reports.lots.writing import render
    from reports.writing import write_texts

    result = reports.redact_lots(result) if redact else result
    written: tuple[Path, ...] = ()
    for target, texts in (
        *(((out, {f"report.{name}": name}) for name in ("json", "html", "md")) if out is not None else ()),
        *(((junit.parent, {junit.name: "junit"}),) if junit is not None else ()),
    ):
        try:
            written += write_texts(target, {name: render(result, kind) for name, kind in texts.items()})
        except Exception as error:
            said = str(error) if isinstance(error, UnlearnAuditError) else f"{type(error).__name__}: {error}"
            say(f"Error: {', '.join(texts)} was not written. The verdict stands. {said}")
    say_result(result.to_json() if as_json else reports.lots_summary(result), nl=as_json, is_json=as_json)
    for path in written:
        say(display(path))


def _state(path: Path) -> LotsResult | None:
    from audit.lots.result import LotsResult

    if not path.exists():
        return None
    try:
        return LotsResult.from_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, SchemaError) as error:
        raise SchemaError(f"{path}: {error}") from None


def _claim(found: Opened, epsilon: float, delta: float, reference: str, covers: str | None) -> Claim:
    """Return the claim of a command line; by default about all sets that the coins could draw."""
    from audit.commands.claiming import covers_of
    from mechanisms.claim import Claim, EpsilonDelta, OneRecord, Reference, UpTo

    manifest = found.manifest
    largest = {"fair": manifest.candidates, "paired": manifest.candidates // 2}.get(manifest.draw, manifest.k or 1)
    usual = OneRecord() if manifest.draw == "one" else UpTo(k=largest)
    chosen = usual if covers is None else covers_of(covers)
    if covers is None:
        say(f"The claim is taken to be about {usual.words} deleted at once; --covers says otherwise.")
    guarantee = EpsilonDelta(epsilon=epsilon, delta=delta)
    return Claim(guarantee=guarantee, reference=Reference(reference), covers=chosen)


def _command(
    name: str,
    folder: Path,
    scores: Path,
    epsilon: float | None,
    delta: float,
    reference: str,
    covers: str | None,
    statistic: str,
    guesses: int | None,
    significance: float,
) -> list[str]:
    words = ["unlearn-audit", "lots", name, str(folder), str(scores), f"--delta={delta!r}", f"--reference={reference}"]
    words += [] if epsilon is None else [f"--epsilon={epsilon!r}"]
    words += [] if covers is None else [f"--covers={covers}"]
    words += [] if guesses is None else [f"--guesses={guesses}"]
    return [*words, f"--statistic={statistic}", f"--significance={significance!r}"]


def _say_order(scores: Path) -> None:
    if scores.suffix.lower() == ".npy":
        say(f"{scores.name} names no candidates: its order is taken for that of scoring/candidates.txt.")


def _only(holds: bool, option: str, expected: str) -> None:
    if not holds:
        raise InvalidInputError(
            field=option, expected=f"{expected}, for a draw of one record", got="something else", fix="leave it out"
        )
