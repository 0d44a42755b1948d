"""The first network: its gradients, its steps and its worlds against a slow trainer, and an audit of it end to end."""

from __future__ import annotations

import importlib.util
import runpy
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import audit
from attacks.registry import ATTACKS
from mechanisms.claim import Claim, EpsilonDelta, Reference
from mechanisms.dataset import Dataset
from mechanisms.errors import InvalidInputError
from mechanisms.networks.langevin import NetworkLangevin
from mechanisms.protocol import Access, HasLaw, World
from mechanisms.sources import load_named
from reports.audits.view import page

ROOT = Path(__file__).parents[2]
needs_torch = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="needs torch: pip install 'unlearn-audit[torch]'"
)
SMALL = NetworkLangevin(hidden=3, n_learn=4, n_unlearn=3, sigma_unlearn=0.05, n_probe=2)
FORGET = (3, 8)


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_named("digits", rows=30)


def rng(seed: int = 1) -> np.random.Generator:
    return np.random.default_rng(seed)


def clipped_sum(first: Any, second: Any, data: Dataset, clip_norm: float) -> tuple[Any, Any, list[float]]:
    """Gradients of one network, record by record by torch.autograd, each clipped, then added; and their norms."""
    import torch

    sums, norms = [torch.zeros_like(first), torch.zeros_like(second)], []
    for x, y in zip(data.features, data.targets, strict=True):
        weights = [w.clone().requires_grad_() for w in (first, second)]
        logits = torch.relu(torch.tensor(x) @ weights[0]) @ weights[1][:-1] + weights[1][-1]
        loss = torch.nn.functional.cross_entropy(logits[None], torch.tensor([int(y.argmax())]))
        gradients = torch.autograd.grad(loss, weights)
        norm = float(torch.sqrt(sum(g.square().sum() for g in gradients)))
        for total, gradient in zip(sums, gradients, strict=True):
            total += gradient * min(1.0, clip_norm / norm)
        norms.append(norm)
    return sums[0], sums[1], norms


def slow_release(deletion: Any, learned_on: Dataset, unlearned_on: Dataset, numbers: np.ndarray) -> np.ndarray:
    """Train one network as its documentation says: numbers are the start and then the noise of each step."""
    import torch

    m, p, q = deletion.mechanism, deletion.data.features.shape[1], deletion.data.targets.shape[1]

    def split(row: np.ndarray) -> tuple[Any, Any]:
        row = torch.tensor(row.astype(np.float64))
        return row[: p * m.hidden].reshape(p, m.hidden), row[p * m.hidden :].reshape(m.hidden + 1, q)

    first, second = split(numbers[0])
    first, second = first * np.sqrt(2 / p), second / np.sqrt(m.hidden)
    phases = [(learned_on, 0.0)] * m.n_learn + [(unlearned_on, m.sigma_unlearn)] * (len(numbers) - 1)
    for step, (data, sigma) in enumerate(phases):
        by_first, by_second, _ = clipped_sum(first, second, data, m.clip_norm)
        noise = split(numbers[1 + max(step - m.n_learn, 0)]) if len(numbers) > 1 else (0.0, 0.0)
        first = first - m.step_size / deletion.data.n_records * by_first + sigma * noise[0]
        second = second - m.step_size / deletion.data.n_records * by_second + sigma * noise[1]
    return (torch.relu(torch.tensor(deletion.probes) @ first) @ second[:-1] + second[-1]).numpy()


