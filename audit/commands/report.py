"""What commands write: reports in a folder, a JUnit file, a table in the terminal. Also ``unlearn-audit report``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from audit.commands.output.filing.case_file import case_option, filed_case
from audit.commands.output.saying import say, say_result
from audit.commands.output.writable import display
from audit.errors import ExitCode, SchemaError, TrialError
from mechanisms.errors import InvalidInputError, UnlearnAuditError, printable

if TYPE_CHECKING:
    from audit.commands.output.filing.evidence import Evidence
    from audit.lots.result import LotsResult
    from audit.records.filing.case import Case
    from audit.records.models import ModelsResult
    from audit.records.result import AuditCollection, AuditResult
    from audit.running.shared_noise import SameRandomness

junit_option = click.option(
    "--junit",
    type=click.Path(path_type=Path, dir_okay=False),
    default=None,
    help="Also write JUnit XML here: refuted is a failure, a crash an error, inconclusive skipped.",
)
redact_option = click.option(
    "--redact",
    is_flag=True,
    help="Withhold which records were deleted and every epsilon of a single record; averages stay.",
)
show_records_option = click.option(
    "--show-records",
    is_flag=True,
    help="Show how records look: images or leading feature values, which are left out of every file otherwise.",
)


@click.command()
@click.argument("results", nargs=-1, required=True, type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("out/report"),
    show_default=True,
    help="Folder for the page as HTML, Markdown and JSON, and its numbers as CSV.",
)
@junit_option
@redact_option
@show_records_option
@case_option
@click.option("--details", is_flag=True, help="Print all numbers of each finding, also where there are more than 20.")
def report(
    results: tuple[Path, ...],
    out: Path,
    junit: Path | None,
    redact: bool,
    show_records: bool,
    case_file: Path | None,
    details: bool,
) -> int:
    """Render stored results (JSON) again: audits, several on one page, each a family of its own; or one of deletions by
    lot; or certificates.
    """
    import reports
    from audit.commands.output.certificates import SCHEMAS, write_again
    from audit.commands.output.filing.evidence import Evidence
    from audit.lots.result import LOTS_SCHEMA
    from audit.records.json_text import schema_of
    from audit.records.models import MODELS_SCHEMA

    evidence = Evidence(out)
    case = filed_case(case_file, evidence)
    for path in results:
        evidence.result(path)
    texts = {path: _read(path) for path in results}
    certified = [path for path, text in texts.items() if schema_of(text) in SCHEMAS]
    by_lot = [path for path, text in texts.items() if schema_of(text) == LOTS_SCHEMA]
    of_models = [path for path, text in texts.items() if schema_of(text) == MODELS_SCHEMA]
    if of_models:
        _check_single(of_models[0], len(results))
        written = _write_models(texts[of_models[0]], out, junit, redact, case)
    elif certified:
        _check_alone(certified[0], len(results), {"--junit": junit, "--case": case})
        written = write_again(texts[certified[0]], out, redact=redact)
    elif by_lot:
        _check_one_lot(by_lot[0], len(results))
        written = _write_lots(by_lot[0], texts[by_lot[0]], out, junit, redact, case)
    else:
        loaded = [_loaded(path, text) for path, text in texts.items()]
        value = reports.joined(loaded[0] if len(loaded) == 1 else loaded)
        value = value if case is None else replace(value, case=case)
        written = reports.write(value, out, redact=redact, details=details or None, show_records=show_records)
        if junit is not None:
            written = (*written, reports.write_junit(reports.redact(value) if redact else value, junit))
    written += filed(evidence, written, redact=redact)
    for path in written:
        click.echo(printable(str(path)))
    return ExitCode.OK


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise SchemaError(f"Expected a readable result file, got {path} ({error}); check the path.") from None


def _loaded(path: Path, text: str) -> AuditResult | AuditCollection:
    from audit.running.stored import load_json

    try:
        return load_json(text)
    except SchemaError as error:
        raise SchemaError(f"{path}: {error}") from None


def _check_alone(path: Path, n_files: int, options: Mapping[str, object]) -> None:
    """Certificates have a page of their own, and no verdicts."""
    given = [name for name, value in options.items() if value]
    if n_files > 1 or given:
        option = f"{n_files} files" if n_files > 1 else given[0]
        raise InvalidInputError(
            field="certificates",
            expected=f"rendered alone, without {', '.join(options)}",
            got=f"{path} and {option}",
            fix="render the file by itself",
        )


def _check_one_lot(path: Path, n_files: int) -> None:
    if n_files > 1:
        raise InvalidInputError(
            field="results",
            expected="an audit by lot rendered alone",
            got=f"{path} and {n_files - 1} more",
            fix="render each by itself",
        )


def _write_lots(
    path: Path, text: str, out: Path, junit: Path | None, redact: bool, case: Case | None
) -> tuple[Path, ...]:
    import reports
    from audit.lots.result import LotsResult
    from reports.lots.writing import render
    from reports.writing import write_texts

    try:
        result = LotsResult.from_json(text)
    except SchemaError as error:
        raise SchemaError(f"{path}: {error}") from None
    result = result if case is None else replace(result, case=case)
    result = reports.redact_lots(result) if redact else result
    written = reports.write_lots(result, out)
    return written if junit is None else (*written, *write_texts(junit.parent, {junit.name: render(result, "junit")}))


def _check_single(path: Path, n_files: int) -> None:
    """Audits of existing models have a page of their own."""
    if n_files > 1:
        raise InvalidInputError(
            field="results",
            expected="one file, for an audit of existing models",
            got=f"{path} and {n_files - 1} more",
            fix="render the file by itself",
        )


def _write_models(text: str, out: Path, junit: Path | None, redact: bool, case: Case | None) -> tuple[Path, ...]:
    from audit.records.models import ModelsResult
    from reports.models.writing import redact_models, write_junit_models, write_models

    result = ModelsResult.from_json(text)
    result = result if case is None else replace(result, case=case)
    result = redact_models(result) if redact else result
    written = write_models(result, out)
    return written if junit is None else (*written, *write_junit_models(result, junit))


def publish(
    result: AuditResult | AuditCollection,
    out: Path | None,
    as_json: bool,
    *,
    junit: Path | None = None,
    redact: bool = False,
    show_records: bool = False,
    evidence: Evidence | None = None,
) -> None:
    """Write the report files, JSON first and the manifest last, then print JSON or the short table.

    All of them withhold the same.

    Nothing here raises: the verdict is known, and what could not be written or printed is said and does not change it.
    """
    import reports

    result = reports.redact(result) if redact else result
    result = result if show_records else reports.without_values(result)
    written = _kept(result, out, junit)
    written += filed(evidence, written, redact=redact)
    if as_json:
        say_result(result.to_json(), is_json=True)
    else:
        from reports.audits.terminal import summary

        try:
            say_result(summary(result))
        except Exception as error:
            _say_failure("the table", error)
    for path in written:
        say(display(path))


def _kept(result: AuditResult | AuditCollection, out: Path | None, junit: Path | None) -> tuple[Path, ...]:
    """Write what can be written, and say what cannot; return the paths."""
    import reports
    from reports.writing import write_each

    written, failed = ((), {}) if out is None else write_each(result, out)
    if junit is not None:
        try:
            written += (reports.write_junit(result, junit),)
        except Exception as error:
            failed[junit.name] = error
    for name, failure in failed.items():
        _say_failure(name, failure)
    return written


def filed(evidence: Evidence | None, written: tuple[Path, ...], *, redact: bool) -> tuple[Path, ...]:
    """Write the manifest of a command, or say that it could not be; return its path."""
    from reports.writing import write_texts

    try:
        return () if evidence is None else evidence.write(written, write_texts, redact=redact)
    except Exception as error:
        _say_failure("manifest.json", error)
        return ()


def _say_failure(name: str, error: Exception) -> None:
    stale = "; a file of that name that lies there is older" if "." in name else ""
    said = str(error) if isinstance(error, UnlearnAuditError) else f"{type(error).__name__}: {error}"
    say(f"Error: {name} was not written{stale}. The verdict stands. {said}")


def exit_code(
    result: AuditResult | LotsResult | ModelsResult | SameRandomness, *, allow_inconclusive: bool
) -> ExitCode:
    """Return the exit code of a result."""
    from audit.records.verdict import Verdict

    if result.verdict is Verdict.REFUTED:
        return ExitCode.REFUTED
    if result.verdict is Verdict.INCONCLUSIVE and not allow_inconclusive:
        return ExitCode.INCONCLUSIVE
    return ExitCode.OK


@contextmanager
def crash_recorded(junit: Path | None, title: str, *, redact: bool = False) -> Iterator[None]:
    """Leave a JUnit file with one error when a mechanism crashes, so that a build server sees more than no file."""
    try:
        yield
    except Exception as error:
        is_usage = isinstance(error, UnlearnAuditError) and not isinstance(error, TrialError)
        if not is_usage:
            record_crash(junit, title, f"{type(error).__name__}: {error}", redact=redact)
        raise


def record_crash(junit: Path | None, title: str, message: str, *, redact: bool) -> None:
    """Write the JUnit file of an audit that did not end: one error with a message, which may name a record."""
    if junit is None:
        return
    from reports.audits.junit import render_crash
    from reports.writing import write_texts

    text = render_crash("audit" if redact else title, "withheld" if redact else message)
    try:
        write_texts(junit.parent, {junit.name: text})
    except Exception as failure:
        # What ended the audit is what the user has to read.
        say(f"Error: {junit.name} was not written. {failure}")
