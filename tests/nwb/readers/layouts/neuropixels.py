"""Small files in the layouts of the Neuropixels archives: Allen Visual Coding (000021, 000022) and IBL (000409)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from embedding import START, attribute, dataset, embed, kind, retype
from pynwb import NWBHDF5IO, NWBFile, TimeSeries
from pynwb.behavior import SpatialSeries
from pynwb.ecephys import LFP
from pynwb.epoch import TimeIntervals
from pynwb.file import Subject

AIBS = "ndx-aibs-ecephys"
#: Electrodes of the Allen files, not in the order of their ids; the third is not in the brain, the fourth not valid.
CHANNELS = (
    # id, location, AP, DV, LR, valid
    (850091066, "VISam", 7600.0, 700.0, 8100.0, True),
    (850090996, "CA1", 7650.0, 1500.0, 8000.0, True),
    (850091352, "", np.nan, np.nan, np.nan, True),
    (850090614, "grey", 7700.0, 2800.0, 7900.0, False),
    (850090700, "LGd", 7720.0, 2900.0, 7950.0, True),
)
#: What stands for the empty location of channels outside the brain until the file is written: pynwb refuses that.
_OUTSIDE = "outside"
#: What the mean waveforms are called until then: of today's schema they are not ragged.
_WAVEFORMS = "mean_on_channels"


def _aibs_types() -> list[dict[str, Any]]:
    """The types of ndx-aibs-ecephys 0.2.0."""
    text = [attribute("description", "text", required=False), attribute("manufacturer", "text", required=False)]
    unit, whole = [attribute("unit", "text")], attribute("probe_id", "int")
    rig = ("monitor_position", "camera_position", "led_position", "monitor_rotation", "camera_rotation")
    return [
        kind("EcephysProbe", "Device", attributes=[attribute("sampling_rate", "float64"), whole, *text]),
        kind(
            "EcephysElectrodeGroup",
            "ElectrodeGroup",
            attributes=[
                attribute("has_lfp_data", "bool"), whole, attribute("lfp_sampling_rate", "float64"),
                attribute("description", "text"), attribute("location", "text"),
            ],
        ),
        kind(
            "EcephysSpecimen",
            "Subject",
            attributes=[
                attribute("specimen_name", "text"), attribute("age_in_days", "float"), attribute("strain", "text"),
            ],
        ),
        kind(
            "EcephysEyeTrackingRigMetadata",
            "NWBDataInterface",
            attributes=[attribute("equipment", "text")],
            datasets=[{**dataset(name, "float32"), "dims": [3], "attributes": unit} for name in rig],
        ),
        kind(
            "EcephysCSD",
            "NWBDataInterface",
            groups=[{"neurodata_type_inc": "TimeSeries", "doc": "the density"}],
            datasets=[
                {**dataset(f"virtual_electrode_{axis}_positions", "float32"), "attributes": unit} for axis in "xy"
            ],
        ),
    ]  # fmt: skip


def _file(**fields: Any) -> NWBFile:
    nwbfile = NWBFile(session_start_time=START, session_description="a session", **fields)
    nwbfile.subject = Subject(subject_id="707296975", species="Mus musculus", sex="M", age="P118D")
    return nwbfile


def _probe(nwbfile: NWBFile, name: str) -> Any:
    device = nwbfile.create_device(name)
    return nwbfile.create_electrode_group(name, description="a probe", location="unknown", device=device)


def _series(name: str, data: Any, times: Any, unit: str, **fields: Any) -> TimeSeries:
    return TimeSeries(name=name, data=np.asarray(data), timestamps=np.asarray(times, dtype=float), unit=unit, **fields)


def _allen_electrodes(nwbfile: NWBFile, channels: Sequence[tuple[Any, ...]]) -> None:
    group = _probe(nwbfile, "probeA")
    more = ("valid_data", "probe_vertical_position", "probe_horizontal_position", "probe_id", "local_index")
    for name in more:
        nwbfile.add_electrode_column(name, name)
    for row, (number, location, ap, dv, lr, valid) in enumerate(channels):
        nwbfile.add_electrode(
            id=number, location=location or _OUTSIDE, x=ap, y=dv, z=lr, imp=np.nan, group=group, group_name="probeA",
            filtering="AP band: 500 Hz high-pass", valid_data=valid, probe_vertical_position=20 * row,
            probe_horizontal_position=11, probe_id=769322820, local_index=row,
        )  # fmt: skip


def _presentations(nwbfile: NWBFile, name: str, rows: Sequence[tuple[float, float]], **columns: Any) -> None:
    """A table of presentations; ``timeseries`` is a plain compound column, as files of schema 2.2 have it."""
    table = TimeIntervals(name=name, description=f"Presentation times of {name}")
    for column in ("stimulus_name", *columns):
        table.add_column(name=column, description=column)
    for row, (start, stop) in enumerate(rows):
        values = {column: items[row] for column, items in columns.items()}
        flips = [(row, 1, nwbfile.processing["stimulus"]["timestamps"])]
        table.add_row(
            start_time=start, stop_time=stop, stimulus_name=name.removesuffix("_presentations"),
            tags=["stimulus_time_interval"], timeseries=flips, **values,
        )  # fmt: skip
    nwbfile.add_time_intervals(table)


def _age(path: Path) -> None:
    """Make a written file one of schema 2.2.2 with the Allen Institute's extension in it."""
    with h5py.File(path, "r+") as file:
        file.attrs["nwb_version"] = "2.2.2"
        embed(file, AIBS, "0.2.0", _aibs_types(), whole=True)
        for name, device in file["general/devices"].items():
            retype(device, "EcephysProbe", AIBS, sampling_rate=30000.0, probe_id=769322820)
            group = file[f"general/extracellular_ephys/{name}"]
            retype(
                group, "EcephysElectrodeGroup", AIBS, has_lfp_data=True, probe_id=769322820, lfp_sampling_rate=1250.0
            )
        subject = {"specimen_name": "Pvalb-IRES-Cre", "age_in_days": 118.0, "strain": "wt"}
        retype(file["general/subject"], "EcephysSpecimen", AIBS, **subject)
        electrodes = file["general/extracellular_ephys/electrodes"]
        retype(electrodes, "DynamicTable", "hdmf-common")
        electrodes["location"][:] = [b"" if text == _OUTSIDE.encode() else text for text in electrodes["location"][:]]
        if "units" in file:
            units = file["units"]
            units.move(_WAVEFORMS, "waveform_mean")
            units.move(f"{_WAVEFORMS}_index", "waveform_mean_index")
            columns = [name.decode() if isinstance(name, bytes) else name for name in units.attrs["colnames"]]
            units.attrs["colnames"] = ["waveform_mean" if name == _WAVEFORMS else name for name in columns]
        for table in file.get("intervals", {}).values():
            retype(table["timeseries"], "VectorData", "hdmf-common")


