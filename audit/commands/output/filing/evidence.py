"""``manifest.json``: the digest of every file that a command read and wrote, made last."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import stat
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from audit.commands.output.saying import say
from audit.errors import SchemaError
from audit.records.filing.manifest import NAME, FiledFile, Manifest
from mechanisms.errors import InvalidInputError
from mechanisms.protocol import Mechanism

Write = Callable[[Path, Mapping[str, str]], tuple[Path, ...]]
_AT_ONCE = 2**20
LARGEST = 2**26


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A file that was read: its bytes were counted before."""

    role: str
    sha256: str
    size: int


class Evidence:
    """What a command reads, noted before it is read; and the manifest, when all else is written.

    Parameters
    ----------
    out
        The folder of the results; without one nothing is noted.

    Raises
    ------
    InvalidInputError
        When another program's file has the name of the manifest there.
    """

    def __init__(self, out: Path | None) -> None:
        if out is not None:
            _refuse_others(out / NAME)
        self._out = out
        self._seen: dict[Path, Seen] = {}
        self._carried: dict[Path, Seen] = {}
        self._mechanism: Mechanism | None = None
        self._module = ""

    def read(self, role: str, path: Path) -> None:
        """Note a file, or all files in a folder, that will be read; what cannot be is for the reader to say."""
        if self._out is None:
            return
        # The folder of the results may lie in that of what is read.
        within = (p for p in sorted(path.rglob("*")) if not _settled(p).is_relative_to(_settled(self._out or p)))
        for file in within if path.is_dir() else (path,):
            found = digest_of(file)
            if found is not None:
                self._seen.setdefault(_settled(file), Seen(role=role, sha256=found[0], size=found[1]))

    def result(self, path: Path) -> None:
        """Note a stored result, and the manifest that lies beside it, by which its own sources are known."""
        self.read("result", path)
        beside = path.parent / NAME
        if self._out is None or not beside.is_file():
            return
        try:
            found = read_manifest(beside)
        except SchemaError:
            # Another program's file of that name.
            return
        mine = {_settled(path.parent / file.path): file for file in found.files}
        stored = mine.get(_settled(path))
        if _settled(path.parent) != _settled(self._out):
            self.read("manifest", beside)
        elif stored is not None and stored.sha256 == self._seen[_settled(path)].sha256:
            # This manifest will be replaced: what the result was made from stays known.
            self._carried = {
                place: Seen(role=file.role, sha256=file.sha256, size=file.size)
                for place, file in mine.items()
                if file.role != "output"
            }

    def mechanism(self, mechanism: Mechanism | None, named: str | None) -> None:
        """Note the imported files of a user's mechanism; those that are imported later are noted at the end."""
        self._mechanism, self._module = mechanism, (named or "").partition(":")[0]
        self._modules()

    def write(self, written: Sequence[Path], write: Write, *, redact: bool = False) -> tuple[Path, ...]:
        """Write the manifest of what was read and written; return its path.

        Parameters
        ----------
        written
            Files that the command wrote.
        write
            Writes texts by name into a folder.
        redact
            Leave out what was read: records are withheld, and the digest of a short file tells what is in it.

        Raises
        ------
        InvalidInputError
            When it cannot be written.
        """
        if self._out is None or not written:
            return ()
        self._modules()
        manifest = self._manifest(written, redact=redact)
        return write(self._out, {NAME: f"{manifest.to_json()}\n"})

    def _modules(self) -> None:
        from audit.trials.identity.of_runs import user_files
        from audit.trials.identity.user_files import paths_beside

        if self._out is None or self._mechanism is None:
            return
        for path in {*user_files(self._mechanism), *paths_beside([self._module]).values()}:
            self.read("module", path)

    def _manifest(self, written: Sequence[Path], *, redact: bool) -> Manifest:
        outputs = {_settled(path): found for path in written if (found := digest_of(path)) is not None}
        files = [self._filed(path, Seen(role="output", sha256=d, size=n)) for path, (d, n) in outputs.items()]
        read = {path: seen for path, seen in {**self._carried, **self._seen}.items() if path not in outputs}
        if redact:
            kept = [file for file in files if file.is_inside]
            return _made(kept, withheld=len(read) + len(files) - len(kept))
        for path, seen in read.items():
            now = digest_of(path)
            changed = path in self._seen and (now is None or now[0] != seen.sha256)
            if changed:
                say(f"Note: {path.name} ({seen.role}) was changed while this ran; {NAME} has it as it was read.")
            files.append(replace(self._filed(path, seen), changed=changed))
        return _made(files, withheld=0)

    def _filed(self, path: Path, seen: Seen) -> FiledFile:
        return FiledFile(path=_from(self._out or path.parent, path), role=seen.role, sha256=seen.sha256, size=seen.size)


def digest_of(path: Path) -> tuple[str, int] | None:
    """Return the SHA-256 and the size of an ordinary file; None for anything else, or what cannot be read."""
    digest, size = hashlib.sha256(), 0
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            # A pipe would wait for somebody to write.
            return None
        with path.open("rb") as file:
            while block := file.read(_AT_ONCE):
                digest.update(block)
                size += len(block)
    except (OSError, ValueError):
        return None
    return digest.hexdigest(), size


def read_manifest(path: Path) -> Manifest:
    """Return the manifest of a file.

    Raises
    ------
    SchemaError
        When it cannot be read, or is none.
    """
    try:
        if path.stat().st_size > LARGEST:
            raise SchemaError(f"Expected a manifest of at most {LARGEST:,} bytes, got {path} of more; check the path.")
        return Manifest.from_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        if isinstance(error, SchemaError):
            raise SchemaError(f"{path}: {error}") from None
        raise SchemaError(f"Expected a readable manifest, got {path} ({error}); check the path.") from None


def _made(files: Iterable[FiledFile], *, withheld: int) -> Manifest:
    return Manifest(
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        made_by=f"unlearn-audit {importlib.metadata.version('unlearn-audit')}",
        files=tuple(sorted(files, key=lambda file: (file.role != "output", file.role, file.path))),
        withheld=withheld,
    )


def _refuse_others(target: Path) -> None:
    if not target.exists():
        return
    try:
        read_manifest(target)
    except SchemaError:
        raise InvalidInputError(
            field=NAME,
            expected="a manifest of this project, or none",
            got=f"{target}, another file of that name",
            fix="choose another folder for --out",
        ) from None


def _settled(path: Path) -> Path:
    return Path(os.path.realpath(path))


def _from(folder: Path, path: Path) -> str:
    try:
        return Path(os.path.relpath(path, _settled(folder))).as_posix()
    except ValueError:
        # Of another drive.
        return path.as_posix()
