"""Archives that unfold to gigabytes, numbers of thousands of digits, brackets without end: refused, with the field."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import audit
from audit.cli import guarded
from audit.commands.plan_file.reading import read_plan
from audit.commands.plan_file.toml_text import DEEPEST, LARGEST_FILE
from audit.errors import PlanError, SchemaError
from audit.given.files import read_scores
from audit.plan.audit_plan import SMALLEST_SIGNIFICANCE, Bonferroni
from audit.records.estimates import gaussian_mu
from audit.regression.comparison import Margins
from audit.statistics.multiplicity import equal_share, ledger
from mechanisms.claim import Claim, EpsilonDelta, GaussianDP
from mechanisms.dataset import from_arrays
from mechanisms.errors import InvalidInputError
from mechanisms.reading.numpy_files import CELL_BYTES, LARGEST_BYTES, check_table, read_arrays
from mechanisms.sources import load_file
from tests.property.mutations import LONGEST_SECONDS, limited
from tests.property.test_hostile_files import PLAN, npy, npz, table


def promise(shape: tuple[int, ...], data: bytes = b"") -> bytes:
    """Return a .npy file whose header promises an array of any shape."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "<f8", "fortran_order": False, "shape": shape})
    return file.getvalue() + data


def archive(**members: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name, data in members.items():
            zipped.writestr(f"{name}.npy", data)
    return file.getvalue()


def test_arrays_are_read_as_numpy_reads_them(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    arrays = {"X": rng.normal(size=(5, 3)), "y": np.arange(5), "F": np.asfortranarray(rng.normal(size=(4, 2)))}
    path = tmp_path / "a.npz"
    for save in (np.savez, np.savez_compressed):
        save(path, **arrays)
        for name, array in read_arrays(path).items():
            np.testing.assert_array_equal(array, arrays[name])
        assert list(read_arrays(path, wanted=("y",))) == ["y"]
    for array in (*arrays.values(), np.array(3.5), np.empty((0, 2)), np.array([1, 2], dtype=">f4")):
        (tmp_path / "a.npy").write_bytes(npy(array))
        (found,) = read_arrays(tmp_path / "a.npy").values()
        np.testing.assert_array_equal(found, array)
        assert found.dtype == array.dtype


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("d.npz", archive(X=promise((400_000_000,)), y=npy(np.arange(3.0))), r"at most 2\.0 GiB.*3\.0 GiB"),
        ("d.npz", archive(X=promise((10**12, 10**12)), y=b""), r"at most 2\.0 GiB.*more than 2\^70 bytes"),
        ("d.npz", archive(X=promise((3, 2)), y=npy(np.arange(3.0))), "X of 0 bytes, where its header says 48"),
        ("d.npz", archive(X=promise((-3, 2)), y=npy(np.arange(3.0))), "numpy file of plain numbers"),
        ("d.npz", archive(X=b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + b" " * 10**6, y=b""), "header of more than 64 KiB"),
        ("d.npz", archive(X=npy(np.array([{}], dtype=object)), y=npy(np.arange(3.0))), "Python objects"),
        ("d.npz", npz(X=np.ones((9, 2)), y=np.arange(9))[:-30], "BadZipFile"),
        ("d.npz", b"PK\x03\x04", "BadZipFile"),
        ("d.npz", b"", "Python objects, or no numpy file at all"),
    ],
)
def test_an_archive_is_measured_before_it_is_expanded(name: str, data: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    with limited(LONGEST_SECONDS), pytest.raises(InvalidInputError, match=said):
        load_file(path)


def test_the_arrays_of_an_archive_share_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "d.npz"
    np.savez_compressed(path, X=np.zeros((1000, 10)), y=np.zeros(1000))
    assert path.stat().st_size < 2000
    assert len(read_arrays(path, largest_bytes=88_000)) == 2
    with pytest.raises(InvalidInputError, match=r"y of shape \(1000,\)"):
        read_arrays(path, largest_bytes=87_999)
    assert list(read_arrays(path, wanted=("y",), largest_bytes=8000)) == ["y"]


def test_scores_have_the_same_limit(tmp_path: Path) -> None:
    path = tmp_path / "s.npy"
    path.write_bytes(promise((400_000_000,)))
    with pytest.raises(InvalidInputError, match=r"at most 2\.0 GiB.*audit\.from_scores"):
        read_scores(path)


def test_a_table_is_measured_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "d.csv"
    path.write_text(table(), encoding="utf-8")
    cells = 13 * 4 + 1
    check_table(path, largest_bytes=cells * CELL_BYTES)
    with pytest.raises(InvalidInputError, match=r"53 cells"):
        check_table(path, largest_bytes=cells * CELL_BYTES - 1)
    # A sparse file: 18 million empty lines would be as many lists.
    with path.open("wb") as file:
        file.write(b"\n" * (LARGEST_BYTES // CELL_BYTES + 1))
    for read in (load_file, read_scores):
        with limited(LONGEST_SECONDS), pytest.raises(InvalidInputError, match=r"at most 2\.0 GiB of memory"):
            read(path)


def planned(text: str, folder: Path) -> Path:
    (folder / "data.csv").write_text(table(), encoding="utf-8")
    path = folder / "plan.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("seed = 7", f"seed = {'9' * 6000}", "line 3 (seed)"),
        ("seed = 7", f"seed = {'9' * 400}", "seed: expected a whole number of at most 64 bits, got 400 digits"),
        ("seed = 7", f"seed = {'[' * 5000}", "line 3 (seed)"),
        ("seed = 7", "seed = [\n" * 5000, "(seed)"),
        ("seed = 7", f"{'.'.join('a' * 20_000)} = 1", "line 3 (a.a.a.a"),
        ("[data]", f"[{'.'.join('a' * 20_000)}]\n[data]", "line 11 ([a.a.a"),
        ("seed = 7", f"{'.'.join(['q'] * (DEEPEST - 1))} = {{a = {{b = {{c = 1}}}}}}", "expected at most 16 levels"),
        ("significance = 0.05", "significance = 1e-320", "significance: expected"),
        ("trials = 600", "trials = 10_000_000_000", "trials: expected"),
        ("chunk_size = 100", "chunk_size = 1\n[x]", "x: extra"),
        ("trials = 600\n", "trials = 1_000_000_000\n", "chunk_size to be at least 1,000"),
        ("control_trials = 100", "control_trials = 1_000_000_000_000", "control_trials: expected"),
        ("n_learn = 30", "n_learn = 1_000_000_000_000", "mechanism.ridge_langevin.n_learn: expected"),
        ("n_learn = 30", "n_learn = 1e12", "mechanism.ridge_langevin.n_learn: expected"),
        ("n_unlearn = 10", "n_unlearn = 1_000_000_000_000", "mechanism.ridge_langevin.n_unlearn: expected"),
        ('path = "data.csv"', f'path = "{"x" * 5000}.csv"', "data.path"),
        ('path = "data.csv"', 'path = "\\u0000.csv"', "data.path"),
        ("divide_by = 2.0", "divide_by = 1e-320", "divide_by"),
        ("mu = 0.5", "mu = 1e308", "claims.1.gaussian_dp.mu: expected"),
        ("sigma_learn = 0.001", "sigma_learn = 1e-320", "mechanism.ridge_langevin.sigma_learn: expected"),
        ("sigma_learn = 0.001", "sigma_learn = 1e308", "mechanism.ridge_langevin.sigma_learn: expected"),
    ],
)
def test_what_no_plan_holds_is_refused_with_its_field(
    old: str, new: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert old in PLAN
    path = planned(PLAN.replace(old, new, 1), tmp_path)
    with limited(LONGEST_SECONDS):
        assert guarded(["run", str(path)]) == 2
    caught = capsys.readouterr().err
    assert said in caught
    assert len(caught) < 3000


def test_a_plan_is_a_small_file(tmp_path: Path) -> None:
    path = planned(PLAN + "#" * LARGEST_FILE, tmp_path)
    with pytest.raises(PlanError, match=r"at most 1,048,576 bytes"):
        read_plan(path)


def test_a_plan_may_hold_what_only_looks_deep(tmp_path: Path) -> None:
    words = ".".join(["[[[{{a"] * 30)
    title = f"title = '{words}' # [[[[[[[[[[[[[[[[[[[[ {'a.' * 40}"
    path = planned("\ufeff" + PLAN.replace('title = "A plan"', title), tmp_path)
    assert read_plan(path).title == words


def test_a_shift_whose_square_overflows_promises_nothing() -> None:
    claim = Claim(guarantee=GaussianDP(mu=1e308))
    assert claim.points(claim.directions[0])[0].epsilon == np.inf
    assert claim.epsilon_at(1e-5, claim.directions[0]) == np.inf


def test_divisors_that_blow_features_up_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="divide_by to be large enough"):
        from_arrays(np.ones((3, 2)), np.arange(3.0), divide_by=1e-320)


def test_shares_of_the_smallest_levels_end() -> None:
    for total in (5e-324, 1e-320, 1e-310, SMALLEST_SIGNIFICANCE, 0.05):
        for parts in (1, 2, 3, 7, 1000):
            with limited(LONGEST_SECONDS):
                share = equal_share(total, parts)
            assert share * parts <= total
    assert ledger(significance=1e-320, correction=Bonferroni(), members=[(0, (), "a", "claim_row")]).members
    for make in (lambda: Margins(significance=1e-320), lambda: _audited(significance=1e-320)):
        with limited(LONGEST_SECONDS), pytest.raises(InvalidInputError, match="significance"):
            make()


def _audited(**options: Any) -> audit.AuditResult:
    claim = Claim(guarantee=EpsilonDelta(epsilon=1.0, delta=1e-5))
    rng = np.random.default_rng(4)
    return audit.from_scores(rng.normal(size=40), rng.normal(size=40), claim=claim, **options)


def test_huge_scores_have_the_same_shift_as_small_ones() -> None:
    rng = np.random.default_rng(5)
    first, second = rng.normal(1, 1, 50), rng.normal(0, 1, 60)
    scale = 2.0**1020
    assert gaussian_mu(first * scale, second * scale) == gaussian_mu(first, second)


@pytest.mark.parametrize(
    "text",
    ["[" * 100_000, '{"schema": ' * 100_000, "9" * 6000, '{"schema": "unlearn-audit/result/1"}', "", "\x00", "nul"],
    ids=["brackets", "objects", "digits", "schema_alone", "nothing", "null_byte", "word"],
)
def test_no_text_is_too_strange_for_a_loader(text: str) -> None:
    with limited(LONGEST_SECONDS), pytest.raises(SchemaError):
        audit.load_json(text)


STORED = Path(__file__).parents[1] / "golden" / "stored"


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (("findings", 0, "roc", 0, "k_unlearned"), [1], "k_unlearned to be"),
        (("findings", 0, "roc", 0, "thresholds", 0), "inf", r"thresholds\[0\]"),
        (("findings", 0, "tests", 0, "bound", "value"), "inf", "value to be at least 0, finite"),
        (("findings", 0, "tests", 0, "p_value"), 1.5, r"p_value to be in \[0, 1\]"),
        (("findings", 0, "sandwiches", 0, "claimed"), "-inf", "claimed to be at least 0"),
        (("findings", 0, "sandwiches", 0, "detectable_epsilon"), "nan", "detectable_epsilon"),
        (("findings", 0, "histograms", 0, "edges"), [0.0, 1.0], "edges to be"),
        (("findings", 0, "preview", 0, "values"), [0.5], "values to be 64 pixels"),
        (("findings", 0, "estimates", 0, "auc"), "nan", "auc to be"),
        (("findings", 0, "certificates", 0, "epsilon"), "nan", "epsilon to be at least 0"),
        (("plan", "n_counted"), 7, "n_counted to be"),
        (("plan", "trials"), 10**18, "trials to be in"),
        (("environment", "seconds"), "inf", "seconds to be"),
        (("controls", 1, "p_value"), -0.5, "p_value to be"),
    ],
)
def test_stored_numbers_have_ranges(place: tuple[Any, ...], value: Any, said: str) -> None:
    stored = json.loads((STORED / "result-1.json").read_text("utf-8"))
    owner = stored
    for key in place[:-1]:
        owner = owner[key]
    assert place[-1] in owner or isinstance(owner, list)
    owner[place[-1]] = value
    with pytest.raises(SchemaError, match=said):
        audit.load_json(json.dumps(stored))