def allen_session(
    path: Path,
    spikes: Sequence[Iterable[float]],
    *,
    peaks: Sequence[int],
    gaze: bool = True,
    **columns: Sequence[Any],
) -> Path:
    """Write a session file of 000021 or 000022: ten seconds.

    Parameters
    ----------
    path : Path
        Where to.
    spikes : sequence of iterables of float
        The spike times of each unit.
    peaks : sequence of int
        The id of each unit's peak channel, see `CHANNELS`.
    gaze : bool
        Whether there are gaze modules.
    **columns : sequences
        Units columns in place of those of good units.
    """
    nwbfile = _file(identifier="715093703", session_id="715093703")
    _allen_electrodes(nwbfile, CHANNELS)
    n = len(spikes)
    metrics: dict[str, Any] = {
        "quality": ["good"] * n, "isi_violations": [0.01] * n, "amplitude_cutoff": [0.01] * n,
        "presence_ratio": [0.99] * n, "snr": [3.0] * n, "firing_rate": [5.0] * n, "cluster_id": list(range(n)),
        "local_index": list(range(n)), **columns, "peak_channel_id": list(peaks),
    }  # fmt: skip
    for name in metrics:
        nwbfile.add_unit_column(name, "no description")
    for row, times in enumerate(spikes):
        fields = {name: values[row] for name, values in metrics.items()}
        nwbfile.add_unit(id=951791918 + 10 * row, spike_times=np.array(list(times), dtype=float), **fields)
    stops = np.cumsum([len(list(times)) for times in spikes]).tolist()
    units = nwbfile.units
    units.add_column(name="spike_amplitudes", description="of each spike", data=np.full(stops[-1], 1e-4), index=stops)
    waveforms, per_channel = np.zeros((4 * n, 82)), list(range(4, 4 * n + 1, 4))
    units.add_column(name=_WAVEFORMS, description="on every channel", data=waveforms, index=per_channel)
    grid = 0.5 + np.arange(500) / 60
    for name, unit in (
        ("raw_running_wheel_rotation", "radians"),
        ("running_wheel_signal_voltage", "V"),
        ("running_wheel_supply_voltage", "V"),
    ):
        nwbfile.add_acquisition(_series(name, np.sin(grid), grid, unit))
    running = nwbfile.create_processing_module("running", "running")
    running.add(_series("running_speed", 10 * grid, grid, "cm/s"))
    running.add(_series("running_speed_end_times", np.full(len(grid), np.nan), grid + 1 / 60, "cm/s"))
    running.add(_series("running_wheel_rotation", np.cos(grid), grid, "radians"))
    flips = np.arange(0, 10, 0.25)
    nwbfile.create_processing_module("stimulus", "stimulus").add(_series("timestamps", flips, flips, "s"))
    opto = nwbfile.create_processing_module("optotagging", "optotagging")
    opto.add(_series("optotagging", [0.01, 0.005], [9.0, 9.5], "seconds"))
    pulses = TimeIntervals(name="optogenetic_stimulation", description="pulses")
    for column in ("condition", "level"):
        pulses.add_column(name=column, description=column)
    for begin in (9.0, 9.5):
        pulses.add_row(start_time=begin, stop_time=begin + 0.01, condition="a single square pulse", level=4.0)
    opto.add(pulses)
    if gaze:
        frames = np.arange(0.02, 10, 1 / 30)
        area = 100.0 + frames
        for name, values in (("raw", area + 1), ("filtered", np.where(frames < 1, np.nan, area))):
            module = nwbfile.create_processing_module(f"{name}_gaze_mapping", "gaze")
            for item in ("eye_area", "pupil_area"):
                module.add(_series(item, values, frames, "Pixels ^ 2"))
            module.add(_series("screen_coordinates", np.column_stack([values, values]), frames, "Centimeters"))
    _presentations(nwbfile, "spontaneous_presentations", [(0.0, 2.0), (6.0, 8.0)])
    angles = [0.0, 45.0, np.nan, 90.0]
    rows = [(2.0, 3.0), (3.0, 4.0), (4.0, 5.0), (5.0, 6.0)]
    _presentations(nwbfile, "drifting_gratings_presentations", rows, orientation=angles, stimulus_block=[2.0] * 4)
    _presentations(nwbfile, "flashes_presentations", [(8.0, 8.25)], color=["1.0"], stimulus_block=[1.0])
    with NWBHDF5IO(path, "w") as io:
        io.write(nwbfile)
    _age(path)
    return path


