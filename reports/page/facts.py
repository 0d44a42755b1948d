"""Tables of facts and pictures of records, which pages of audits and of certificates share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from audit.records.evidence import Preview
from audit.records.ledger import DataRecord, Environment
from reports.page.numbers import as_float, nearest, up
from reports.page.parts import RecordView, TableView

GLOSSARY = {
    "penalty": "λ, ridge penalty",
    "n_learn": "T, learning steps",
    "n_unlearn": "K, unlearning steps",
    "sigma_learn": "σ₁, noise of a learning step",
    "sigma_unlearn": "σᵤ, noise of an unlearning step",
    "step_size": "η, step size",
    "hidden": "hidden units",
    "clip_norm": "C, largest gradient of one record",
    "n_probe": "held-out records in a release",
}
# Above this share of epsilon without unlearning a certificate says next to nothing of the unlearning.
HARDLY_BELOW = 0.9
MAX_FEATURES = 8
UNKNOWN = "not known to the audit"


def facts(title: str, rows: Iterable[tuple[str, str]]) -> TableView:
    """Return a table of names and values, without a heading."""
    return TableView(title=title, caption="", columns=("", ""), rows=tuple(rows), numeric=(False, False))


def data(record: DataRecord) -> TableView:
    """Return which data were audited or certified."""
    columns = (("features", size(record.n_features)), ("targets", size(record.n_targets)))
    rows = (
        ("name", record.name),
        ("kind", record.kind),
        ("records", size(record.n_records)),
        # Records that are no matrices have neither.
        *(() if record.kind == "records" else columns),
        ("SHA-256" if record.kind != "records" else "digest", record.sha256),
        *(("note", note) for note in record.notes),
    )
    return facts("Data", rows)


def environment(record: Environment, schema: str) -> TableView:
    """Return where it ran."""
    rows = (
        ("started", record.started),
        ("duration", f"{up(record.seconds)} s"),
        ("workers", str(record.n_jobs)),
        ("Python", record.python),
        ("platform", record.platform),
        *((("machine", record.machine),) if record.machine else ()),
        *((name, version) for name, version in sorted(record.libraries.items())),
        ("result schema", schema),
    )
    return facts("Environment", rows)


def parameter_rows(parameters: Mapping[str, int | float | str]) -> list[tuple[str, str]]:
    """Return each parameter with its meaning, and its value."""
    return [(_glossed(name), _cell(value)) for name, value in parameters.items()]


def as_sentence(text: str) -> str:
    """Return the text with a full stop at its end."""
    stripped = text.strip()
    return stripped if stripped.endswith((".", "!", "?")) else f"{stripped}."


def _cell(value: float | str) -> str:
    if isinstance(value, str):
        return value
    text = nearest(value)
    # A count of steps is printed in full; as_float tells whether rounding to nearest lost anything.
    return f"{int(value):,}" if float(value).is_integer() and as_float(text) != value else text


def _glossed(name: str) -> str:
    return f"{name} ({GLOSSARY[name]})" if name in GLOSSARY else name


def size(n: int | None) -> str:
    """Return a size of the data."""
    return UNKNOWN if n is None else f"{n:,}"


def record_view(preview: Preview, noun: str) -> RecordView:
    """Return how a record is shown to readers."""
    caption = f"{noun} {preview.record}, target {preview.target}"
    shape = preview.image_shape
    if shape is not None and len(preview.values) >= shape[0] * shape[1] > 0:
        alt = f"{caption}: an image of {shape[0]} by {shape[1]} pixels"
        return RecordView(
            caption=caption, alt=alt, shape=shape, values=preview.values[: shape[0] * shape[1]], features=None
        )
    leading = preview.values[:MAX_FEATURES]
    features = TableView(
        title=caption,
        caption="Leading feature values.",
        columns=("feature", "value"),
        rows=tuple((str(j), nearest(v)) for j, v in enumerate(leading)),
        numeric=(False, True),
    )
    return RecordView(caption=caption, alt=caption, shape=None, values=leading, features=features)
