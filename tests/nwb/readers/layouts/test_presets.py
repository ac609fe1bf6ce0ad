"""The presets themselves."""

from __future__ import annotations

import pytest

from ndx_synapsnet.nwb.readers import PRESETS, ReadConfig
from ndx_synapsnet.nwb.readers.provenance import config_record, with_settings


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_settings_that_can_be_kept(name):
    config = with_settings(None, PRESETS[name])
    assert config != ReadConfig()
    assert ReadConfig(**config_record(config)) == config


def test_what_is_given_beside_a_preset_goes_before_it():
    config = with_settings(None, {**PRESETS["ibl"], "units_query": "firing_rate > 1"})
    assert config.units_query == "firing_rate > 1"
    assert config.adapter == "spikes"