def allen_lfp(path: Path) -> Path:
    """Write the file that 000021 and 000022 have for the LFP of one probe."""
    nwbfile = _file(identifier="769322820", session_id="715093703")
    _allen_electrodes(nwbfile, CHANNELS)
    lfp = LFP(name="probe_769322820_lfp")
    nwbfile.add_acquisition(lfp)
    region = nwbfile.create_electrode_table_region(list(range(len(CHANNELS))), "all")
    lfp.create_electrical_series(
        name="probe_769322820_lfp_data",
        data=np.zeros((50, len(CHANNELS))),
        electrodes=region,
        timestamps=np.arange(50.0),
    )
    with NWBHDF5IO(path, "w") as io:
        io.write(nwbfile)
    _age(path)
    return path


def ibl_session(
    path: Path,
    spikes: Sequence[Iterable[float]],
    *,
    peaks: Sequence[int],
    score: str = "ibl_quality_score",
    region: bool = False,
    **columns: Sequence[Any],
) -> Path:
    """Write a processed session of 000409: ten seconds, six electrodes on two probes.

    Each unit's ``electrodes`` are all of its probe's, for its mean waveform; ``max_electrode`` is the row of its own.

    Parameters
    ----------
    path : Path
        Where to.
    spikes : sequence of iterables of float
        The spike times of each unit.
    peaks : sequence of int
        Row of each unit's electrode.
    score : str
        What the column of the quality score is called.
    region : bool
        Whether ``max_electrode`` refers to the electrodes table instead of holding numbers.
    **columns : sequences
        Further units columns.
    """
    nwbfile = _file(identifier="d23a44ef-1402-4ed7-97f5-47e9a7a504d9")
    for name in ("beryl_location", "cosmos_location", "probe_name"):
        nwbfile.add_electrode_column(name, name)
    regions = (
        "Primary visual area layer 5",
        "Field CA1",
        "Dentate gyrus",
        "Caudoputamen",
        "Primary motor area",
        "root",
    )
    short = ("VISp", "CA1", "DG", "CP", "MOp", "root")
    probes = [_probe(nwbfile, name) for name in ("Probe00", "Probe01")]
    for row, (location, beryl) in enumerate(zip(regions, short, strict=True)):
        nwbfile.add_electrode(
            x=1000.0 + row, y=2000.0 + row, z=3000.0 + row, location=location, group=probes[row // 3],
            beryl_location=beryl, cosmos_location="Isocortex", probe_name=f"Probe0{row // 3}",
        )  # fmt: skip
    n = len(spikes)
    own: dict[str, Any] = {
        "unit_name": [f"probe0{peak // 3}_{row}" for row, peak in enumerate(peaks)],
        "probe_name": [f"Probe0{peak // 3}" for peak in peaks],
        "cluster_uuid": [f"uuid-{row}" for row in range(n)],
        "kilosort2_label": ["good"] * n,
        "presence_ratio": [0.5] * n,
        score: [1.0] * n,
        **columns,
    }
    for name in own:
        nwbfile.add_unit_column(name, name)
    for row, times in enumerate(spikes):
        fields = {name: values[row] for name, values in own.items()}
        group = probes[peaks[row] // 3]
        electrodes = [3 * (peaks[row] // 3) + i for i in range(3)]
        spikes_here = np.array(list(times), dtype=float)
        nwbfile.add_unit(spike_times=spikes_here, electrodes=electrodes, electrode_group=group, **fields)
    table = {"table": nwbfile.electrodes} if region else {}
    nwbfile.units.add_column(name="max_electrode", description="row of electrodes", data=list(peaks), **table)
    wheel = nwbfile.create_processing_module("wheel", "wheel")
    turns = np.cumsum(np.random.default_rng(0).exponential(0.02, 480))
    fast = np.arange(9000) / 1000
    filtered = "Interpolated to 1000 Hz, 8th order Butterworth 20 Hz lowpass, zero-phase."
    angle: dict[str, Any] = {"reference_frame": "counter-clockwise is positive", "unit": "radians"}
    even: dict[str, Any] = {"rate": 1000.0, "starting_time": 0.0, "description": filtered}
    wheel.add(SpatialSeries(name="WheelPosition", data=np.sin(turns), timestamps=turns, **angle))
    wheel.add(SpatialSeries(name="WheelPositionFiltered", data=np.sin(fast), **angle, **even))
    wheel.add(TimeSeries(name="WheelVelocity", data=np.cos(fast), unit="rad/s", **even))
    wheel.add(TimeSeries(name="WheelAcceleration", data=-np.sin(fast), unit="rad/s^2", **even))
    pupil = nwbfile.create_processing_module("pupil", "pupil")
    for side, rate in (("Left", 60), ("Right", 150)):
        frames = np.arange(0.1, 9.5, 1 / rate)
        pupil.add(_series(f"{side}PupilDiameter", 10 + np.sin(frames), frames, "px"))
        pupil.add(_series(f"{side}PupilDiameterSmoothed", 10 + np.sin(frames + 0.1), frames, "px"))
    for begin in (1.0, 4.0):
        nwbfile.add_trial(start_time=begin, stop_time=begin + 2)
    with NWBHDF5IO(path, "w") as io:
        io.write(nwbfile)
    return path