@needs_torch
@pytest.mark.parametrize("clip_norm", [1e-3, 1.5, 1e6])
def test_clipped_gradients_agree_with_single_gradients(digits: Dataset, clip_norm: float) -> None:
    from mechanisms.networks.clipped_descent import Batch, Networks, Shape

    shape = Shape(n_inputs=65, hidden=3, n_outputs=10)
    vectors = rng().standard_normal((4, shape.n_parameters)).astype(np.float32) / 3
    networks = Networks.of(vectors, shape)
    found = networks.clipped_gradients(Batch.of(digits), clip_norm)
    for i in range(4):
        first, second = networks.first[:, i].double(), networks.second[i].double()
        by_first, by_second, norms = clipped_sum(first, second, digits, clip_norm)
        scale = min(clip_norm, max(norms))
        np.testing.assert_allclose(found.first[:, i], by_first, atol=2e-5 * scale)
        np.testing.assert_allclose(found.second[i], by_second, atol=2e-5 * scale)
        assert min(norms) < 1.5 < max(norms)


@needs_torch
def test_no_record_adds_more_than_the_clip_norm(digits: Dataset) -> None:
    from mechanisms.networks.clipped_descent import Batch, Networks, Shape

    shape = Shape(n_inputs=65, hidden=3, n_outputs=10)
    networks = Networks.of(rng().standard_normal((2, shape.n_parameters)).astype(np.float32), shape)
    reached = 0
    for record in range(digits.n_records):
        alone = networks.clipped_gradients(Batch.of(digits.take((record,))), 0.5)
        squared = alone.first.square().sum((0, 2)) + alone.second.square().sum((1, 2))
        assert np.all(squared.sqrt().numpy() <= 0.5 * (1 + 1e-5))
        reached += int(np.sum(squared.sqrt().numpy() >= 0.5 * (1 - 1e-5)))
    assert reached > digits.n_records / 2


@needs_torch
@pytest.mark.parametrize("world", list(World))
def test_releases_are_those_of_a_slow_trainer(digits: Dataset, world: World) -> None:
    deletion = SMALL.bind(digits, FORGET)
    learned_on = deletion.retained if world is World.RETRAINED else digits
    unlearned_on = digits if world is World.NEGLECTED else deletion.retained
    # All starts are drawn first, and then the noise of unlearning: stage by stage.
    n_weights, stream = 65 * 3 + 4 * 10, rng()
    numbers = np.concatenate(
        [stream.standard_normal((2, n, n_weights), dtype=np.float32) for n in (1, SMALL.n_unlearn)], axis=1
    )
    expected = np.stack([slow_release(deletion, learned_on, unlearned_on, of_run) for of_run in numbers])
    np.testing.assert_allclose(deletion.sample(world, 2, rng=rng()), expected, atol=1e-4)


@needs_torch
@pytest.mark.parametrize("sigma", [0.01, 0.3])
def test_a_step_adds_noise_of_the_stated_scale(digits: Dataset, sigma: float) -> None:
    # Without gradients to speak of, 25 noisy steps end sqrt(25) sigma from the learned model. Seen in the logits of
    # a record of zeros: there the hidden units are silent, and the logits are the bias.
    blank = replace(digits, held_out=replace(digits, features=0 * digits.features))
    mechanism = replace(SMALL, n_unlearn=25, sigma_unlearn=sigma, step_size=1e-9, n_probe=1)
    deletion = mechanism.bind(blank, (3,))
    start = replace(mechanism, n_unlearn=0).bind(blank, (3,)).sample(World.UNLEARNED, 1, rng=rng())
    paths = deletion.trajectory(World.UNLEARNED, 300, rng=rng())
    assert paths is not None
    np.testing.assert_allclose(paths[:, 0], np.broadcast_to(start, paths[:, 0].shape), atol=1e-5)
    steps = np.diff(paths[:, :, 1], axis=1)
    assert steps.shape == (300, 4, 10)
    assert steps.std() == pytest.approx(sigma, rel=0.05)
    assert abs(np.corrcoef(steps[:, 0].ravel(), steps[:, 1].ravel())[0, 1]) < 0.1
    ends = deletion.sample(World.UNLEARNED, 300, rng=rng(2))[:, 1]
    assert ends.std() == pytest.approx(np.hypot(3**-0.5, 5 * sigma), rel=0.07)


