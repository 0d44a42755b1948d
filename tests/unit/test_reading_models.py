"""Files of models' outputs in the layouts of others: read as they mean it, or refused by file name."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import audit
from audit.models.outputs import Outputs
from mechanisms import Claim, EpsilonDelta
from mechanisms.errors import InvalidInputError
from tests.unit import model_files as written

CLAIM = Claim(guarantee=EpsilonDelta(epsilon=1.0, delta=1e-5))


def statistic(models: audit.StoredModels, side: str = "outputs") -> np.ndarray:
    return Outputs.of(getattr(models, side), models.kind or "logits", models.labels, side).matrix()


def own_odds(outputs: np.ndarray) -> np.ndarray:
    """Return log odds of each record's class, by the formula that LiRA's score.py computes."""
    odds = np.empty(outputs.shape[:2])
    for record, own in enumerate(written.classes()):
        p = np.exp(outputs[:, record].astype(np.float64))
        p /= p.sum(axis=1, keepdims=True)
        odds[:, record] = np.log(p[:, own]) - np.log(np.delete(p, own, axis=1).sum(axis=1))
    return odds


def test_lira(tmp_path: Path) -> None:
    models = audit.read_models(written.write_lira(tmp_path))
    status, _ = written.drawn()
    assert np.array_equal(models.status, status)
    # The last epoch, all augmentations, in the order of the experiments' numbers and not of their names.
    found = statistic(models).reshape(written.MODELS, written.RECORDS, 2)
    np.testing.assert_allclose(found[:, :, 0], own_odds(written.logits(1)), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found[:, :, 1], own_odds(written.logits(2)), rtol=1e-5, atol=1e-6)
    assert models.audit(claim=CLAIM).design == "claim_per_record"


def test_privacy_meter(tmp_path: Path) -> None:
    models = audit.read_models(written.write_privacy_meter(tmp_path))
    np.testing.assert_allclose(statistic(models), own_odds(written.logits()), rtol=1e-4, atol=1e-5)
    assert models.audit(claim=CLAIM).n_records == written.RECORDS


def test_margins_of_easydub(tmp_path: Path) -> None:
    models = audit.read_models(written.write_margins(tmp_path))
    expected = np.random.default_rng(3).standard_normal((2, 32, written.RECORDS)).astype(np.float32)
    assert np.array_equal(statistic(models, "unlearned"), expected[0])
    assert np.array_equal(statistic(models, "retrained"), expected[1])
    assert models.audit(claim=CLAIM).design == "one_deletion"


@pytest.mark.parametrize("suffix", ["npy", "csv"])
def test_two_files(tmp_path: Path, suffix: str) -> None:
    models = audit.read_models(written.write_pair(tmp_path, suffix))
    result = models.audit(claim=CLAIM, kind="logits")
    assert result.n_unlearned == 32
    assert result.records is not None
    assert result.records.names[3] == "person 3"
    expected = own_odds(written.logits()[:32]) if suffix == "npy" else written.logits()[:32, :, 0]
    np.testing.assert_allclose(statistic(models, "unlearned"), expected, rtol=1e-4, atol=1e-5)


def test_two_arrays_in_one_file(tmp_path: Path) -> None:
    models = audit.read_models(written.write_archive(tmp_path))
    assert np.array_equal(models.unlearned, written.logits()[:32])
    assert np.array_equal(models.labels, written.classes())


def test_parquet(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="tables in .parquet are read by pyarrow, which is not installed")
    from pyarrow import parquet

    for name in ("unlearned", "retrained"):
        rows = written.logits()[:32, :, 0]
        parquet.write_table(
            pyarrow.table({f"r{j}": rows[:, j] for j in range(rows.shape[1])}), tmp_path / f"{name}.parquet"
        )
    assert np.array_equal(statistic(audit.read_models(tmp_path), "unlearned"), written.logits()[:32, :, 0])


def test_parquet_without_pyarrow_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    for name in ("unlearned", "retrained"):
        (tmp_path / f"{name}.parquet").write_bytes(b"PAR1")
    with pytest.raises(InvalidInputError, match=r"unlearned\.parquet.*pip install pyarrow"):
        audit.read_models(tmp_path)


def test_outputs_with_a_status(tmp_path: Path) -> None:
    models = audit.read_models(written.write_matrix(tmp_path))
    assert isinstance(models.outputs.base, np.memmap) or isinstance(models.outputs, np.memmap)
    expected = own_odds(written.logits().astype(np.float16).astype(np.float32))
    np.testing.assert_allclose(statistic(models), expected, rtol=1e-4, atol=1e-5)
    assert models.audit(claim=CLAIM).design == "claim_per_record"


def test_a_file_a_model(tmp_path: Path) -> None:
    models = audit.read_models(written.write_table(tmp_path))
    _, unlearns = written.drawn()
    np.testing.assert_allclose(
        statistic(models, "unlearned"), own_odds(written.logits()[unlearns]), rtol=1e-5, atol=1e-6
    )
    np.testing.assert_allclose(
        statistic(models, "retrained"), own_odds(written.logits()[~unlearns]), rtol=1e-5, atol=1e-6
    )
    assert models.seeds[0][0] == "1001"
    assert models.audit(claim=CLAIM).design == "one_deletion"


def test_a_file_a_model_with_a_status(tmp_path: Path) -> None:
    models = audit.read_models(written.write_table(tmp_path, with_status=True))
    assert np.array_equal(models.kinds, written.drawn()[1])
    assert models.audit(claim=CLAIM).design == "claim_per_record"


def replace(path: Path, array: np.ndarray) -> None:
    path.unlink(missing_ok=True)
    np.save(path, array)


def retyped(path: Path, dtype: type) -> None:
    replace(path, np.load(path).astype(dtype))


def turned(path: Path) -> None:
    replace(path, np.load(path).T)


def pickled(path: Path) -> None:
    path.unlink()
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)


def edited(path: Path, old: str, new: str) -> None:
    path.write_text(path.read_text().replace(old, new))


E7 = f"experiment-7_{written.MODELS}"
WRITERS: dict[str, Callable[[Path], Path]] = {
    "lira": written.write_lira,
    "meter": written.write_privacy_meter,
    "margins": written.write_margins,
    "pair": written.write_pair,
    "matrix": written.write_matrix,
    "table": written.write_table,
    "table+": lambda path: written.write_table(path, with_status=True),
}
OF_ORACLE = "oracle/forget_2/forget/resnet9"


@pytest.mark.parametrize(
    ("layout", "spoil", "names"),
    [
        # One model missing.
        ("lira", lambda p: (p / E7).rename(p / "elsewhere"), rf"{E7} to be a folder"),
        ("lira", lambda p: (p / E7 / "keep.npy").unlink(), rf"{E7}/keep.npy"),
        ("lira", lambda p: [f.unlink() for f in (p / E7 / "logits").iterdir()], rf"{E7}/logits"),
        (
            "meter",
            lambda p: turned_rows(p / "signals" / "rmia_signals.npy"),
            r"rmia_signals.npy to be shape \(12, 64\)",
        ),
        ("meter", lambda p: edited(p / "models" / "models_metadata.json", '"5":', '"4":'), "models_metadata.json"),
        ("margins", lambda p: (p / OF_ORACLE / "id_9_epoch_23.npy").unlink(), r"oracle.*id_9_epoch_23.npy"),
        ("table", lambda p: (p / "000009.npy").unlink(), r"000009.npy"),
        (
            "table",
            lambda p: edited(p / "models.csv", "digest\n", "digest\n../secret,reference,1,99\n"),
            r"models.csv.*ids of letters",
        ),
        ("table", lambda p: np.save(p / "000099.npy", np.zeros((12, 4))), r"000099.npy to be a model of models.csv"),
        ("pair", lambda p: (p / "retrained.npy").unlink(), r"retrained.npy"),
        # Transposed.
        ("lira", lambda p: turned(p / E7 / "logits" / f"{100:010d}.npy"), rf"{E7}/logits/0000000100.npy"),
        ("meter", lambda p: turned(p / "signals" / "rmia_signals.npy"), r"rmia_signals.npy.*transposed"),
        ("matrix", lambda p: turned(p / "status.npy"), r"status.npy.*transposed"),
        (
            "matrix",
            lambda p: replace(p / "outputs.npy", np.swapaxes(written.logits(), 1, 2)),
            r"outputs.npy.*transposed",
        ),
        ("pair", lambda p: replace(p / "retrained.npy", written.logits().T), r"retrained.npy"),
        (
            "margins",
            lambda p: replace(p / OF_ORACLE / "id_3_epoch_23.npy", np.zeros((12, 1), np.float32)),
            r"id_3_epoch_23",
        ),
        ("table+", lambda p: turned(p / "000004.npy"), r"000004.npy"),
        # Wrong type.
        ("lira", lambda p: retyped(p / E7 / "keep.npy", np.int8), rf"{E7}/keep.npy.*True and False"),
        (
            "lira",
            lambda p: retyped(p / E7 / "logits" / f"{100:010d}.npy", np.float64),
            rf"{E7}/logits/0000000100.npy.*float32",
        ),
        ("lira", lambda p: retyped(p / "y_train.npy", np.float32), r"y_train.npy"),
        ("meter", lambda p: retyped(p / "models" / "memberships.npy", np.int8), r"memberships.npy"),
        ("meter", lambda p: retyped(p / "signals" / "rmia_signals.npy", np.int64), r"rmia_signals.npy to be floats"),
        ("matrix", lambda p: retyped(p / "outputs.npy", np.int16), r"outputs.npy to be floats"),
        ("matrix", lambda p: retyped(p / "status.npy", np.float32), r"status.npy"),
        ("matrix", lambda p: pickled(p / "status.npy"), r"status.npy.*Python objects"),
        ("matrix", lambda p: pickled(p / "outputs.npy"), r"outputs.npy.*Python objects"),
        ("pair", lambda p: retyped(p / "retrained.npy", np.float16), r"retrained.npy.*type of unlearned.npy, float32"),
        ("table", lambda p: retyped(p / "000004.npy", np.float16), r"000004.npy to be float32"),
        ("margins", lambda p: retyped(p / OF_ORACLE / "id_3_epoch_23.npy", np.float64), r"id_3_epoch_23.npy"),
        # Mislabelled.
        ("lira", lambda p: replace(p / E7 / "keep.npy", ~np.load(p / E7 / "keep.npy")), rf"{E7}/keep.npy.*record 0"),
        ("lira", lambda p: replace(p / "y_train.npy", np.zeros(5, int)), r"y_train.npy to be 12 labels"),
        (
            "meter",
            lambda p: replace(p / "status.npy", np.roll(written.drawn()[0], 1, axis=0)),
            r"memberships.npy.*status",
        ),
        ("matrix", lambda p: np.save(p / "kinds.npy", np.array(["learned"] * 64)), "kinds.*one of reference, deletion"),
        ("matrix", lambda p: np.save(p / "kinds.npy", np.array(["deletion"] * 60)), "kinds.npy to be 64 kinds"),
        (
            "table",
            lambda p: edited(p / "models.csv", "000003,deletion", "000003,both"),
            r"models.csv.*line 5: kind 'both'",
        ),
        ("table", lambda p: edited(p / "models.csv", "000003,deletion", "000005,deletion"), r"models.csv.*000005"),
        ("table", lambda p: edited(p / "models.csv", f"{3:064x}", f"{5:064x}"), r"models.csv.*a digest for each model"),
        ("pair", lambda p: (p / "records.txt").write_text("one\n"), "records to be 12 names"),
        # Membership alone does not say what was forgotten.
        ("lira", lambda p: (p / "status.npy").unlink(), r"status.npy.*not what it was made to forget"),
        ("meter", lambda p: (p / "status.npy").unlink(), r"status.npy.*not what it was made to forget"),
        ("matrix", lambda p: (p / "status.npy").unlink(), r"status.npy.*unlearn-audit models assign"),
        ("matrix", lambda p: cut(p / "outputs.npy"), r"outputs.npy.*where its header says"),
    ],
)
def test_files_that_are_wrong_are_refused_by_name(
    tmp_path: Path, layout: str, spoil: Callable[[Path], object], names: str
) -> None:
    path = WRITERS[layout](tmp_path)
    spoil(path)
    with pytest.raises(InvalidInputError, match=names):
        audit.read_models(path).audit(claim=CLAIM)


def turned_rows(path: Path) -> None:
    replace(path, np.load(path)[:, :-1])


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])


def test_models_of_two_origins_are_refused(tmp_path: Path) -> None:
    written.write_table(tmp_path)
    lines = (tmp_path / "models.csv").read_text().splitlines()
    codes = [f"{line},{'new' if i == 9 else 'old'}" for i, line in enumerate(lines[1:])]
    (tmp_path / "models.csv").write_text("\n".join([f"{lines[0]},code", *codes]) + "\n")
    with pytest.raises(InvalidInputError, match=r"models.csv.*one code and one data digest a kind"):
        audit.read_models(tmp_path)


def test_one_seed_for_all_is_refused_unless_said(tmp_path: Path) -> None:
    written.write_table(tmp_path)
    text = (tmp_path / "models.csv").read_text()
    for i in range(written.MODELS):
        text = text.replace(f",{1000 + i},", ",7,")
    (tmp_path / "models.csv").write_text(text)
    models = audit.read_models(tmp_path)
    with pytest.raises(InvalidInputError, match="training seeds of their own, got '7' for all 32"):
        models.audit(claim=CLAIM)
    assert models.audit(claim=CLAIM, conditional_on_seed=True).notes


@pytest.mark.parametrize("name", ["nothing", "empty"])
def test_what_is_no_layout_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidInputError, match=r"an .npz file or a folder with unlearned and retrained"):
        audit.read_models(tmp_path / name)
