"""Named choices for the archives' data sets, each after the makers' own documentation.

Most files need none: what they hold is found by default. A preset says what cannot be seen in a file, such as which
filter its makers apply, and pins what would be ambiguous.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: What the AllenSDK applies unless told otherwise: the unit is good, its peak channel is valid and in the brain.
ALLEN_UNITS = (
    "quality == 'good' and isi_violations <= 0.5 and amplitude_cutoff <= 0.1 and presence_ratio >= 0.95 "
    "and electrode_valid_data and electrode_location != ''"
)

#: Name → settings of `ReadConfig`; settings given beside a preset go before it.
PRESETS: dict[str, Mapping[str, Any]] = {
    # DANDI:000021 and 000022, Visual Coding - Neuropixels, as the AllenSDK opens a session
    "allen-neuropixels": {"adapter": "spikes", "units_query": ALLEN_UNITS, "quality_filter": False},
    # DANDI:000728, Visual Coding - optical physiology
    "allen-visual-coding": {"adapter": "calcium", "series": ("DfOverF/DfOverF",)},
    # DANDI:000711, Visual Behavior - optical physiology; a cell keeps its id from session to session
    "allen-visual-behavior": {
        "adapter": "calcium",
        "series": ("dff/traces",),
        "identity_column": "cell_specimen_id",
    },
    # DANDI:000402, MICrONS: the makers' classifier calls some masks artifacts
    "microns": {"adapter": "calcium", "units_query": "mask_type == 'soma'"},
    # DANDI:000409, IBL Brain-wide map: units that pass all three of its quality metrics
    "ibl": {"adapter": "spikes", "units_query": "ibl_quality_score >= 1", "quality_filter": False},
    # DANDI:000692 and other worms: the channel of the indicator, not that of the reference
    "c-elegans": {"adapter": "calcium", "series": ("SignalCalciumImResponseSeries",)},
}
