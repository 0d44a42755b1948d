"""Torch networks from two functions: what they are given, what is taken of them, and what stops before an audit."""

# Global generators of numpy are what is tested.
# ruff: noqa: NPY002

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import audit
from audit.trials.workers.fresh import copy_of
from mechanisms import (
    Access,
    Claim,
    EpsilonDelta,
    InvalidInputError,
    Reference,
    TorchRecords,
    UserFunctionError,
    World,
    from_torch,
    sample_by_stages,
)

torch = pytest.importorskip("torch")
nn, F = torch.nn, torch.nn.functional
from torch.utils.data import DataLoader, Subset, TensorDataset  # noqa: E402

from tests.unit.torch_networks import drawn, images, keep, learn, linear, network, trained, tune  # noqa: E402

CLAIM = Claim(guarantee=EpsilonDelta(epsilon=0.5, delta=1e-5))
WORLDS = tuple(World)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_functions_get_parts_of_the_users_own_data_set_by_index() -> None:
    seen: list[Any] = []
    dataset = images()

    def watched(part: Any, generator: Any) -> nn.Module:
        seen.append(part)
        return learn(part, generator)

    def unlearn(model: nn.Module, retained: Any, forget: Any, generator: Any) -> nn.Module:
        seen.extend([retained, forget])
        return model

    deletion = from_torch(watched, unlearn).bind(dataset, (4, 3))
    for world, expected in (
        (World.UNLEARNED, (range(12), (0, 1, 2, *range(5, 12)), (4, 3))),
        (World.RETRAINED, ((0, 1, 2, *range(5, 12)), (0, 1, 2, *range(5, 12)), ())),
        (World.NEGLECTED, (range(12), range(12), ())),
    ):
        seen.clear()
        deletion.sample(world, 1, rng=np.random.default_rng(0))
        assert [tuple(part.indices) for part in seen] == [tuple(e) for e in expected]
        assert all(type(part) is Subset and part.dataset is dataset for part in seen)
    # Nothing is flattened.
    assert seen[0][0][0].shape == (1, 3, 3)


def test_networks_answer_in_evaluation_mode_and_go_on_in_their_own() -> None:
    modes: list[bool] = []
    made: list[nn.Module] = []

    def half_frozen(dataset: Any, generator: Any) -> nn.Module:
        model = learn(dataset, generator)
        # As one does in fine-tuning: this part is to stay in evaluation mode.
        model[1].eval()
        return model

    def unlearn(model: nn.Module, retained: Any, forget: Any, generator: Any) -> nn.Module:
        modes.extend([model.training, model[1].training, model[3].training])
        made.append(model)
        return model

    deletion = from_torch(half_frozen, unlearn).bind(images(), (3, 4))
    modes.clear()
    shown = deletion.before_and_after(World.UNLEARNED, 1, rng=np.random.default_rng(0))
    assert modes == [True, False, True]
    with torch.no_grad():
        expected = made[-1].eval()(torch.stack([images()[i][0] for i in (3, 4)]))
    assert shown is not None
    assert shown[1].dtype == np.float64
    np.testing.assert_array_equal(shown[0], shown[1])
    np.testing.assert_array_equal(shown[1][0], expected.numpy())


