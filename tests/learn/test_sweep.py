"""The fused pass against the decoder itself, differentiated by torch, and against itself in another order."""

from __future__ import annotations

import subprocess
from dataclasses import replace

import pytest
import torch
from torch import nn

from ndx_synapsnet.learn.decoders import DECODERS, kernels, native
from ndx_synapsnet.learn.decoders.decoder import DecoderShape
from ndx_synapsnet.learn.decoders.kernels import Pass
from ndx_synapsnet.learn.decoders.sweep import engine_of, sweep_loss, sweep_predict, sweeps

EXACT = {"rtol": 1e-10, "atol": 1e-12}
CELLS = ("gru", "rnn", "lstm")


@pytest.fixture(scope="module", autouse=True)
def compiled(tmp_path_factory):
    """A cache of compiled libraries for these tests only, and one thread, which leaves none waiting."""
    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        native._folder.cache_clear()
        native._library.cache_clear()
        torch.set_num_threads(1)
        yield
        torch.set_num_threads(threads)
    native._folder.cache_clear()
    native._library.cache_clear()


@pytest.fixture(params=["torch", "native"])
def engine(request, monkeypatch):
    """Each engine; the first in blocks of two or three neurons."""
    if request.param == "native" and not native._compilers():
        pytest.skip("there is no C++ compiler on this machine")
    monkeypatch.setitem(kernels.COLUMNS, "cpu", 12)
    return request.param


class Case:
    """A decoder and random inputs, all of which want gradients."""

    def __init__(self, name="gru", c=2, k=2, d=3, h=6, n=5, b=5, s=4, targets=1, dropout=0.0, dtype=torch.float64):
        generator = torch.Generator().manual_seed(0)

        def random(*shape: int) -> torch.Tensor:
            return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype).requires_grad_()

        with torch.random.fork_rng():
            torch.manual_seed(1)
            self.decoder = DECODERS[name](DecoderShape(c, k, d, h, dropout=dropout)).to(dtype)
        self.series = [random(n, s, b) for _ in range(c)]
        self.behavior, self.embedding, self.target = random(s, b, k), random(n, d), random(n, targets, b)

    @property
    def inputs(self):
        return (self.decoder, self.series, self.behavior, self.embedding, self.target)

    @property
    def leaves(self):
        tensors = [*self.series, self.behavior, self.embedding, self.target, *self.decoder.parameters()]
        return [each for each in tensors if each.numel()]

    def gradients(self, loss):
        return torch.autograd.grad(loss, self.leaves, allow_unused=True, materialize_grads=True)

    def windows(self):
        """The decoder's own inputs: (B, W, N, C), (B, W, K), (N, D)."""
        return torch.stack(self.series, -1).permute(2, 1, 0, 3), self.behavior.transpose(0, 1), self.embedding

    def plain(self, mask=None, weight=None):
        """Loss and forecasts (N, L, B) of a loop over the steps, with dropout's factors `mask` (L, H, N, B)."""
        forecasts, state = [], None
        steps, targets = self.series[0].shape[1], self.target.shape[1]
        for t, inputs in enumerate(self.decoder.input.steps(*self.windows())):
            state = state or self.decoder.start(inputs)
            state = self.decoder.step(inputs, self.decoder.recurrent(state[0]), state)
            if t >= steps - targets:
                factor = 1 if mask is None else mask[t - steps + targets].permute(2, 1, 0)
                forecasts.append(self.decoder.readout(state[0] * factor)[..., 0].T)
        forecast = torch.stack(forecasts, 1)
        error = (forecast - self.target) ** 2
        if weight is None:
            return error.mean(), forecast
        return (error * weight).sum() / (weight.sum() * len(error)), forecast


