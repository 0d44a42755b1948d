"""Which run a stored chunk belongs to: everything that its trials depend on, as plain data with readable differences.

In the flow: :mod:`audit.trials.store` holds a run's identity beside its chunks and refuses those of another run.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from audit.plan.audit_plan import AuditPlan
from audit.trials.identity.described import described
from audit.trials.identity.user_files import files_beside, packages_digest, paths_beside
from mechanisms.dataset import Dataset
from mechanisms.protocol import Mechanism
from mechanisms.reading.records import RecordSet

Identity = dict[str, Any]
_MOST_DIFFERENCES = 4
_LONGEST = 60
_DIGEST = re.compile(r"[0-9a-f]{64}")


def identity_of(mechanism: Mechanism, data: RecordSet, plan: AuditPlan, *, data_sha256: str) -> Identity:
    """Return what the trials of a run depend on.

    Parameters
    ----------
    mechanism, data, plan
        As for :func:`audit.running.runner.run`.
    data_sha256
        Digest of the data before any code of the user ran.

    Returns
    -------
    dict
        The plan (chunk size included), and what :func:`identity_with` adds.
    """
    # How long a trial may take changes none that is drawn, and is found out when one hangs.
    plan = replace(plan, trial_timeout=None)
    return identity_with(mechanism, data, data_sha256=data_sha256, plan=plan)


def identity_with(mechanism: Mechanism, data: RecordSet, *, data_sha256: str, **given: object) -> Identity:
    """Return what a computation depends on: what it was given by name, the data, the mechanism, and the code of all."""
    found = described(mechanism)
    identity: Identity = {
        **{name: described(value) for name, value in given.items()},
        "data": {
            "name": data.name,
            "kind": data.kind if isinstance(data, Dataset) else type(data).__name__,
            "records": len(data),
            "sha256": data_sha256,
        },
        "mechanism": found,
    }
    identity["code"] = files_beside(set(_modules([found, *(identity[name] for name in given)])))
    identity["unlearn-audit"] = packages_digest()
    return identity


def user_files(mechanism: Mechanism) -> tuple[Path, ...]:
    """Return the imported files of the user's in the folders of a mechanism's modules."""
    return tuple(paths_beside(set(_modules([described(mechanism)]))).values())


def digest_of(identity: Identity) -> str:
    """Return the SHA-256 of an identity."""
    return hashlib.sha256(canonical(identity).encode()).hexdigest()


def canonical(identity: Identity) -> str:
    """Return the one JSON text of an identity."""
    return json.dumps(identity, sort_keys=True, ensure_ascii=False)


def differences(stored: Identity, now: Identity) -> str:
    """Return which fields differ between the identity of a store and that of this run, in words."""
    found = list(_differing(stored, json.loads(canonical(now)), ""))
    more = f"; and {len(found) - _MOST_DIFFERENCES} more" if len(found) > _MOST_DIFFERENCES else ""
    return "; ".join(found[:_MOST_DIFFERENCES]) + more


_MISSING = object()


def _differing(stored: Any, now: Any, where: str) -> Iterator[str]:
    if isinstance(stored, dict) and isinstance(now, dict):
        for key in sorted({*stored, *now}):
            inside = f"{where}.{key}" if where else key
            yield from _differing(stored.get(key, _MISSING), now.get(key, _MISSING), inside)
    elif isinstance(stored, list) and isinstance(now, list) and len(stored) == len(now):
        for i, (first, second) in enumerate(zip(stored, now, strict=True)):
            yield from _differing(first, second, f"{where}[{i}]")
    elif stored != now:
        yield _difference(stored, now, where)


def _difference(stored: Any, now: Any, where: str) -> str:
    if isinstance(stored, str) and isinstance(now, str) and _DIGEST.fullmatch(stored) and _DIGEST.fullmatch(now):
        return f"{where}: changed since"
    return f"{where}: stored {_shown(stored)}, now {_shown(now)}"


def _shown(value: Any) -> str:
    if value is _MISSING:
        return "nothing"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _modules(plain: Any) -> Iterator[str]:
    """Yield what may be names of modules: all that leads to a dotted name of a class or a function."""
    if isinstance(plain, str):
        parts = plain.split(".")
        if all(part.isidentifier() or part == "<locals>" or part == "<lambda>" for part in parts):
            yield from (".".join(parts[:i]) for i in range(1, len(parts)))
    else:
        inside: Iterable[Any] = plain.values() if isinstance(plain, dict) else plain if isinstance(plain, list) else ()
        for item in inside:
            yield from _modules(item)
