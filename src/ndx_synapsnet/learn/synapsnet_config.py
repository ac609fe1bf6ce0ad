"""The settings of SynapsNet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .decoders.settings import check_decoder


@dataclass(frozen=True)
class SynapsNetConfig:
    """The model; the defaults are the paper's (appendix A.1), but for the diagonal."""

    decoder: str = "gru"
    """A key of `decoders.DECODERS`."""
    hidden: int = 40
    """Hidden units of the decoder; a transformer's width."""
    layers: int = 1
    """Of a transformer; the recurrent decoders have one."""
    heads: int = 4
    """Of a transformer's attention."""
    embedding: int = 32
    """D, length of a neuron's embedding."""
    dropout: float = 0.1
    """On the decoder's last hidden state before the readout, the one place between layers of the paper's network;
    in a transformer at the usual places."""
    penalty: Literal["frobenius", "frobenius_squared", "l1"] = "frobenius"
    """What `penalty_weight` multiplies, of the batch's own matrix A: its Frobenius norm, as the paper's formula reads;
    the square of it; or the sum of a target's absolute weights, averaged over targets as the error is, by a proximal
    step after Adam's that sets small weights to exactly 0."""
    penalty_weight: float = 1e-3
    """λ. The error is a mean over neurons and the Frobenius norm is not: the same λ weighs more on more neurons."""
    diagonal: Literal["mask", "keep"] = "mask"
    """Whether A_ii is held at 0 or learned. The paper sums over all neurons (``keep``); a free diagonal is a second
    path for a neuron's own history. Without previous activity it is always held at 0, or it would leak it back."""
    context: Literal["window", "stream"] = "window"
    """``window``: each forecast sees exactly W samples (paper). ``stream``: the recurrence runs on along stretches of
    neighbouring targets, after W - 1 samples of warm-up: one step a sample instead of W, and all but a stretch's first
    forecast see more than W samples. The model is trained and forecasts in the same context."""
    stretch: int = 32
    """L, targets in a stretch of ``context="stream"``."""
    skip_history: bool = False
    """Add to each forecast a linear function of the neuron's own W samples, which starts as its AR(W) fit: the decoder
    then learns what that leaves."""
    skip_current: bool = False
    """Add the last input current to each forecast with gain 1. This fixes the sign and scale of A, which is otherwise
    free (see `SynapsNet.connectivity`)."""
    drive: bool = False
    """Start as the linear model with latent shared drive (`drive.fit_drive`), and learn what it leaves: A, the own
    history and a current C f + D b + c, with the drive f and behaviour b, start from it, the decoder's readout at 0.
    Needs `skip_history`, `skip_current`, a masked diagonal and all inputs."""
    connectivity: Literal["learned", "fixed"] = "learned"
    """``learned``: A is trained, with the penalty. ``fixed``: it stays as the linear model with `drive` has it, a
    posterior mean, and so do C, D and c; without a penalty. Trained, they follow behaviour that is of one part of a
    recording only."""
    use_embedding: bool = True
    """Ablation of the neuron embeddings (paper, Table 2)."""
    use_activity: bool = True
    """Ablation of each neuron's own previous activity."""
    use_connectivity: bool = True
    """Ablation of the input current."""
    use_behavior: bool = True
    """Ablation of behaviour."""

    def __post_init__(self) -> None:
        check_decoder(self)
        if self.penalty not in ("frobenius", "frobenius_squared", "l1"):
            raise ValueError(f"penalty is {self.penalty!r}, expected 'frobenius', 'frobenius_squared' or 'l1'")
        if not 0 <= self.penalty_weight < float("inf"):
            raise ValueError(f"penalty_weight is {self.penalty_weight}, expected 0 or more")
        if self.diagonal not in ("mask", "keep"):
            raise ValueError(f"diagonal is {self.diagonal!r}, expected 'mask' or 'keep'")
        if self.skip_history and not self.use_activity:
            raise ValueError("skip_history would bring back the previous activity that use_activity leaves out")
        if self.skip_current and not self.use_connectivity:
            raise ValueError("skip_current needs the input current that use_connectivity leaves out")
        if self.connectivity not in ("learned", "fixed"):
            raise ValueError(f"connectivity is {self.connectivity!r}, expected 'learned' or 'fixed'")
        if self.connectivity == "fixed" and not self.drive:
            raise ValueError("connectivity is 'fixed', but without drive there is no estimate to fix it at")
        inputs = self.use_activity and self.use_connectivity and self.use_behavior
        if self.drive and not (inputs and self.skip_history and self.skip_current and self.diagonal == "mask"):
            raise ValueError(
                "drive needs skip_history, skip_current, a masked diagonal and all inputs: it starts as a linear model"
            )
        if not (self.use_activity or self.use_connectivity):
            raise ValueError("without previous activity and without connectivity nothing is left to forecast from")

    @property
    def learns_diagonal(self) -> bool:
        """Whether A_ii is learned: `diagonal` asks for it and nothing forbids it."""
        return self.diagonal == "keep" and self.use_activity
