"""What a decoder that serves several sessions asks of them: which neurons recur, and behaviours by name.

Letters: B batch, N neurons of a session, M unique neurons of all sessions, S samples of a batch's rows, K behaviours.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from .windows import Batch, Windows


def neuron_rows(windows: Sequence[Windows]) -> tuple[list[NDArray[np.int64]], int]:
    """Return for each session its neurons' rows (N,) in a table of unique neurons, and the table's length M.

    Neurons are the same if their `Neurons.identity` is equal and not empty.
    """
    known: dict[str, int] = {}
    rows, count = [], 0
    for w in windows:
        identity = w.neurons.identity if w.neurons.identity is not None else [""] * w.n_neurons
        places = np.empty(w.n_neurons, np.int64)
        for i, name in enumerate(str(each) for each in identity):
            if not name or name not in known:
                known[name], places[i] = count, count
                count += 1
            else:
                places[i] = known[name]
        rows.append(places)
    return rows, count


class SharedBehavior:
    """The decoder's behaviours: by default the union of the sessions' by name, in order of appearance.

    Parameters
    ----------
    windows : sequence of Windows
        The sessions.
    names : sequence of str, optional
        The decoder's behaviours, where they are not those of the sessions.
    """

    def __init__(self, windows: Sequence[Windows], names: Sequence[str] | None = None) -> None:
        if names is None:
            names = [name for w in windows for name in w.behavior_names]
        place = {name: k for k, name in enumerate(dict.fromkeys(names))}
        self.names: tuple[str, ...] = tuple(place)
        """K names."""
        self.places = [[place[name] for name in w.behavior_names if name in place] for w in windows]
        """For each session, where its behaviours stand among all."""

    def of(self, batch: Batch) -> Tensor:
        """Return the behaviours (B, S, K) of a batch; one that its session lacks is 0, the mean."""
        places = self.places[batch.session]
        behavior = batch.behavior.new_zeros(len(batch.behavior), batch.behavior.shape[2], len(self.names))
        if places:
            behavior[:, :, places] = batch.behavior.transpose(1, 2)
        return behavior
