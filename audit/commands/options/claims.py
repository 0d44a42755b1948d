"""The options that state a claim on the command line, and which deletions it is about."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from mechanisms.errors import InvalidInputError

if TYPE_CHECKING:
    from mechanisms.claim import Covers

F = TypeVar("F", bound=Callable[..., Any])


def claim_options(*, made: str, refuting: str) -> Callable[[F], F]:
    """Return a decorator that adds --epsilon, --delta, --reference, --covers and --significance to a command.

    Parameters
    ----------
    made
        The help of --reference: what must have been made in that world.
    refuting
        The help of --significance.
    """
    options: tuple[Callable[[F], F], ...] = (
        click.option("--epsilon", type=click.FloatRange(0), required=True, help="What is claimed, in nats."),
        click.option("--delta", type=click.FloatRange(0, 1), default=1e-5, show_default=True, help="Its delta."),
        click.option(
            "--reference",
            type=click.Choice(["retrain_then_unlearn", "retrain_only"]),
            default="retrain_then_unlearn",
            show_default=True,
            help=made,
        ),
        click.option(
            "--covers",
            default="this_set",
            show_default=True,
            metavar="WHICH",
            help="Which deletions are claimed: this_set, one_record, exactly:K or up_to:K records at once. Said in "
            "reports.",
        ),
        click.option(
            "--significance",
            type=click.FloatRange(0, 0.5, min_open=True, max_open=True),
            default=0.05,
            show_default=True,
            help=refuting,
        ),
    )

    def decorate(command: F) -> F:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def covers_of(text: str) -> Covers:
    """Return what "this_set", "one_record", "exactly:3" or "up_to:3" means.

    Raises
    ------
    InvalidInputError
        For anything else.
    """
    from mechanisms.claim import Exactly, OneRecord, ThisSet, UpTo

    word, _, number = text.partition(":")
    if text == "this_set":
        return ThisSet()
    if text == "one_record":
        return OneRecord()
    if word in ("exactly", "up_to") and number.isascii() and number.isdecimal() and len(number) < 10 and int(number):
        return Exactly(k=int(number)) if word == "exactly" else UpTo(k=int(number))
    raise InvalidInputError(
        field="--covers",
        expected="this_set, one_record, exactly:K or up_to:K, with K at least 1",
        got=text,
        fix="write for example up_to:3",
    )
