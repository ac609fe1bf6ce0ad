"""Views of what was learned, for notebooks: with selectors, by ipywidgets, over the pictures of this package.

Importing this needs neither ipywidgets nor NWB Widgets; showing a view needs the extra ``widgets``::

    from ndx_synapsnet.show.widgets import view
    view("recording_desc-synapsnet.nwb")

In NWB Widgets::

    register_nwbwidgets()
    nwbwidgets.nwb2widget(nwbfile)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...nwb.types import (
    ActivityForecast,
    FitProvenance,
    FunctionalConnectivity,
    InputCurrents,
    NeuronEmbeddings,
    SynapsNetFit,
)
from .matrices import view_connectivity
from .neurons import view_neurons
from .registration import register_nwbwidgets
from .run import view, view_fit, view_provenance
from .series import view_currents, view_forecast

__all__ = [
    "register_nwbwidgets",
    "view",
    "view_connectivity",
    "view_currents",
    "view_fit",
    "view_forecast",
    "view_neurons",
    "view_provenance",
    "vis_spec",
]

#: View of each type, as NWB Widgets takes them: ``(node, neurodata_vis_spec=None, **kwargs)`` → widget.
vis_spec: dict[type, Callable[..., Any]] = {
    SynapsNetFit: view_fit,
    FunctionalConnectivity: view_connectivity,
    NeuronEmbeddings: view_neurons,
    ActivityForecast: view_forecast,
    InputCurrents: view_currents,
    FitProvenance: view_provenance,
}
