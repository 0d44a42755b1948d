"""Records of any kind: lists of objects, their digests, and audits of them end to end."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import audit
import reports
from attacks.registry import ATTACKS
from audit.plan.audit_plan import AuditPlan
from audit.running.forecast_plan import forecast
from mechanisms.adapters.functions import from_functions
from mechanisms.claim import Claim, GaussianDP, Reference
from mechanisms.dataset import Dataset, from_arrays
from mechanisms.errors import InvalidInputError
from mechanisms.protocol import Access, Outputs, ReleaseSpec, World
from mechanisms.reading.records import RecordList, RecordSet

Array = NDArray[np.float64]
CLAIM = Claim(guarantee=GaussianDP(mu=0.5))
TEXTS = tuple(f"{'ab' * (i % 3)} text {i}" for i in range(40))
READS_MATRICES = {"target_loss", "influence", "krylov_lda", "u_lira", "undo_training"}
trained: list[int] = []


class Files:
    """A record set of a user's own: an index into files, whose digest is the user's word."""

    def __init__(self, folder: Path, names: Sequence[str], digest: str) -> None:
        self.folder, self.names, self.digest, self.name = folder, tuple(names), digest, "a folder"

    def __len__(self) -> int:
        return len(self.names)

    def take(self, records: Sequence[int]) -> Files:
        return Files(self.folder, [self.names[i] for i in records], f"{self.digest} {list(records)}")

    def without(self, records: Sequence[int]) -> Files:
        return self.take([i for i in range(len(self)) if i not in set(records)])

    def sha256(self) -> str:
        return self.digest

    def sizes(self) -> Array:
        return np.array([len((self.folder / name).read_text()) for name in self.names], dtype=float)


def _learn(records: RecordList, rng: np.random.Generator) -> Array:
    trained.append(len(records))
    return np.array([len(records), sum(map(len, records))]) + rng.standard_normal(2)


def _unlearn(model: Array, retained: RecordList, forget: RecordList, rng: np.random.Generator) -> Array:
    return model - [len(forget), sum(map(len, forget))] + rng.standard_normal(2)


def _lose(model: Array, retained: RecordList, forget: RecordList, rng: np.random.Generator) -> Array:
    return model + 0.3 * rng.standard_normal(2)


def texts(items: Sequence[Any] = TEXTS, **settings: Any) -> RecordList:
    return RecordList(items=items, name="texts", **settings)


def test_a_data_set_and_a_list_are_record_sets(tmp_path: Path) -> None:
    data = from_arrays(np.eye(3), np.arange(3.0), name="d", kind="regression")
    assert all(isinstance(records, RecordSet) for records in (data, texts(), Files(tmp_path, ("a",), "x")))
    assert not isinstance(list(TEXTS), RecordSet)


def test_a_list_takes_leaves_out_and_shows_no_values() -> None:
    records = texts()
    assert list(records.take((5, 2))) == [TEXTS[5], TEXTS[2]]
    assert list(records.without((5, 2))) == [text for i, text in enumerate(TEXTS) if i not in (2, 5)]
    assert len(records.take(())) == 0
    assert records[3] == TEXTS[3]
    assert repr(records) == "<RecordList 'texts': 40 records>"
    assert list(records.without((0,)).take((0,))) == [TEXTS[1]]


@pytest.mark.parametrize("digest", [None, "of an archive"])
def test_equal_sets_have_equal_digests_and_others_do_not(digest: str | None) -> None:
    records = texts(digest=digest)
    assert records.sha256() == (digest or texts().sha256())
    parts = [(), (1,), (2,), (1, 2), (2, 1), tuple(range(39)), tuple(range(40))]
    digests = [records.take(part).sha256() for part in parts]
    assert len(set(digests)) == len(parts)
    assert records.without(range(39)).sha256() == records.take((39,)).sha256()
    # Positions are those among all records, by whatever way one came there.
    assert records.without((0, 1)).take((3, 0)).sha256() == records.take((5, 2)).sha256()


@pytest.mark.parametrize(
    ("items", "others"),
    [
        (["ab", "c"], ["a", "bc"]),
        ([1, 2], ["1", "2"]),
        ([True], [1]),
        ([b"a"], ["a"]),
        ([("a", "b")], [["a", "b"]]),
        ([["a"], ["b"]], [["a", "b"], []]),
        ([{"a": 1}], [{"a": 2}]),
        ([np.zeros(4)], [np.zeros((2, 2))]),
        ([np.zeros(2)], [np.zeros(2, dtype=np.float32)]),
        ([np.float64(1.0)], [1.0]),
        ([1.5, None], [1.5, "None"]),
    ],
)
def test_what_differs_has_another_digest(items: list[Any], others: list[Any]) -> None:
    assert texts(items).sha256() == texts(list(items)).sha256()
    assert texts(items).sha256() != texts(others).sha256()


def test_objects_need_a_digest_of_the_users_own(tmp_path: Path) -> None:
    for item in (object(), tmp_path, {1}, np.array([object()])):
        with pytest.raises(InvalidInputError, match=rf"digest.*{type(item).__name__}.*pass digest="):
            texts(["a", item])
        assert texts(["a", item], digest="mine").sha256() == "mine"
    with pytest.raises(InvalidInputError, match=r"items.*one object a record"):
        texts("letters")
    with pytest.raises(InvalidInputError, match=r"digest.*a text"):
        texts(digest="")


def test_an_array_that_a_trial_changes_is_seen() -> None:
    records = RecordList(items=[np.zeros(3), np.ones(3)])
    before = records.sha256()
    records[0][1] = 5.0
    assert records.sha256() != before


@pytest.mark.parametrize("stop", [False, True])
def test_an_audit_of_texts_end_to_end(tmp_path: Path, stop: bool) -> None:
    fair = from_functions(learn=_learn, unlearn=_unlearn, release=(2,), name="fair")
    lost = from_functions(learn=_learn, unlearn=_lose, release=(2,), name="lost")
    found = [
        audit.run(service, texts(), forget=(5, 8), claim=CLAIM, trials=300, seed=1, stop_when_decided=stop)
        for service in (fair, lost)
    ]
    assert [result.verdict.value for result in found] == ["not_refuted", "refuted"]
    assert (found[0].data.name, found[0].data.kind, found[0].data.n_records) == ("texts", "records", 40)
    assert (found[0].data.n_features, found[0].data.sha256) == (None, texts().sha256())
    assert audit.AuditResult.from_json(found[1].to_json()) == found[1]
    written = reports.write(found[1], tmp_path)
    assert len(written) >= 3
    assert "matrices" not in (tmp_path / "report.md").read_text()


def test_an_audit_of_files_with_the_users_digest(tmp_path: Path) -> None:
    for i in range(12):
        (tmp_path / f"{i}.txt").write_text("x" * i)
    records = Files(tmp_path, [f"{i}.txt" for i in range(12)], "sha256:of-the-archive")
    mechanism = from_functions(
        learn=lambda files, rng: np.array([files.sizes().sum()]) + rng.standard_normal(1),
        unlearn=lambda model, retained, forget, rng: model,
        release=1,
    )
    result = audit.run(mechanism, records, forget=11, claim=CLAIM, trials=200, attacks=("lda",), seed=1)
    assert result.verdict.value == "refuted"
    assert result.data.sha256 == "sha256:of-the-archive"


def test_deterministic_learning_of_texts_is_no_reuse_of_models() -> None:
    """Texts cannot be moved by a rounding, so that other trainings say whether models were kept."""
    mechanism = from_functions(learn=_count, unlearn=_lose, release=(2,))
    result = audit.run(mechanism, texts(), forget=(5,), claim=CLAIM, trials=100, attacks=("lda",), seed=1)
    (control,) = [control for control in result.controls if control.name == "reused_models"]
    assert control.as_expected, control.message


def _count(records: RecordList, rng: np.random.Generator) -> Array:
    return np.array([len(records), sum(map(len, records))], dtype=float)


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_that_reads_matrices_is_refused_before_anything_is_trained(name: str) -> None:
    mechanism = from_functions(learn=_learn, unlearn=_unlearn, release=(2,), parameters={"penalty": 1.0})
    trained.clear()
    plan = AuditPlan(claims=(CLAIM,), forget=((5,),), attacks=(name,), trials=100)
    if name in READS_MATRICES:
        with pytest.raises(InvalidInputError, match=rf"attacks.*{name} needs records that are matrices.*RecordList"):
            audit.run(mechanism, texts(), plan)
        with pytest.raises(InvalidInputError, match=name):
            forecast(mechanism, texts(), plan)
        assert trained == []
        return
    needs = ATTACKS[name].needs
    assert not needs.matrices
    if needs.law:
        with pytest.raises(InvalidInputError, match="law"):
            audit.run(mechanism, texts(), plan)
        assert trained == []
    elif name in ("mlp", "density_ratio"):
        with pytest.raises(InvalidInputError, match="at least"):
            audit.run(mechanism, texts(), plan)
    else:
        result = audit.run(mechanism, texts(), plan)
        assert {member.attack for member in result.family.members} == {name}


def test_outputs_of_texts_are_audited_without_their_targets() -> None:
    """The tail family takes all outputs then; u_lira, which compares them with targets, is refused."""
    shown = ReleaseSpec(shape=(1, 2), access=Access.BLACK_BOX, outputs=Outputs(kind="logits"))
    mechanism = from_functions(learn=_learn, unlearn=_lose, release=shown, observe=lambda model, deleted: model[None])
    result = audit.run(mechanism, texts(), forget=(5,), claim=CLAIM, trials=400, seed=1)
    families = {"portfolio:mean", "portfolio:scale", "portfolio:tail"}
    assert {member.attack for member in result.family.members} == families
    assert not [finding.reason for finding in result.findings if finding.reason is not None]


def test_what_is_no_record_set_is_refused_in_words() -> None:
    mechanism = from_functions(learn=_learn, unlearn=_unlearn, release=(2,))
    for data in (list(TEXTS), None, Dataset):
        with pytest.raises(InvalidInputError, match=r"data.*a set of records.*RecordList"):
            audit.run(mechanism, data, forget=(1,), claim=CLAIM, trials=100)  # type: ignore[arg-type]
        with pytest.raises(InvalidInputError, match=r"data.*a set of records"):
            mechanism.bind(data, (1,))  # type: ignore[arg-type]


def test_a_trial_that_changes_other_records_is_seen() -> None:
    items = [np.ones(2) * i for i in range(10)]
    mechanism = from_functions(learn=_spoil, unlearn=_lose, release=(2,), reference=Reference.RETRAIN_ONLY)
    deletion = mechanism.bind(RecordList(items=items), (3,))
    assert deletion.changed_data() == ()
    deletion.sample(World.RETRAINED, 1, rng=np.random.default_rng(0))
    assert "the retained records" in deletion.changed_data()


def _spoil(records: RecordList, rng: np.random.Generator) -> Array:
    records[0][:] += 1.0
    return rng.standard_normal(2)
