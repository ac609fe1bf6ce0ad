"""A small model with all that a checkpoint must keep: matrices of each session's own, shared parameters, dropout."""

from __future__ import annotations

import torch
from torch import nn

from ndx_synapsnet.learn.forecaster import Forecaster


class Coupled(Forecaster):
    """A matrix a session, and a nonlinearity that all sessions share."""

    def __init__(self, windows, seed=0, drop=0.1, penalty=0.0):
        super().__init__()
        self.penalty = penalty
        with torch.random.fork_rng([]):
            torch.manual_seed(seed)
            self.matrices = nn.ParameterList(nn.Parameter(0.1 * torch.randn(w.n_neurons, w.n_neurons)) for w in windows)
            self.shared = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Dropout(drop), nn.Linear(8, 1))
        self.to(windows[0].device, windows[0].dtype)

    def predict(self, batch):
        last = batch.activity[:, :, -1]
        inputs = torch.stack([last, last @ self.matrices[batch.session].T], dim=-1)
        return self.shared(inputs)[..., 0]

    def loss(self, batch):
        return super().loss(batch) + self.penalty * self.matrices[batch.session].norm()

    def session_parameters(self, session):
        return [self.matrices[session]]

    def extra_repr(self):
        return f"penalty={self.penalty}"
