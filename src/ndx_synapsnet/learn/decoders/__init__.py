"""The sequence models that may serve as SynapsNet's shared decoder (paper, appendix B, Table 3)."""

from __future__ import annotations

from .decoder import Decoder
from .gru import GRU
from .lstm import LSTM
from .rnn import RNN
from .transformer import Transformer

#: Decoders by name.
DECODERS: dict[str, type[Decoder]] = {"gru": GRU, "rnn": RNN, "lstm": LSTM, "transformer": Transformer}