@needs_torch
def test_networks_that_train_at_once_agree_with_one_at_a_time(digits: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """In each stage: a run's random numbers do not depend on those that train beside it."""
    deletion = replace(SMALL, sigma_learn=0.01).bind(digits, FORGET)
    retained, deleted = digits.without(FORGET), digits.take(FORGET)
    models = deletion.learn(digits, 5, rng())
    expected = [deletion.released(m) for m in (models, deletion.unlearn(models, retained, deleted, rng(2)))]
    for at_once in (1, 2):
        for module in ("stages", "deletion"):
            monkeypatch.setattr(f"mechanisms.networks.{module}.AT_ONCE", at_once)
        learned = deletion.learn(digits, 5, rng())
        unlearned = deletion.unlearn(learned, retained, deleted, rng(2))
        np.testing.assert_allclose(deletion.released(learned), expected[0], atol=1e-4)
        np.testing.assert_allclose(deletion.released(unlearned), expected[1], atol=1e-4)


@needs_torch
def test_the_same_generator_gives_the_same_releases_on_one_thread(
    digits: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from mechanisms.networks.clipped_descent import Networks

    seen, logits = set(), Networks.logits
    monkeypatch.setattr(Networks, "logits", lambda *a: (seen.add(torch.get_num_threads()), logits(*a))[1])
    deletion, before = SMALL.bind(digits, FORGET), torch.get_num_threads()
    drawn = []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            drawn.append(deletion.sample(World.UNLEARNED, 3, rng=rng()))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    np.testing.assert_array_equal(*drawn)
    assert seen == {1}
    assert not np.array_equal(drawn[0], deletion.sample(World.UNLEARNED, 3, rng=rng(2)))


@needs_torch
def test_a_global_seed_changes_nothing(digits: Dataset) -> None:
    import torch

    deletion = SMALL.bind(digits, FORGET)
    state = torch.get_rng_state()
    first = deletion.sample(World.RETRAINED, 2, rng=rng())
    assert bool(torch.equal(state, torch.get_rng_state()))
    with torch.random.fork_rng():
        torch.manual_seed(5)
        np.testing.assert_array_equal(first, deletion.sample(World.RETRAINED, 2, rng=rng()))


@needs_torch
def test_without_unlearning_steps_the_learned_model_is_released(digits: Dataset) -> None:
    deletion = replace(SMALL, n_unlearn=0).bind(digits, FORGET)
    unlearned, neglected, retrained = (
        deletion.sample(w, 2, rng=rng()) for w in (World.UNLEARNED, World.NEGLECTED, World.RETRAINED)
    )
    np.testing.assert_array_equal(unlearned, neglected)
    assert not np.allclose(unlearned, retrained)
    assert deletion.trajectory(World.UNLEARNED, 3, rng=rng()) is None
    # Against plain retraining only the retrained world stops there.
    plain = replace(SMALL, reference=Reference.RETRAIN_ONLY).bind(digits, FORGET)
    np.testing.assert_array_equal(plain.sample(World.RETRAINED, 2, rng=rng()), retrained)
    assert plain.trajectory(World.RETRAINED, 3, rng=rng()) is None
    assert not np.allclose(plain.sample(World.UNLEARNED, 2, rng=rng()), unlearned)


@needs_torch
def test_the_retrained_world_never_sees_the_deleted_records(digits: Dataset) -> None:
    changed = digits.features.copy()
    changed[list(FORGET)] = rng().uniform(size=(2, 65))
    deletions = [SMALL.bind(data, FORGET) for data in (digits, replace(digits, features=changed))]
    seen = [[d.sample(w, 2, rng=rng())[:, 2:] for d in deletions] for w in (World.RETRAINED, World.UNLEARNED)]
    np.testing.assert_array_equal(*seen[0])
    assert not np.allclose(*seen[1])


@needs_torch
def test_the_deleted_records_come_first_and_no_certificate_is_stated(digits: Dataset) -> None:
    deletion = SMALL.bind(digits, (8, 3))
    assert deletion.release.shape == (4, 10)
    assert deletion.release.access is Access.BLACK_BOX
    assert deletion.release.outputs is not None
    assert deletion.release.outputs.records == (8, 3, -1, -1)
    assert deletion.release.outputs.kind == "logits"
    held_out = digits.held_out
    assert held_out is not None
    np.testing.assert_array_equal(deletion.probes, np.vstack([digits.features[[8, 3]], held_out.features[:2]]))
    assert deletion.certificates() == ()
    assert not isinstance(deletion, HasLaw)
    assert deletion.parameters()["sampler"] == "training"
    alone = replace(SMALL, n_probe=0).bind(replace(digits, held_out=None), (3,))
    assert alone.sample(World.UNLEARNED, 2, rng=rng()).shape == (2, 1, 10)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("hidden", 0),
        ("n_learn", 0),
        ("n_unlearn", -1),
        ("step_size", 0.0),
        ("step_size", float("inf")),
        ("clip_norm", 0.0),
        ("clip_norm", float("nan")),
        ("sigma_learn", -0.1),
        ("sigma_unlearn", float("nan")),
        ("n_probe", -1),
    ],
)
def test_parameters_out_of_range_are_named(field: str, value: float) -> None:
    with pytest.raises(InvalidInputError, match=f"Expected {field} to be .*, got .*; "):
        replace(SMALL, **{field: value})


