"""Experiments in folders: prepared before anything is trained, verified once the scores are there.

In the flow: :func:`prepare` draws coins and writes ``service/`` (what to train on, what to ask to delete), ``scoring/``
(the pool alone) and ``auditor/`` (coins and salt). :func:`opened` reads them again, and believes nothing that does not
agree with what was committed to.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from audit.lots.coins import commitment, draw_coins
from audit.lots.files.manifest import DRAWN, NAME, NEVER_GIVEN, TASKS, Manifest, Role, read_manifest, same_experiment
from audit.lots.files.pools import PoolFile, read_pool
from audit.lots.result import DrawKind
from audit.lots.statistics.subsets import Draw
from audit.records import json_text
from mechanisms.errors import InvalidInputError, require

Flags = NDArray[np.bool_]

COINS = "coins.json"
CANDIDATES = "candidates.txt"
_CHANGED = "use the folder as it was prepared; coins are never drawn again for scores that are there"


@dataclass(frozen=True, kw_only=True, eq=False)
class Opened:
    """A prepared experiment that agrees with its commitment."""

    manifest: Manifest
    coins: Flags
    candidates: tuple[str, ...]
    covariates: dict[str, NDArray[np.float64]]


def prepare(pool: Path, out: Path, *, runs: int = 1, draw: DrawKind = "fair", k: int | None = None) -> Manifest:
    """Draw coins for the candidates of a file and write the three folders; return what they say of themselves.

    Parameters
    ----------
    pool
        The candidates; their order must not tell which will be drawn, and pairs are neighbours.
    out
        A folder that is missing or empty.
    runs
        Models that will be trained, each with coins of its own.
    draw, k
        "fair", "paired", "exactly_k" with k, or "one".

    Raises
    ------
    InvalidInputError
        For a pool that cannot be read or is too small, and a folder that holds something.
    """
    candidates = read_pool(pool)
    m = len(candidates.rows)
    fresh = not out.exists() or (out.is_dir() and not any(out.iterdir()))
    fix = "choose another folder: coins that were published are not drawn again"
    require(fresh, "--out", expected="a folder that is missing or empty", got=str(out), fix=fix)
    k = 1 if draw == "one" else k
    _check_draw(draw, m, k)
    pairs = np.arange(m).reshape(-1, 2) if draw == "paired" else None
    # Nobody can guess where these came from, the auditor included.
    rng = np.random.Generator(np.random.SFC64(np.random.SeedSequence(secrets.randbits(256))))
    kind: Draw = "exactly_k" if draw == "one" else draw
    coins = draw_coins(kind, candidates=m, runs=runs, rng=rng, pairs=pairs, k=k)
    salt = secrets.token_bytes(32)
    manifest = Manifest(
        role="service",
        task="",
        draw=draw,
        candidates=m,
        runs=runs,
        drawn=DRAWN,
        others=NEVER_GIVEN,
        pool=f"pool{candidates.kind}",
        pool_sha256=candidates.sha256,
        commitment=commitment(coins, salt),
        salt_sha256=hashlib.sha256(salt).hexdigest(),
        k=k,
        pairs=None if pairs is None else tuple((int(a), int(b)) for a, b in pairs),
    )
    _write(out, candidates, manifest, coins, salt)
    return manifest


def opened(folder: Path) -> Opened:
    """Return the coins of a prepared experiment, after holding everything that is there to the commitment.

    Raises
    ------
    InvalidInputError
        Naming what was changed: coins, salt, a row of the pool, the list of candidates, a manifest, or what the service
        was given.
    """
    manifest, scoring = read_manifest(folder, "auditor"), read_manifest(folder, "scoring")
    same_experiment(manifest, scoring)
    coins, salt = _read_coins(folder / "auditor" / COINS, manifest)
    _check_commitment(manifest, coins, salt)
    pool = read_pool(folder / "scoring" / manifest.pool)
    _check_pool(pool, manifest)
    names = _read_names(folder / "scoring" / CANDIDATES, manifest)
    if (folder / "service").exists():
        # It may have gone to whoever trains.
        same_experiment(manifest, read_manifest(folder, "service"))
        _check_service(folder / "service", pool, coins)
    return Opened(manifest=manifest, coins=coins, candidates=names, covariates=pool.covariates())


def names_of(candidates: int) -> tuple[str, ...]:
    """Return the names of candidates, in the order of the pool: c001, c002, ..."""
    width = len(str(candidates))
    return tuple(f"c{i + 1:0{width}d}" for i in range(candidates))


def _check_draw(draw: DrawKind, m: int, k: int | None) -> None:
    if draw == "paired":
        require(m % 2 == 0, "pool", expected="an even number of candidates for pairs", got=m, fix="leave one out")
    if draw == "exactly_k":
        fix = "say how many are drawn, with --k"
        require(k is not None and 1 <= k < m, "--k", expected=f"in [1, {m - 1}]", got=k, fix=fix)
    elif draw != "one":
        require(k is None, "--k", expected='given for "exactly_k" alone', got=k, fix="leave it out")


def _write(out: Path, pool: PoolFile, manifest: Manifest, coins: Flags, salt: bytes) -> None:
    files: dict[Path, bytes] = {}
    for role in ("service", "scoring", "auditor"):
        rows = pool.digests() if role == "auditor" else ()
        told = replace(manifest, role=role, task=TASKS[role], rows=rows)
        files[out / role / NAME] = f"{json_text.dump(told)}\n".encode()
    for j, row in enumerate(coins):
        part = pool.part(np.flatnonzero(row).tolist())
        for what in ("insert", "delete"):
            files[out / "service" / f"run_{j + 1}" / f"{what}{pool.kind}"] = part
    files[out / "scoring" / manifest.pool] = pool.raw
    files[out / "scoring" / CANDIDATES] = "".join(f"{name}\n" for name in names_of(manifest.candidates)).encode()
    secret = {"coins": ["".join("01"[int(c)] for c in row) for row in coins], "salt": salt.hex()}
    files[out / "auditor" / COINS] = (json.dumps(secret, indent=1) + "\n").encode()
    try:
        for path, content in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        (out / "auditor").chmod(0o700)
    except OSError as error:
        raise InvalidInputError(
            field="--out", expected="a place that can be written", got=str(error), fix="choose another one"
        ) from None


def _read_coins(path: Path, manifest: Manifest) -> tuple[Flags, bytes]:
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        rows, salt = list(map(str, stored["coins"])), bytes.fromhex(stored["salt"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InvalidInputError(
            field=str(path), expected="the coins and the salt that were prepared", got=str(error), fix=_CHANGED
        ) from None
    shaped = len(rows) == manifest.runs and all(len(row) == manifest.candidates for row in rows)
    plain = shaped and all(set(row) <= {"0", "1"} for row in rows)
    wanted = f"{manifest.runs} lines of {manifest.candidates} digits 0 or 1"
    require(plain, f"{path}: coins", expected=wanted, got=f"{len(rows)} lines", fix=_CHANGED)
    return np.asarray([[c == "1" for c in row] for row in rows]), salt


def _check_commitment(manifest: Manifest, coins: Flags, salt: bytes) -> None:
    same_salt = hashlib.sha256(salt).hexdigest() == manifest.salt_sha256
    wanted = "that of the commitment"
    require(same_salt, f"auditor/{COINS}: salt", expected=wanted, got=f"{salt.hex()[:16]}...", fix=_CHANGED)
    found = commitment(coins, salt)
    same = found == manifest.commitment
    require(
        same,
        f"auditor/{COINS}: coins",
        expected=f"those that were committed to ({manifest.commitment[:16]}...)",
        got=f"coins of {found[:16]}...",
        fix=_CHANGED,
    )


def _check_pool(pool: PoolFile, manifest: Manifest) -> None:
    digests = pool.digests()
    n = len(digests)
    field = f"scoring/{manifest.pool}"
    require(n == manifest.candidates, field, expected=f"{manifest.candidates} candidates", got=n, fix=_CHANGED)
    changed = [i + 1 for i, (mine, known) in enumerate(zip(digests, manifest.rows, strict=False)) if mine != known]
    rows = f"row {', '.join(map(str, changed[:5]))}"
    require(not changed, f"{field} {rows}", expected="as it was prepared", got="another record", fix=_CHANGED)
    same = pool.sha256 == manifest.pool_sha256
    require(same, field, expected="the file that was prepared", got="another one", fix=_CHANGED)


def _read_names(path: Path, manifest: Manifest) -> tuple[str, ...]:
    try:
        names = tuple(path.read_text(encoding="utf-8").split())
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInputError(field=str(path), expected="a readable file", got=str(error), fix=_CHANGED) from None
    same = names == names_of(manifest.candidates)
    require(same, str(path), expected="the names in the order of the pool", got=names[:5], fix=_CHANGED)
    return names


def _check_service(folder: Path, pool: PoolFile, coins: Flags) -> None:
    for j, row in enumerate(coins):
        part = pool.part(np.flatnonzero(row).tolist())
        for what in ("insert", "delete"):
            path = folder / f"run_{j + 1}" / f"{what}{pool.kind}"
            same = path.is_file() and path.read_bytes() == part
            require(
                same,
                f"service/run_{j + 1}/{path.name}",
                expected="the candidates that the coins drew",
                got="other ones" if path.is_file() else "no file",
                fix="train on what was prepared, or say nothing of this run",
            )


__all__ = ["Opened", "Role", "names_of", "opened", "prepare"]
