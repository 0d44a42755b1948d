"""What ``certify``, ``calibrate`` and ``report`` write of certificates, with records or without."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from audit.certificates.certification import CERTIFICATION_SCHEMA, Certification
from audit.certificates.shares import SHARES_SCHEMA, CertificationShares, without_records
from audit.certificates.stream_rows import STREAM_SCHEMA, StreamCertification
from audit.commands.output.saying import say, say_result
from audit.commands.output.writable import CERTIFICATES_STORE, display
from audit.errors import ExitCode
from audit.records.json_text import schema_of

if TYPE_CHECKING:
    from collections.abc import Callable

SCHEMAS = (CERTIFICATION_SCHEMA, SHARES_SCHEMA, STREAM_SCHEMA)
# Of every record a line; what is withheld has no such file, which would be left beside it.
ROUTES = "routes.csv"


def publish_certificates(certification: Certification, out: Path | None, as_json: bool, *, redact: bool) -> ExitCode:
    """Write certificates, print them, and delete what names records that are to be withheld; return the exit code."""
    from reports.certificates.shares import shares_summary
    from reports.certificates.writing import certification_summary

    shown = without_records(certification) if redact else certification
    code = ExitCode.OK
    written: tuple[Path, ...] = ()
    try:
        written = () if out is None else _write(shown, out)
        if redact and out is not None:
            # Only now: what could not be written is read from there again.
            delete_private(out / CERTIFICATES_STORE)
    except Exception as error:
        # Certificates have no verdict to keep, and what was computed is printed all the same.
        say(f"Error: {error}")
        code = ExitCode.INTERNAL
    if as_json:
        text = shown.to_json()
    else:
        text = certification_summary(shown) if isinstance(shown, Certification) else shares_summary(shown)
    if not say_result(text, is_json=as_json):
        code = ExitCode.INTERNAL
    for path in written:
        say(display(path))
    return code


def write_again(text: str, out: Path, *, redact: bool) -> tuple[Path, ...]:
    """Write the files of stored certificates anew; what is withheld already stays so."""
    kinds: dict[str, Callable[[str], Certification | CertificationShares | StreamCertification]] = {
        CERTIFICATION_SCHEMA: Certification.from_json,
        SHARES_SCHEMA: CertificationShares.from_json,
        STREAM_SCHEMA: StreamCertification.from_json,
    }
    stored = kinds[schema_of(text)](text)
    if redact and not isinstance(stored, CertificationShares):
        stored = without_records(stored) if isinstance(stored, Certification) else stored.without_records()
    return _write(stored, out)


def delete_private(store: Path) -> None:
    """Delete the store of certificates whose records are withheld."""
    if store.is_dir():
        shutil.rmtree(store)
        say("The store is deleted: it names the records that --redact withholds.")


def _write(value: Certification | CertificationShares | StreamCertification, out: Path) -> tuple[Path, ...]:
    from reports.certificates.shares import write_shares
    from reports.certificates.streams import write_stream_certification
    from reports.certificates.writing import write_certification

    if isinstance(value, StreamCertification):
        return write_stream_certification(value, out)
    if isinstance(value, Certification):
        return write_certification(value, out)
    written = write_shares(value, out)
    if (out / ROUTES).is_file():
        (out / ROUTES).unlink()
        say(f"{ROUTES} is deleted: it names the records that --redact withholds.")
    return written
