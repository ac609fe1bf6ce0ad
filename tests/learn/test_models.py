"""The contract, for every registered model alike."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from population import noise_session

from ndx_synapsnet.learn.decoders import DECODERS
from ndx_synapsnet.learn.forecaster import Forecaster, Solver
from ndx_synapsnet.learn.linear import REFERENCES
from ndx_synapsnet.learn.preparation import prepare
from ndx_synapsnet.learn.synapsnet import SynapsNet
from ndx_synapsnet.learn.synapsnet_config import SynapsNetConfig
from ndx_synapsnet.learn.train import TrainConfig, train

MODELS = {
    **{
        f"synapsnet-{name}": lambda windows, name=name: SynapsNet(windows, SynapsNetConfig(decoder=name))
        for name in DECODERS
    },
    "synapsnet-transformer-2": lambda windows: SynapsNet(windows, SynapsNetConfig(decoder="transformer", layers=2)),
    **REFERENCES,
}


@pytest.fixture(scope="module")
def windows():
    """Two sessions that differ in size and behaviours."""
    return prepare([noise_session(6, 300, 2, names=("running", "pupil")), noise_session(4, 200, 1, seed=1)])


@pytest.fixture(params=MODELS)
def model(request, windows) -> Forecaster:
    return MODELS[request.param](windows)


def fitted(model, windows):
    train(model, windows, TrainConfig(epochs=1))
    return model


def test_shapes(model, windows):
    fitted(model, windows)
    for j, w in enumerate(windows):
        batch = w.batch(w.targets["test"][:3])
        forecast = model.predict(batch)
        assert forecast.shape == batch.target.shape == (3, w.n_neurons)
        assert forecast.dtype == batch.target.dtype
        assert torch.isfinite(forecast).all()
        torch.testing.assert_close(model(batch), forecast)
        connectivity = model.connectivity(j)
        assert connectivity is None or (
            connectivity.shape == (w.n_neurons, w.n_neurons) and connectivity.dtype == np.float32
        )


def test_either_a_loss_with_a_gradient_in_every_parameter_or_a_solution_in_buffers(model, windows):
    if isinstance(model, Solver):
        assert not list(model.parameters())
        return
    sum(model.loss(w.batch(w.targets["train"][:8])) for w in windows).backward()
    missing = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert missing == []


def test_evaluation_repeats_itself_and_looks_at_nothing_but_the_past(model, windows):
    fitted(model, windows)
    w = windows[0]
    batch = w.batch(w.targets["test"][:4])
    forecast = model.predict(batch)
    assert torch.equal(model.predict(batch), forecast)
    one = w.batch(w.targets["test"][2:3])
    torch.testing.assert_close(model.predict(one)[0], forecast[2])  # windows do not see each other
    one.target.fill_(torch.nan)
    torch.testing.assert_close(model.predict(one)[0], forecast[2])


def test_state_travels(model, windows, request):
    fitted(model, windows)
    other = MODELS[request.node.callspec.params["model"]](windows)
    other.load_state_dict({name: value.clone() for name, value in model.state_dict().items()})
    other.eval()
    for j, w in enumerate(windows):
        batch = w.batch(w.targets["test"])
        assert torch.equal(other.predict(batch), model.predict(batch))
        np.testing.assert_equal(other.connectivity(j), model.connectivity(j))


def test_repr(model):
    assert type(model).__name__ in repr(model)


def test_training_twice_gives_the_same(windows, request, model):
    again = MODELS[request.node.callspec.params["model"]](windows)
    for name, value in fitted(model, windows).state_dict().items():
        assert torch.equal(fitted(again, windows).state_dict()[name], value) or isinstance(model, Solver)
        break