@needs_torch
def test_data_that_cannot_be_learned_are_refused(digits: Dataset) -> None:
    with pytest.raises(InvalidInputError, match=r"data\.kind"):
        SMALL.bind(load_named("diabetes"), (3,))
    with pytest.raises(InvalidInputError, match="n_probe to be at most 0"):
        SMALL.bind(replace(digits, held_out=None), (3,))
    with pytest.raises(InvalidInputError, match="forget"):
        SMALL.bind(digits, (30,))


def test_without_torch_the_error_says_what_to_install(digits: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(InvalidInputError, match=r"without torch; run pip install 'unlearn-audit\[torch\]'"):
        SMALL.bind(digits, (3,))


def test_reading_the_plan_imports_no_torch() -> None:
    probe = (
        "import sys; from pathlib import Path; from audit.commands.plan_file.reading import read_plan; "
        f"r = read_plan(Path({str(ROOT / 'examples' / 'plans' / 'network.toml')!r})); "
        "print(r.mechanism.name, r.plan.trials, r.data.n_records, *r.plan.labels); sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["network_langevin", "100", "500", "hardest", "median", "easiest"]


@needs_torch
def test_an_audit_of_a_network_says_that_it_is_all_that_there_is(
    digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    claim = Claim(guarantee=EpsilonDelta(epsilon=0.5, delta=1e-5))
    attacks = [ATTACKS[name] for name in ("lda", "u_lira")]
    result = audit.run(SMALL, digits, forget=3, claim=claim, trials=40, attacks=attacks, seed=1)
    finding = result.findings[0]
    assert finding.certificates == ()
    assert not finding.failures
    assert [sandwich.exact for sandwich in finding.sandwiches] == [None]
    assert {control.name for control in result.controls if control.as_expected} >= {"replay", "null", "step_noise"}
    headings = {passage.heading: passage.text for passage in page(result).limits}
    assert "an audit is all that there is" in headings["No certificate."]
    assert "The learning noise may do all of it." not in headings
    (path := tmp_path / "report.json").write_text(result.to_json(), encoding="utf-8")
    script, picture = ROOT / "examples" / "network_difficulty.py", tmp_path / "picture.svg"
    monkeypatch.setattr(sys, "argv", [str(script), str(path), str(picture)])
    runpy.run_path(str(script), run_name="__main__")
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["record", "3", "3"]
    assert picture.stat().st_size > 1000