INPUTS = [{}, {"c": 1, "k": 0, "d": 0}, {"c": 1, "d": 0, "h": 8}, {"k": 0, "n": 7}]


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("sizes", INPUTS, ids=str)
def test_windows_equal_the_decoder(name, sizes, engine):
    case = Case(name, **sizes)
    forecast = case.decoder(*case.windows())  # (B, N)
    expected = nn.functional.mse_loss(forecast, case.target[:, 0].T)
    loss = sweep_loss(*case.inputs, engine=engine)
    torch.testing.assert_close(loss, expected, **EXACT)
    for found, wanted in zip(case.gradients(loss), case.gradients(expected), strict=True):
        torch.testing.assert_close(found, wanted, **EXACT)
    predicted = sweep_predict(*case.inputs[:4], engine=engine)
    torch.testing.assert_close(predicted[:, 0].T, forecast.detach(), **EXACT)


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("weighted", [False, True])
def test_stretches_equal_a_loop_over_the_steps(name, weighted, engine):
    case = Case(name, s=37, targets=33)  # more steps than are summed together
    weight = None
    if weighted:
        weight = torch.rand(33, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
        weight[20:, 3] = 0
    expected, forecast = case.plain(weight=weight)
    loss = sweep_loss(*case.inputs, weight=weight, engine=engine)
    torch.testing.assert_close(loss, expected, **EXACT)
    for found, wanted in zip(case.gradients(loss), case.gradients(expected), strict=True):
        torch.testing.assert_close(found, wanted, **EXACT)
    predicted = sweep_predict(*case.inputs[:4], 33, engine=engine)
    torch.testing.assert_close(predicted, forecast.detach(), **EXACT)


@pytest.mark.parametrize("sizes", [{"b": 1}, {"b": 16}, {"b": 17}, {"b": 70}, {"n": 1}, {"s": 1}, {"h": 1}], ids=str)
def test_any_size(sizes, engine):
    case = Case(**{"c": 1, "k": 0, "n": 3, "s": 3, **sizes})
    expected, _ = case.plain()
    loss = sweep_loss(*case.inputs, engine=engine)
    torch.testing.assert_close(loss, expected, **EXACT)
    for found, wanted in zip(case.gradients(loss), case.gradients(expected), strict=True):
        torch.testing.assert_close(found, wanted, **EXACT)


@pytest.mark.parametrize("name", CELLS)
def test_single_precision(name, engine):
    case, exact = Case(name, h=40, b=32, dtype=torch.float32), Case(name, h=40, b=32)
    with torch.no_grad():
        for rough, fine in zip(case.leaves, exact.leaves, strict=True):
            fine.copy_(rough)
    gradients = case.gradients(sweep_loss(*case.inputs, engine=engine))
    for found, wanted in zip(gradients, exact.gradients(exact.plain()[0]), strict=True):
        assert float((found - wanted).norm() / wanted.norm()) < 2e-6


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", CELLS)
def test_saturated_gates(name, dtype, engine):
    """Inputs so large that exponentials overflow, or nearly, on either side."""
    case = Case(name, k=0, c=1, dtype=dtype)
    with torch.no_grad():
        case.series[0].copy_(torch.linspace(-3_000, 3_000, case.series[0].numel()).view_as(case.series[0]))
    exact = {"rtol": 1e-5, "atol": 1e-6} if dtype == torch.float32 else EXACT
    predicted = sweep_predict(*case.inputs[:4], engine=engine)
    torch.testing.assert_close(predicted, case.plain()[1].detach(), **exact)


def test_nan_comes_through(engine):
    case = Case(k=0, c=1)
    with torch.no_grad():
        case.decoder.recurrent.weight[0, 0] = torch.nan
    assert torch.isnan(sweep_loss(*case.inputs, engine=engine))
    assert torch.isnan(sweep_predict(*case.inputs[:4], engine=engine)).all()


def seeded(case, seed=5):
    """The pass of a case, for its dropout factors (L, H, N, B)."""
    constant, (n, targets, b) = case.embedding, case.target.shape
    p = Pass(
        "gru", constant, None, tuple(case.series), constant, constant, constant, case.decoder.readout.weight[0],
        constant, case.target, torch.ones(targets, b), case.decoder.dropout.p, seed,
    )  # fmt: skip
    return torch.stack([kernels.dropout_mask(p, slice(0, n), t) for t in range(targets)])


@pytest.mark.parametrize("name", CELLS)
def test_dropout_is_a_fixed_mask_on_the_states_read_out(name, engine):
    case = Case(name, dropout=0.4, targets=3)
    mask = seeded(case)
    assert set(mask.unique().tolist()) == {0, 1 / 0.6}
    expected, _ = case.plain(mask)
    loss = sweep_loss(*case.inputs, seed=5, engine=engine)
    torch.testing.assert_close(loss, expected, **EXACT)
    for found, wanted in zip(case.gradients(loss), case.gradients(expected), strict=True):
        torch.testing.assert_close(found, wanted, **EXACT)


def test_dropouts_gradient_by_finite_differences(engine):
    case = Case(dropout=0.4)
    leaves = case.leaves
    directions = [torch.randn(x.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(3)) for x in leaves]
    gradients = case.gradients(sweep_loss(*case.inputs, seed=5, engine=engine))
    losses = []
    with torch.no_grad():
        for step in (1e-5, -2e-5):  # there, and back to the other side
            for leaf, direction in zip(leaves, directions, strict=True):
                leaf += step * direction
            losses.append(float(sweep_loss(*case.inputs, seed=5, engine=engine)))
    slope = sum(float((g * d).sum()) for g, d in zip(gradients, directions, strict=True))
    assert (losses[0] - losses[1]) / 2e-5 == pytest.approx(slope, rel=1e-7)


def test_dropout_drops_its_share_anew_each_time_and_in_training_only(engine):
    case = Case(dropout=0.3, n=40, b=30)
    masks = [seeded(case, seed) for seed in (0, 1, 2**32 - 1)]
    for mask in masks:
        assert float((mask == 0).double().mean()) == pytest.approx(0.3, abs=0.02)
        for axis in range(1, 4):  # no row or column is dropped whole, or never
            share = (mask == 0).double().mean([a for a in range(4) if a != axis])
            assert 0.1 < float(share.min()) < float(share.max()) < 0.55
    assert float(torch.corrcoef(torch.stack([m.flatten() for m in masks])).triu(1).abs().max()) < 0.04
    torch.manual_seed(0)
    first, second = (float(sweep_loss(*case.inputs, engine=engine).detach()) for _ in range(2))
    torch.manual_seed(0)
    assert float(sweep_loss(*case.inputs, engine=engine).detach()) == first != second
    case.decoder.eval()
    torch.testing.assert_close(sweep_loss(*case.inputs, engine=engine), case.plain()[0], **EXACT)


def test_the_gradient_is_scaled_and_left_out_where_not_wanted(engine):
    case = Case()
    expected = case.gradients(3 * case.plain()[0])
    for found, wanted in zip(case.gradients(3 * sweep_loss(*case.inputs, engine=engine)), expected, strict=True):
        torch.testing.assert_close(found, wanted, **EXACT)
    case.series[0].requires_grad_(False)
    case.target.requires_grad_(False)
    loss = sweep_loss(*case.inputs, engine=engine)
    (current,) = torch.autograd.grad(loss, case.series[1])
    torch.testing.assert_close(current, expected[1] / 3, **EXACT)
    with torch.no_grad():
        torch.testing.assert_close(sweep_loss(*case.inputs, engine=engine), loss.detach(), **EXACT)


def test_blocks_and_threads_change_nothing(monkeypatch, engine):
    case = Case(n=11, dropout=0.2)
    results = []
    for columns, threads in ((10_000, 1), (20, 2), (1, 3)):
        monkeypatch.setitem(kernels.COLUMNS, "cpu", columns)
        torch.set_num_threads(threads)
        loss = sweep_loss(*case.inputs, seed=1, engine=engine)
        results.append((loss, *case.gradients(loss)))
    torch.set_num_threads(1)
    for other in results[1:]:
        for found, wanted in zip(other, results[0], strict=True):
            torch.testing.assert_close(found, wanted, **EXACT)


def test_the_same_twice_to_the_bit(engine):
    case = Case(n=11, h=16, b=40, dtype=torch.float32, dropout=0.2)
    first, again = (case.gradients(sweep_loss(*case.inputs, seed=1, engine=engine)) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))