def test_a_trial_is_a_function_of_its_stream_and_moves_no_other_generator() -> None:
    def everything(dataset: Any, generator: Any) -> nn.Module:
        model = learn(dataset, generator)
        with torch.no_grad():
            for draw in (torch.rand(1), np.random.rand(), random.random(), torch.rand(1, generator=generator)):
                model[4].bias += float(draw)
        return model

    deletion = from_torch(everything, tune).bind(images(), (3, 4))
    states = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    first = deletion.sample(World.UNLEARNED, 2, rng=np.random.default_rng(1))
    assert torch.equal(states[0], torch.get_rng_state())
    assert states[1] == np.random.get_state()[1].tolist()
    assert states[2] == random.getstate()
    torch.manual_seed(99)
    np.random.seed(99)
    random.seed(99)
    again = deletion.sample(World.UNLEARNED, 2, rng=np.random.default_rng(1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first[0], first[1])


def test_random_words_reach_all_of_torchs_generator() -> None:
    """Its seeds have 32 bits: two of 100,000 trainings would have one."""
    from mechanisms.adapters.seeding import seeded

    words = np.arange(8, dtype=np.uint32)
    drawn = []
    for i in range(2):
        words[7] = i
        with seeded(words, device="cpu", exact=True) as generator:
            drawn.append((torch.default_generator.get_state()[24:5016].numpy().view(np.uint64), torch.rand(4)))
            short = torch.Generator().manual_seed(generator.initial_seed() & 0xFFFFFFFF)
            assert not torch.equal(torch.rand(4, generator=generator), torch.rand(4, generator=short))
    assert np.mean(drawn[0][0] == drawn[1][0]) < 0.01
    assert not torch.equal(drawn[0][1], drawn[1][1])


@pytest.mark.parametrize("sees", ["logits", "weights"])
def test_the_stages_are_the_sampler_and_leave_models_as_they_are(sees: Any) -> None:
    dataset = images()
    deletion = from_torch(learn, tune, sees=sees).bind(dataset, (3, 4))
    records = TorchRecords(dataset=dataset)
    for world in WORLDS:
        by_stages = sample_by_stages(deletion, world, 2, data=records, forget=(3, 4), rng=np.random.default_rng(2))
        np.testing.assert_array_equal(by_stages, deletion.sample(world, 2, rng=np.random.default_rng(2)))
    models = deletion.learn(records, 1, np.random.default_rng(3))
    before = deletion.released(models)
    # It trains in place.
    deletion.unlearn(models, records.without((3, 4)), records.take((3, 4)), np.random.default_rng(4))
    np.testing.assert_array_equal(before, deletion.released(models))


def test_what_is_seen() -> None:
    logits = drawn(from_torch(learn, keep))[0]
    chances = drawn(from_torch(learn, keep, sees="probabilities"))[0]
    labels = drawn(from_torch(learn, keep, sees="labels"))[0]
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    np.testing.assert_allclose(chances, exponents / exponents.sum(axis=1, keepdims=True), rtol=1e-12)
    np.testing.assert_array_equal(labels, logits.argmax(axis=1))
    weights = from_torch(learn, keep, sees="weights").bind(images(), (3,))
    assert weights.release.access is Access.WHITE_BOX
    # Two filters of four weights and their biases, batch norm with its running numbers and its count, and the rest.
    assert weights.release.shape == (8 + 2 + 4 + 4 + 1 + 24 + 3,)
    binary = from_torch(lambda d, g: nn.Sequential(nn.Flatten(), nn.Linear(9, 1)), keep, sees="probabilities")
    assert 0 < drawn(binary)[0, 0, 0] < 1


def test_weights_are_projected_only_where_they_would_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    from mechanisms.adapters import torch_models

    model = nn.Linear(9, 3)
    held = torch_models.Trained(module=model, words=np.zeros(8, dtype=np.uint32))
    whole = np.concatenate([model.weight.detach().numpy().ravel(), model.bias.detach().numpy()]).astype(np.float64)
    np.testing.assert_array_equal(torch_models.weights_of(held), whole)
    monkeypatch.setattr(torch_models, "MOST_WEIGHTS", 29)
    monkeypatch.setattr(torch_models, "_PROJECTED", 5)
    torch_models._places_and_signs.cache_clear()
    projected = torch_models.weights_of(held)
    places, signs = torch_models._places_and_signs(30)
    torch_models._places_and_signs.cache_clear()
    expected = [sum(whole[i] * signs[i] for i in range(30) if places[i] == place) for place in range(5)]
    np.testing.assert_allclose(projected, expected, rtol=1e-12)


def returning(value: Callable[[nn.Module], Any]) -> Callable[[Any, Any], Any]:
    return lambda dataset, generator: value(nn.Sequential(nn.Flatten(), nn.Linear(9, 3)))


class _Stuck(nn.Sequential):
    def train(self, mode: bool = True) -> Any:
        return super().train(True)


class _Noisy(nn.Module):
    def __init__(self, answer: Callable[[Any], Any]) -> None:
        super().__init__()
        self.layer, self.answer = nn.Linear(9, 3), answer

    def forward(self, x: Any) -> Any:
        return self.answer(self.layer(x.flatten(1)))


WRONG: dict[str, tuple[Callable[[nn.Module], Any], str]] = {
    "nothing": (lambda model: None, "got None; end the function with: return model"),
    "outputs": (lambda model: torch.zeros(4, 3), r"Tensor of shape \(4, 3\); return the network itself"),
    "array": (lambda model: np.zeros(3), r"ndarray of shape \(3,\); return the network itself"),
    "pair": (lambda model: (model, 0.1), "tuple that holds a network and more; return the network alone"),
    "state": (lambda model: model.state_dict(), "OrderedDict of weights; load it into a network"),
    "list": (lambda model: [model, model], r"list of 2; return one network; an ensemble is one nn.Module"),
    "class": (lambda model: nn.Linear, r"the class Linear; call it: return Linear\(\)"),
    "method": (lambda model: model.forward, r"a function \(forward\); return the nn.Module, not a call of it"),
    "file": (lambda model: "model.pt", r"a str \(the name of a file\?\); load the network"),
    "optimiser": (
        lambda model: torch.optim.SGD(model.parameters(), lr=1),
        "the optimiser SGD; return the network that",
    ),
    "elsewhere": (lambda model: model.to("meta"), r'on meta, where cpu is said; end with: return model.to\("cpu"\)'),
    "lazy": (lambda model: nn.Sequential(nn.LazyLinear(3)), "never given its shape; train it, or run one batch"),
    "number": (lambda model: 0.93, "got a float; return the trained nn.Module"),
    "stuck": (lambda model: _Stuck(*model), "in training mode; let train.. and eval.. of its class"),
    "random": (lambda model: _Noisy(F.dropout), "other answers in evaluation mode; give dropout its mode"),
    "softmax": (lambda model: nn.Sequential(*model, nn.Softmax(1)), "add up to 1; take the softmax out of forward"),
    "diverged": (lambda model: _Noisy(lambda z: z * float("nan")), "got NaN or infinity; lower the learning rate"),
    "several": (lambda model: _Noisy(lambda z: (z, z)), r"got a tuple; say how it is asked, as ask="),
    "rows": (
        lambda model: _Noisy(lambda z: z.mean(0)),
        r"of shape \(2, classes\).*got shape \(3,\); let forward answer",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_a_function_should_not_return_is_named_with_what_mends_it(case: str) -> None:
    value, sentence = WRONG[case]
    with pytest.raises(InvalidInputError, match=f"(?s)^Expected .*{sentence}"):
        from_torch(returning(value), keep).bind(images(), (3, 4))


def test_what_unlearn_should_not_return_is_named_too() -> None:
    with pytest.raises(InvalidInputError, match=r"what unlearn returns to be the network: an nn\.Module, got None"):
        from_torch(learn, lambda *_: None).bind(images(), (3,))
    one_row = from_torch(returning(lambda model: _Noisy(lambda z: z.squeeze())), keep)
    with pytest.raises(InvalidInputError, match=r"got shape \(3,\) \(a squeeze\(\) takes the axis of a single record"):
        one_row.bind(images(), (3,))


def test_a_function_that_reads_the_data_set_past_its_parts_is_told_so() -> None:
    with pytest.raises(UserFunctionError, match=r"records come as a torch Subset.*dataset.dataset at dataset.indices"):
        from_torch(lambda dataset, generator: dataset.tensors, keep).bind(images(), (3,))
    with pytest.raises(UserFunctionError, match="learn raised ZeroDivisionError"):
        from_torch(lambda dataset, generator: 1 / 0, keep).bind(images(), (3,))


def test_unseeded_training_stops_after_two_networks() -> None:
    calls = []

    def unseeded(dataset: Any, generator: Any) -> nn.Module:
        calls.append(dataset)
        model = linear(dataset, generator)
        with torch.no_grad():
            model[1].bias += float(np.random.default_rng().normal())
        return model

    with pytest.raises(InvalidInputError, match=r"one network for one random stream.*default_rng\(\) without a seed"):
        audit.run(from_torch(unseeded, keep), images(), forget=[3, 4], claim=CLAIM, trials=40)
    assert len(calls) == 2


def test_a_network_that_is_trained_further_at_each_call_stops_after_two() -> None:
    shared, calls = nn.Sequential(nn.Flatten(), nn.Linear(9, 3)), []

    def further(dataset: Any, generator: Any) -> nn.Module:
        calls.append(dataset)
        return trained(shared, dataset, generator)

    with pytest.raises(InvalidInputError, match=r"trained further; build the network within learn"):
        from_torch(further, keep).bind(images(), (3, 4))
    assert len(calls) == 2


def test_networks_may_share_a_part_that_stays_as_it_is() -> None:
    backbone = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(9))

    def on_top(mode: bool) -> Callable[[Any, Any], nn.Module]:
        def learn(dataset: Any, generator: Any) -> nn.Module:
            backbone.train(mode)
            return trained(nn.Sequential(backbone, nn.Linear(9, 3)), dataset, generator, steps=1)

        return learn

    for weights in backbone.parameters():
        weights.requires_grad_(False)
    with pytest.raises(InvalidInputError, match=r"or a part of it, trained further.*stay as it is, in evaluation mode"):
        from_torch(on_top(True), keep).bind(images(), (3, 4))
    assert drawn(from_torch(on_top(False), keep)).shape == (1, 2, 3)


def test_what_a_network_does_to_its_inputs_stays_with_it() -> None:
    def learn(dataset: Any, generator: Any) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Hardtanh(-0.5, 0.5, inplace=True), nn.Linear(9, 3))

    dataset = images()
    deletion = from_torch(learn, keep).bind(dataset, (3, 4))
    inputs = deletion.stages.observe_fn.asked.batches[0]  # type: ignore[union-attr]
    deletion.sample(World.UNLEARNED, 1, rng=np.random.default_rng(0))
    assert torch.equal(inputs, torch.stack([images()[i][0] for i in (3, 4)]))
    # What is asked is sent to workers without the data set that it was read from.
    assert all(x.untyped_storage().nbytes() == 36 for x, _ in deletion.stages.observe_fn.asked.items)  # type: ignore[union-attr]


def test_a_fixed_seed_stops_after_three() -> None:
    calls = []

    def fixed(dataset: Any, generator: Any) -> nn.Module:
        calls.append(dataset)
        torch.manual_seed(0)
        return trained(network(), dataset, torch.Generator().manual_seed(0))

    with pytest.raises(InvalidInputError, match=r"two different streams; take fixed seeds out.*manual_seed\(0\)"):
        from_torch(fixed, keep).bind(images(), (3, 4))
    assert len(calls) == 3
    # Learning that is not random may be unlearned with noise.
    assert drawn(from_torch(fixed, tune)).shape == (1, 2, 3)


def rounded(dataset: Any, generator: Any) -> nn.Module:
    """Train with last digits that differ from run to run, as kernels of a GPU do."""
    model = memorised(dataset, generator)
    with torch.no_grad():
        model[1].weight *= torch.from_numpy(1 + 1e-6 * np.random.default_rng().random((3, 9))).float()
    return model


def test_last_digits_that_differ_need_a_tolerance() -> None:
    with pytest.raises(InvalidInputError, match=r"Where only digits differ.*from_torch\(..., replay=(1e-05|0\.0001)\)"):
        from_torch(rounded, keep).bind(images(), (3, 4))
    result = audit.run(from_torch(rounded, keep, replay=1e-4), images(9), forget=[3], claim=CLAIM, trials=20)
    assert result.plan.replay == 1e-4
    (replay,) = (control for control in result.controls if control.name == "replay")
    assert replay.as_expected
    assert "at most 0.0001 of the largest number" in replay.message
    assert result.findings[0].reason is None


def test_two_services_are_compared_with_the_tolerance_that_they_declare() -> None:
    from audit.running.runner import run_services

    services = {name: from_torch(rounded, function, replay=1e-4) for name, function in (("a", keep), ("b", tune))}
    plan = audit.AuditPlan(claims=(CLAIM,), forget=((3, 4),), trials=20, attacks=("lda",), control_trials=20)
    # Retraining, and nothing after it, is alike.
    same = {name: from_torch(rounded, keep, replay=1e-4, reference=Reference.RETRAIN_ONLY) for name in "ab"}
    claim = Claim(guarantee=EpsilonDelta(epsilon=0.5, delta=1e-5), reference=Reference.RETRAIN_ONLY)
    first, second = run_services(same, images(9), audit.AuditPlan(**{**vars(plan), "claims": (claim,)}))
    assert first.plan.replay == second.plan.replay == 1e-4
    with pytest.raises(InvalidInputError, match="to retrain like the first service"):
        run_services(services, images(9), plan)


class _Augmented(torch.utils.data.Dataset[Any]):
    """Draws from all three global generators whenever it is read, in whatever process."""

    def __init__(self) -> None:
        self.held = images()

    def __len__(self) -> int:
        return len(self.held)

    def __getitem__(self, i: int) -> Any:
        x, y = self.held[i]
        return x + float(torch.rand(1)) + np.random.rand() + random.random(), y


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_workers_of_a_loader_are_seeded_by_the_trial() -> None:
    def with_workers(dataset: Any, generator: Any) -> nn.Module:
        loader = DataLoader(dataset, batch_size=6, num_workers=2, generator=generator)
        model = nn.Linear(9, 3)
        with torch.no_grad():
            model.bias += sum(x.sum() for x, _ in loader)
        return nn.Sequential(nn.Flatten(), model)

    deletion = from_torch(with_workers, keep).bind(_Augmented(), (3, 4))
    release = deletion.sample(World.UNLEARNED, 1, rng=np.random.default_rng(5))
    np.testing.assert_array_equal(release, deletion.sample(World.UNLEARNED, 1, rng=np.random.default_rng(5)))
    assert not np.array_equal(release, deletion.sample(World.UNLEARNED, 1, rng=np.random.default_rng(6)))


def test_a_deletion_reaches_another_process_with_its_functions() -> None:
    noise = torch.ones(3)

    def closure(model: nn.Module, retained: Any, forget: Any, generator: Any) -> nn.Module:
        with torch.no_grad():
            model[4].bias += noise
        return model

    deletion = from_torch(learn, closure).bind(images(), (3, 4))
    copied = copy_of(deletion)
    assert not isinstance(copied, type(None))
    for world in WORLDS:
        np.testing.assert_array_equal(
            deletion.sample(world, 1, rng=np.random.default_rng(7)),
            copied.sample(world, 1, rng=np.random.default_rng(7)),
        )


@pytest.mark.slow
@pytest.mark.fresh_process
def test_workers_give_what_one_process_gives() -> None:
    mechanism = from_torch(learn, tune)
    one, two = (
        audit.run(mechanism, images(), forget=[3, 4], claim=CLAIM, trials=40, engine=audit.Engine(n_jobs=n))
        for n in (1, 2)
    )
    assert one.findings == two.findings


def memorised(part: Any, generator: Any) -> nn.Module:
    """Three steps on all records at once, which is as quick as training gets."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(9, 3))
    x, y = (torch.stack([part[i][k] for i in range(len(part))]) for k in (0, 1))
    for _ in range(3):
        gradients = torch.autograd.grad(F.cross_entropy(model(x), y), list(model.parameters()))
        with torch.no_grad():
            for weights, gradient in zip(model.parameters(), gradients, strict=True):
                weights -= 4 * gradient
    return model


@pytest.mark.slow
def test_a_deletion_that_is_ignored_is_refuted_and_retraining_is_not() -> None:
    def retrain(model: nn.Module, retained: Any, forget: Any, generator: Any) -> nn.Module:
        return memorised(retained, generator)

    verdicts = []
    for unlearn in (keep, retrain):
        mechanism = from_torch(memorised, unlearn)
        result = audit.run(mechanism, images(9), forget=range(4), claim=CLAIM, trials=60, seed=3)
        assert result.data.n_records == 9
        verdicts.append(result.verdict.value)
    assert verdicts == ["refuted", "not_refuted"]


def test_what_networks_are_good_for_is_printed_and_decides_nothing() -> None:
    asked: list[nn.Module] = []

    def accuracy(model: nn.Module) -> float:
        asked.append(model)
        assert not model.training
        assert not torch.is_grad_enabled()
        return 0.25 if len(asked) % 2 else 0.75

    mechanism = from_torch(memorised, keep, evaluate=accuracy, reference=Reference.RETRAIN_ONLY)
    claim = Claim(guarantee=CLAIM.guarantee, reference=Reference.RETRAIN_ONLY)
    result = audit.run(mechanism, images(9), forget=range(4), claim=claim, trials=20, attacks=["lda"])
    (control,) = (control for control in result.controls if control.name == "utility")
    assert "10 models a world are worth 0.5 ± 0.26 when unlearned and 0.5 ± 0.26 when retrained" in control.message
    assert control.as_expected
    assert len(asked) == 20
    assert all(model.training for model in asked)
    without = from_torch(memorised, keep).bind(images(9), (0,))
    assert without.utility(World.UNLEARNED, 1, rng=np.random.default_rng(0)) is None
    wrong = from_torch(memorised, keep, evaluate=lambda model: float("nan")).bind(images(9), (0,))
    with pytest.raises(InvalidInputError, match="what evaluate returns to be one finite number, got NaN"):
        wrong.utility(World.UNLEARNED, 1, rng=np.random.default_rng(0))


def test_a_whole_class_of_many_is_deleted() -> None:
    dataset, class_of = images(180, classes=60), [i for i in range(180) if i % 60 == 7]

    def sized(outputs: Callable[[Any], int]) -> Callable[[Any, Any], nn.Module]:
        def learn(part: Any, generator: Any) -> nn.Module:
            return nn.Sequential(nn.Flatten(), nn.Linear(9, outputs(part)))

        return learn

    deletion = from_torch(sized(lambda part: 60), keep).bind(dataset, tuple(class_of))
    assert deletion.sample(World.RETRAINED, 1, rng=np.random.default_rng(0)).shape == (1, 3, 60)
    by_data = from_torch(sized(lambda part: len({int(y) for _, y in part})), keep).bind(dataset, tuple(class_of))
    with pytest.raises(InvalidInputError, match=r"of 60 outputs a record.*got 59; build it with one size"):
        by_data.sample(World.RETRAINED, 1, rng=np.random.default_rng(0))


def test_an_attacker_asks_about_the_deleted_records_and_then_the_probe() -> None:
    probe = TensorDataset(torch.ones(2, 1, 3, 3), torch.zeros(2))
    deletion = from_torch(learn, keep, probe=probe).bind(images(), (4, 3))
    assert deletion.release.shape == (4, 3)
    release = deletion.sample(World.UNLEARNED, 1, rng=np.random.default_rng(1))[0]
    np.testing.assert_array_equal(release[2], release[3])
    turned = from_torch(learn, keep, probe=probe).bind(images(), (3, 4))
    # Rows follow the order of the forget set.
    np.testing.assert_allclose(turned.sample(World.UNLEARNED, 1, rng=np.random.default_rng(1))[0, :2], release[1::-1])


def test_records_of_any_form_are_asked_by_the_users_own_way() -> None:
    records = [{"image": x, "label": int(y)} for x, y in images()]

    def learn(part: Any, generator: Any) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(9, 3))

    with pytest.raises(InvalidInputError, match=r"got a dict; say how a network is asked"):
        from_torch(learn, keep).bind(TorchRecords(dataset=records), (3,))
    mechanism = from_torch(learn, keep, ask=lambda model, items: model(torch.stack([item["image"] for item in items])))
    assert mechanism.bind(TorchRecords(dataset=records), (3, 4)).sample(
        World.UNLEARNED, 1, rng=np.random.default_rng(0)
    ).shape == (1, 2, 3)


def test_images_of_several_sizes_are_asked_one_by_one() -> None:
    records = [(torch.ones(1, 3, width), 0) for width in (3, 4, 5)]

    def learn(part: Any, generator: Any) -> nn.Module:
        return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1, 2))

    deletion = from_torch(learn, keep).bind(records, (0, 2))
    assert deletion.sample(World.RETRAINED, 1, rng=np.random.default_rng(0)).shape == (1, 2, 2)


def test_options_that_are_none_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for options, sentence in (
        ({"sees": "loss"}, "sees to be one of logits, probabilities, labels, weights, got loss"),
        ({"replay": 2}, r'replay to be "exact", "off" or a number in \(0, 1\)'),
        ({"device": "gpu"}, "device to be a device of torch"),
        ({"evaluate": 0.9}, "evaluate to be a function"),
    ):
        with pytest.raises(InvalidInputError, match=sentence):
            from_torch(learn, keep, **options)  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match=r"learn to be a function, got a Linear; pass a function: learn\("):
        from_torch(nn.Linear(2, 2), keep)
    if not torch.cuda.is_available():
        with pytest.raises(InvalidInputError, match='no GPU is seen: use device="cpu"'):
            from_torch(learn, keep, device="cuda")
    monkeypatch.setattr("mechanisms.adapters.torch.find_spec", lambda name: None)
    with pytest.raises(InvalidInputError, match=r"no torch; run pip install 'unlearn-audit\[torch\]'"):
        from_torch(learn, keep)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_networks_on_a_gpu_replay_bit_for_bit() -> None:
    def on_gpu(dataset: Any, generator: Any) -> nn.Module:
        model = network().cuda()
        optimiser = torch.optim.SGD(model.parameters(), lr=0.5)
        for x, y in DataLoader(dataset, batch_size=4, shuffle=True, generator=generator):
            optimiser.zero_grad()
            F.cross_entropy(model(x.cuda()), y.cuda()).backward()
            optimiser.step()
        return model

    releases = [drawn(from_torch(on_gpu, keep, device="cuda")) for _ in range(2)]
    np.testing.assert_array_equal(*releases)
    with pytest.raises(
        InvalidInputError, match=r'on cuda:0, where cpu is said; end with: return model.to\("cpu"\), or'
    ):
        from_torch(on_gpu, keep).bind(images(), (3,))


def test_torch_is_imported_when_it_is_used() -> None:
    import subprocess

    code = "import sys; from mechanisms import TorchRecords, from_torch; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_log_odds_of_a_records_class_need_its_class_alone() -> None:
    from attacks.outputs.statistics import target_statistics
    from attacks.protocol import trouble
    from attacks.registry import attacks_named
    from audit.running.binding import make_context

    dataset, (attack,) = images(), attacks_named("u_lira")
    for sees, by_hand in (
        ("logits", lambda row, own: row[own] - np.log(np.sum(np.exp(np.delete(row, own))))),
        ("probabilities", lambda row, own: np.log(row[own]) - np.log(1 - row[own])),
    ):
        deletion = from_torch(learn, keep, sees=sees).bind(dataset, (4, 5))
        context = make_context(deletion, TorchRecords(dataset=dataset), (4, 5))
        assert trouble(attack, context, n_fit=10) is None
        releases = deletion.sample(World.UNLEARNED, 2, rng=np.random.default_rng(0))
        expected = [[by_hand(release[i], own) for i, own in enumerate((1, 2))] for release in releases]
        np.testing.assert_allclose(target_statistics(releases, context, "u_lira"), expected, rtol=1e-9)
    # Records without a class, as inputs alone, have none.
    unlabelled = TensorDataset(dataset.tensors[0])
    deletion = from_torch(lambda d, g: nn.Sequential(nn.Flatten(), nn.Linear(9, 3)), keep).bind(unlabelled, (4,))
    context = make_context(deletion, TorchRecords(dataset=unlabelled), (4,))
    assert "u_lira needs records that are matrices" in str(trouble(attack, context, n_fit=10))
