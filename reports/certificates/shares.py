"""Certificates without records for readers: what is left of many, for a terminal, as a page, as Markdown, CSV, JSON."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from audit.certificates.shares import FEWEST, SHARES, CertificationShares, MeasureShares
from reports.certificates import words
from reports.certificates.plain_page import PlainView, plain_html
from reports.page import facts
from reports.page.markdown import filled
from reports.page.numbers import counted, nearest, up
from reports.page.parts import NONE, TableView, map_text, plain
from reports.page.terminal import printed
from reports.writing import write_texts

NAMES = {
    "epsilon": "ε",
    "epsilon_without_unlearning": "ε without unlearning",
    "sigma_unlearn": "noise\N{NO-BREAK SPACE}σᵤ",
}
WITHHELD = (
    "Which records these are and every number of a single one, the least and the largest among them, are withheld. "
    f"Numbers are rounded up to two digits, and a share is told where at least {FEWEST} records lie beyond it on both "
    "sides: nearer to an end it would be the number of one of few."
)
NOT_ANONYMOUS = (
    "Withholding is not anonymising: counts, means and shares still depend on the records. Of two such pages whose "
    "records differ by a few, the difference is about these few: publish one."
)
CAPTION = (
    "The value that a share of the records does not exceed. –: withheld, because fewer than "
    f"{FEWEST} records lie beyond, or because a mean would give away a few."
)


def shares_summary(shares: CertificationShares, *, width: int = 110) -> str:
    """Return counts, means and shares as plain text, for a terminal of so many columns."""
    view = _view(shares)
    tables = [part for table in view.tables for part in (table.title, table, table.caption)]
    return printed([view.title, view.headline, *view.points, *tables], width)


def write_shares(shares: CertificationShares, directory: str | Path) -> tuple[Path, ...]:
    """Write ``certificates.json``, ``.html``, ``.md`` and ``.csv``; return their paths.

    They have the names of certificates with records, so that none of these is left beside them.

    Parameters
    ----------
    shares
        What is written.
    directory
        Created when it is missing; files of these names that lie there are replaced.
    """
    view = _view(shares)
    texts = {
        "certificates.json": shares.to_json(),
        "certificates.html": plain_html(view),
        "certificates.md": filled("plain.md.j2", view),
        "certificates.csv": _csv(shares),
    }
    return write_texts(directory, texts)


def _view(shares: CertificationShares) -> PlainView:
    what = "exact certificates" if words.is_exact(shares) else "certificates, which are upper bounds,"
    return map_text(
        PlainView(
            title=shares.title,
            headline=f"{counted(shares.n_records, 'record')}, each deleted alone: what the {what} say of many, at "
            f"δ = {nearest(shares.delta)}.",
            points=(*_points(shares), WITHHELD, NOT_ANONYMOUS),
            tables=(_measures(shares), *([_routes(shares)] if shares.routes else [])),
            assumptions=(
                *(
                    f"{words.route_name(shares, route)}: {facts.as_sentence(text)}"
                    for route, sentences in shares.assumptions.items()
                    for text in sentences
                ),
                *(f"{passage.heading} {passage.text}" for passage in words.LIMITS),
            ),
            parameters=facts.facts("Parameters", facts.parameter_rows(shares.parameters)),
            data=facts.data(shares.data),
            environment=facts.environment(shares.environment, shares.schema),
            command=None,
        ),
        plain,
    )


def _points(shares: CertificationShares) -> list[str]:
    found = []
    if shares.target_epsilon is not None:
        at = f"the target ε = {up(shares.target_epsilon)}"
        found.append(
            f"{shares.n_without_noise or 0:,} of {counted(shares.n_records, 'record')} meet {at} without any "
            f"unlearning noise; for {shares.n_not_served or 0:,} no noise that was tried meets it."
        )
    for measure in shares.measures:
        n = shares.n_records - measure.n_finite
        if n:
            what = "no noise suffices" if measure.measure == "sigma_unlearn" else f"there is no finite {_name(measure)}"
            found.append(f"For {n:,} of them {what}.")
    return found


def _name(measure: MeasureShares) -> str:
    return NAMES[measure.measure]


def _measures(shares: CertificationShares) -> TableView:
    return TableView(
        title="Over all records",
        caption=CAPTION,
        columns=("", "mean", *(f"{share:.0%}".replace("%", " %") for share in SHARES)),
        rows=tuple((_name(measure), *map(_cell, _numbers(measure))) for measure in shares.measures),
        numeric=(False, *(True,) * (1 + len(SHARES))),
    )


def _routes(shares: CertificationShares) -> TableView:
    return TableView(
        title="Routes compared",
        caption=f"Means, of routes by which at least {FEWEST} records were compared. Those of the record that asks for "
        "most, uniform and pool, are withheld.",
        columns=("route", "records", NAMES["sigma_unlearn"], "ε by route"),
        rows=tuple(
            (words.route_name(shares, row.route), f"{row.n_records:,}", _cell(row.sigma_unlearn), _cell(row.epsilon))
            for row in shares.routes
        ),
        numeric=(False, True, True, True),
    )


def _numbers(measure: MeasureShares) -> Sequence[float | None]:
    """Return the mean and each share, ``None`` where it is withheld."""
    found = {share.share: share.value for share in measure.shares}
    return (measure.mean, *(found.get(share) for share in SHARES))


def _cell(value: float | None) -> str:
    return NONE if value is None else up(value)


def _csv(shares: CertificationShares) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["number", "n_finite", "mean", *(f"share_{round(100 * share)}" for share in SHARES)])
    for measure in shares.measures:
        writer.writerow([measure.measure, measure.n_finite, *_numbers(measure)])
    for row in shares.routes:
        for name, mean in (("sigma_unlearn", row.sigma_unlearn), ("epsilon", row.epsilon)):
            writer.writerow([f"{name} by {row.route}", row.n_records, mean, *(None for _ in SHARES)])
    return buffer.getvalue()