def made(n: int, b: int = 32) -> Pass:
    """A pass of the paper's size."""
    ones = torch.ones
    return Pass(
        "gru", ones(n, 120), ones(5, 120, b), (ones(n, 5, b), ones(n, 5, b)), ones(120, 2), ones(120, 40), ones(120),
        ones(40), ones(1)[0], ones(n, 1, b), ones(1, b),
    )  # fmt: skip


def test_memory_does_not_grow_with_neurons():
    for n in (20, 1_000):
        sizes = [block.stop - block.start for block in kernels.blocks(made(n))]
        assert sum(sizes) == n
        assert max(sizes) * 32 <= kernels.COLUMNS["cpu"]
        assert max(sizes) - min(sizes) <= 1
    assert len(kernels.blocks(made(3, 5_000))) == 3
    if native._compilers():
        assert native.workspace(made(20)) == native.workspace(made(1_000)) < 4e6


def test_what_would_train_is_told(monkeypatch):
    decoder = Case().decoder
    assert engine_of(decoder) == "native" or not native._compilers()
    monkeypatch.setattr(native, "_compilers", lambda: ())
    assert engine_of(decoder) == "torch (there is no C++ compiler (c++, g++, clang++, or what CXX names))"
    assert engine_of(DECODERS["transformer"](DecoderShape(2, 0, 3, 8))) == "torch (the decoder has no fused pass)"


