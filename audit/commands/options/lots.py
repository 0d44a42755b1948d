"""What the commands ``lots check`` and ``lots stream`` share: options, the claim, the state, and what is shown."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from audit.commands.options.common import allow_inconclusive_option, json_option
from audit.commands.output.filing.case_file import case_option
from audit.commands.output.saying import say, say_result
from audit.commands.output.writable import display
from audit.commands.report import filed, junit_option, redact_option
from audit.errors import SchemaError
from mechanisms.errors import InvalidInputError, UnlearnAuditError

if TYPE_CHECKING:
    from audit.commands.output.filing.evidence import Evidence
    from audit.lots.files.folders import Opened
    from audit.lots.result import LotsResult
    from mechanisms.claim import Claim

A_FILE = click.Path(path_type=Path, dir_okay=False)
A_FOLDER = click.Path(path_type=Path, file_okay=False)


def judging_options(needs_claim: bool) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
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
        click.option("--out", type=A_FOLDER, default=None, help="Folder for the page as HTML, Markdown and JSON."),
        json_option,
        allow_inconclusive_option,
        junit_option,
        redact_option,
        case_option,
    )

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def publish_lots(
    result: LotsResult, out: Path | None, as_json: bool, *, junit: Path | None, redact: bool, evidence: Evidence
) -> None:
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
    written += filed(evidence, written, redact=redact)
    say_result(result.to_json() if as_json else reports.lots_summary(result), nl=as_json, is_json=as_json)
    for path in written:
        say(display(path))


def state_of(path: Path) -> LotsResult | None:
    """Return the stream that a file holds; ``None`` before the first release.

    Raises
    ------
    SchemaError
        When it is something else.
    """
    from audit.lots.result import LotsResult

    if not path.exists():
        return None
    try:
        return LotsResult.from_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, SchemaError) as error:
        raise SchemaError(f"{path}: {error}") from None


def claim_of(found: Opened, epsilon: float, delta: float, reference: str, covers: str | None) -> Claim:
    """Return the claim of a command line; by default about all sets that the coins could draw."""
    from audit.commands.options.claims import covers_of
    from mechanisms.claim import Claim, EpsilonDelta, OneRecord, Reference, UpTo

    manifest = found.manifest
    largest = {"fair": manifest.candidates, "paired": manifest.candidates // 2}.get(manifest.draw, manifest.k or 1)
    usual = OneRecord() if manifest.draw == "one" else UpTo(k=largest)
    chosen = usual if covers is None else covers_of(covers)
    if covers is None:
        say(f"The claim is taken to be about {usual.words} deleted at once; --covers says otherwise.")
    guarantee = EpsilonDelta(epsilon=epsilon, delta=delta)
    return Claim(guarantee=guarantee, reference=Reference(reference), covers=chosen)


def words_of(
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
    """Return the command line that judges again."""
    words = ["unlearn-audit", "lots", name, str(folder), str(scores), f"--delta={delta!r}", f"--reference={reference}"]
    words += [] if epsilon is None else [f"--epsilon={epsilon!r}"]
    words += [] if covers is None else [f"--covers={covers}"]
    words += [] if guesses is None else [f"--guesses={guesses}"]
    return [*words, f"--statistic={statistic}", f"--significance={significance!r}"]


def say_order(scores: Path) -> None:
    """Say that an array names no candidates."""
    if scores.suffix.lower() == ".npy":
        say(f"{scores.name} names no candidates: its order is taken for that of scoring/candidates.txt.")


def require_only(holds: bool, option: str, expected: str) -> None:
    """Refuse an option that a draw of one record has no use for.

    Raises
    ------
    InvalidInputError
        Naming it.
    """
    if not holds:
        raise InvalidInputError(
            field=option, expected=f"{expected}, for a draw of one record", got="something else", fix="leave it out"
        )