def test_only_recurrent_decoders():
    assert sweeps(Case().decoder)
    other = DECODERS["transformer"](DecoderShape(2, 2, 3, 8))
    assert not sweeps(other)
    with pytest.raises(ValueError, match="Transformer is not among GRU, RNN, LSTM"):
        sweep_loss(other, *Case(h=8).inputs[1:])


def test_wrong_shapes():
    case = Case()
    decoder, series, behavior, embedding, target = case.inputs
    for wrong in (
        (series[:1], behavior, embedding, target),
        ([series[0], series[1][:, 1:]], behavior, embedding, target),
        (series, behavior[1:], embedding, target),
        (series, behavior, embedding[1:], target),
        (series, behavior, embedding, target.expand(5, 5, 5)),
        (series, behavior, embedding, target[:, :0]),
    ):
        with pytest.raises(ValueError, match="expected"):
            sweep_loss(decoder, *wrong)
    with pytest.raises(ValueError, match=r"weight is \(5, 1\), expected \(L, B\) = \(1, 5\)"):
        sweep_loss(*case.inputs, weight=torch.ones(5, 1))


@pytest.fixture
def forgetful():
    """Neither compiler nor libraries are remembered, before and after."""
    for each in (native._compilers, native._library):
        each.cache_clear()
    yield
    for each in (native._compilers, native._library):
        each.cache_clear()


def test_without_a_compiler(monkeypatch, forgetful):
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", "")
    case = Case()
    torch.testing.assert_close(sweep_loss(*case.inputs), case.plain()[0], **EXACT)
    with pytest.raises(RuntimeError, match="native engine cannot run: there is no C"):
        sweep_loss(*case.inputs, engine="native")


def test_a_compiler_that_fails_is_asked_once(monkeypatch, forgetful):
    if not native._compilers():
        pytest.skip("there is no C++ compiler on this machine")
    asked = []

    def fail(command):
        asked.append(command)
        return 1, "internal compiler error\n"

    monkeypatch.setattr(native, "_call", fail)
    case = Case(c=3)
    for _ in range(2):
        torch.testing.assert_close(sweep_loss(*case.inputs), case.plain()[0], **EXACT)
    assert len(asked) == len(native._compilers())
    with pytest.raises(RuntimeError, match="compiling it failed: internal compiler error"):
        sweep_loss(*case.inputs, engine="native")


def test_a_library_is_compiled_once_a_machine(monkeypatch, forgetful):
    if not native._compilers():
        pytest.skip("there is no C++ compiler on this machine")
    case = Case()
    before = sweep_loss(*case.inputs, engine="native")
    native._library.cache_clear()
    monkeypatch.setattr(subprocess, "run", None)
    assert torch.equal(sweep_loss(*case.inputs, engine="native"), before)
    assert native._folder().stat().st_mode & 0o777 == 0o700


def test_where_the_cache_cannot_be_written(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    native._folder.cache_clear()
    try:
        folder = native._folder()
        assert folder.is_dir()
        assert tmp_path not in folder.parents
        folder.rmdir()
    finally:
        native._folder.cache_clear()


def test_other_numbers_and_devices_run_elsewhere():
    p = made(2)
    assert "no arithmetic for torch.float16" in native.problem(replace(p, target=p.target.half()))
    assert "not on meta" in native.problem(replace(p, target=p.target.to("meta")))


def test_no_library_is_loaded_from_a_folder_that_others_write_to(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    mine = native._folder.__wrapped__()
    assert mine == tmp_path / "ndx-synapsnet"
    mine.chmod(0o777)
    elsewhere = native._folder.__wrapped__()
    assert elsewhere != mine
    elsewhere.rmdir()
