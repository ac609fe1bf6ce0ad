"""Write the YAML of the namespace ndx-synapsnet, and the types in it once more as JSON.

The YAML is the namespace. Python reads the JSON in its place: parsing YAML would take a sixth of the package's import.

Run ``python spec/create_extension_spec.py [FOLDER]`` after every change here; FOLDER is this file's own unless
named. A test compares the committed YAML with what this script writes.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

from pynwb.spec import (
    NWBAttributeSpec,
    NWBDatasetSpec,
    NWBGroupSpec,
    NWBLinkSpec,
    NWBNamespaceBuilder,
    export_spec,
)
from ruamel.yaml import YAML

HERE = Path(__file__).resolve().parent
NAME = "ndx-synapsnet"


def package_version() -> str:
    """Version of the package, read from its source: the namespace carries the same one."""
    text = (HERE.parent / "pyproject.toml").read_text(encoding="utf-8")
    found = re.search(r'^version = "([^"]+)"$', text, flags=re.MULTILINE)
    if found is None:
        raise ValueError("pyproject.toml states no version")
    return found.group(1)


def attribute(name: str, dtype: str, doc: str, *, required: bool = False) -> NWBAttributeSpec:
    """Scalar attribute, optional unless said otherwise."""
    return NWBAttributeSpec(name=name, doc=doc, dtype=dtype, required=required)


def column(name: str, dtype: str, doc: str, *, width: tuple[str, int | None] | None = None) -> NWBDatasetSpec:
    """Optional column of a table; `width` names the second axis and gives its length."""
    axes = {} if width is None else {"dims": ["num_neurons", width[0]], "shape": [None, width[1]]}
    return NWBDatasetSpec(name=name, neurodata_type_inc="VectorData", dtype=dtype, doc=doc, quantity="?", **axes)


def dataset(
    name: str, dtype: str, doc: str, dims: list[str] | None = None, *, required: bool = False
) -> NWBDatasetSpec:
    """Plain dataset with one axis per name in `dims`; scalar without."""
    axes = {} if dims is None else {"dims": dims, "shape": [None] * len(dims)}
    return NWBDatasetSpec(name=name, dtype=dtype, doc=doc, quantity=1 if required else "?", **axes)


def region(name: str, doc: str) -> NWBDatasetSpec:
    """Reference to rows of the fit's neuron table."""
    return NWBDatasetSpec(name=name, neurodata_type_inc="DynamicTableRegion", doc=doc)


def neuron_embeddings() -> NWBGroupSpec:
    return NWBGroupSpec(
        neurodata_type_def="NeuronEmbeddings",
        neurodata_type_inc="DynamicTable",
        default_name="neurons",
        doc=(
            "The neurons of one fit: one row for each modelled unit or ROI, with where it comes from, what was learned "
            "about it and how well its activity is forecast. Every other type of this extension refers to rows of this "
            "table. A row names its origin by text (path, object id and row of the source table), never by an object "
            "reference, so that one table may draw on several source tables (the planes of a calcium recording) or "
            "on a table of another file. Further columns may be added."
        ),
        attributes=[
            NWBAttributeSpec(
                name="predictors",
                dtype="text",
                shape=[None],
                dims=["num_predictors"],
                required=False,
                doc=(
                    "Predictors whose scores on the test part are columns of this table. The first is the fitted "
                    "model, scored in the columns `correlation` and `mse`; each other predictor P, a reference, is "
                    "scored on the same samples in the columns `P_correlation` and `P_mse`."
                ),
            )
        ],
        datasets=[
            column("neuron_id", "text", "Name of the neuron, unique in this table."),
            column("source_path", "text", "Path of the table that the neuron is a row of, such as `/units`."),
            column("source_object_id", "text", "Object id of the table that the neuron is a row of."),
            column("source_row", "int", "Row of the neuron in the source table, counted from 0."),
            column(
                "identity",
                "text",
                "Recognises the same neuron in other sessions, as `subject:column:value`; an empty text matches "
                "nothing.",
            ),
            column(
                "position",
                "float",
                "Position x, y, z in the unit of the source; NaN where unknown.",
                width=("x, y, z", 3),
            ),
            column("location", "text", "Brain region of the neuron; an empty text where unknown."),
            column("cell_type", "text", "Cell type of the neuron; an empty text where unknown."),
            column(
                "embedding",
                "float",
                "Learned vector that stands for the neuron in the decoder all neurons share.",
                width=("num_dimensions", None),
            ),
            column(
                "correlation",
                "float",
                "Pearson correlation over time between the neuron's activity and the fitted model's forecast of it, on "
                "the test part; NaN where one of the two is constant.",
            ),
            column(
                "mse",
                "float",
                "Mean squared error of the fitted model's forecast of the neuron, in z-scored units, on the test part: "
                "about 1 is what predicting the mean gives.",
            ),
        ],
    )


def functional_connectivity() -> NWBGroupSpec:
    pair = ["num_targets", "num_sources"]
    return NWBGroupSpec(
        neurodata_type_def="FunctionalConnectivity",
        neurodata_type_inc="NWBDataInterface",
        default_name="effective",
        doc=(
            "Directed connectivity between neurons: how much each source drives each target some samples later. "
            "The axis order is always [target, source]. Stored either dense, in `weights`, or as a list of edges, in "
            "`edge_target`, `edge_source` and `edge_weight`; pairs that are not listed have weight 0."
        ),
        attributes=[
            attribute(
                "method",
                "text",
                "How the weights were obtained, such as `synapsnet` or `ridge_var`; `ground_truth` where they are the "
                "known wiring of a simulation.",
                required=True,
            ),
            attribute("description", "text", "What a weight means, and in which unit."),
            attribute("lag", "int", "Number of samples from the source's activity to its effect on the target."),
            attribute("lag_seconds", "float", "The lag in seconds."),
            attribute(
                "gain_normalized",
                "bool",
                "Whether each target's weights were multiplied by the mean gain of its readout, which gives them a "
                "definite sign and scale. Sign and scale of weights as a network learns them are arbitrary.",
            ),
            attribute(
                "diagonal",
                "text",
                "Convention for the weight of a neuron on itself: `zero` (held at zero) or `learned`.",
            ),
            attribute("sign_convention", "text", "What a positive and what a negative weight mean."),
        ],
        datasets=[
            region("targets", "The neurons along the first axis, which are driven."),
            region("sources", "The neurons along the second axis, which drive."),
            dataset("weights", "float32", "Dense form: weight of each source on each target.", pair),
            dataset("standard_error", "float32", "Standard error of each weight; NaN where there is none.", pair),
            dataset("p_value", "float32", "P-value of each weight against 0; NaN where not tested.", pair),
            dataset(
                "q_value",
                "float32",
                "P-value of each weight after correction for the false discovery rate; NaN where not tested.",
                pair,
            ),
            dataset("edge_target", "int", "Sparse form: place of each edge's target in `targets`.", ["num_edges"]),
            dataset("edge_source", "int", "Sparse form: place of each edge's source in `sources`.", ["num_edges"]),
            dataset("edge_weight", "float32", "Sparse form: weight of each edge.", ["num_edges"]),
        ],
    )


def activity_forecast() -> NWBGroupSpec:
    return NWBGroupSpec(
        neurodata_type_def="ActivityForecast",
        neurodata_type_inc="TimeSeries",
        default_name="forecast",
        doc=(
            "Activity as forecast by a fitted model, in the unit of the observed activity. Time points are those of "
            "the predicted samples. The part of the recording that a sample belongs to (unused, train, validation, "
            "test) is in `control`."
        ),
        attributes=[
            attribute("horizon", "int", "Number of samples between the last one the model saw and the predicted one.")
        ],
        datasets=[
            NWBDatasetSpec(
                name="data",
                dtype="numeric",
                dims=["num_times", "num_neurons"],
                shape=[None, None],
                doc="Predicted activity of each neuron.",
            ),
            region("neurons", "The neurons along the second axis of `data`."),
            dataset(
                "sample_index",
                "int",
                "Place of each predicted sample among all samples of the session, counted from 0.",
                ["num_times"],
            ),
        ],
        links=[
            NWBLinkSpec(
                name="observed",
                target_type="TimeSeries",
                quantity="?",
                doc="The observed activity, where it is one series of the same file.",
            )
        ],
    )


def input_currents() -> NWBGroupSpec:
    return NWBGroupSpec(
        neurodata_type_def="InputCurrents",
        neurodata_type_inc="TimeSeries",
        default_name="input_currents",
        doc=(
            "Input that each neuron receives from the population through the connectivity: weights times z-scored "
            "activity at the last sample before the predicted one. The time points are those of the predicted samples, "
            "row by row those of the forecast it belongs to."
        ),
        datasets=[
            NWBDatasetSpec(
                name="data",
                dtype="numeric",
                dims=["num_times", "num_neurons"],
                shape=[None, None],
                doc="Input current of each neuron.",
            ),
            region("neurons", "The neurons along the second axis of `data`."),
        ],
    )


def fit_provenance() -> NWBGroupSpec:
    return NWBGroupSpec(
        neurodata_type_def="FitProvenance",
        neurodata_type_inc="NWBDataInterface",
        default_name="provenance",
        doc=(
            "All that is needed to know where a fit comes from, to judge it and to repeat it: configuration, "
            "software, source of the data, how they were scaled and split, course of training, and the parameters of "
            "the decoder."
        ),
        attributes=[
            attribute("seed", "int", "Seed of the random numbers."),
            attribute("device", "text", "Device that the fit ran on, such as `cpu` or the name of an accelerator."),
            attribute("started", "text", "Start of the fit, ISO 8601 with time zone."),
            attribute("finished", "text", "End of the fit, ISO 8601 with time zone."),
            attribute("interrupted", "bool", "Whether training was stopped by hand before its planned end."),
            attribute("source_uri", "text", "Path or address of the source file."),
            attribute("source_identifier", "text", "The source file's `identifier`."),
            attribute("source_file_object_id", "text", "Object id of the source file's root."),
            attribute("dandiset_id", "text", "Dandiset that the source file belongs to, six digits."),
            attribute("dandiset_version", "text", "Version of the dandiset."),
            attribute("dandi_asset_id", "text", "DANDI's id of the source file."),
            attribute("dandi_asset_path", "text", "Path of the source file in its dandiset."),
            attribute("dandi_asset_digest", "text", "Digest of the source file, as `algorithm:value`."),
            attribute("activity_kind", "text", "`spike_counts`, `dff`, `fluorescence`, `events` or `other`."),
            attribute("activity_unit", "text", "Unit of the activity, before it was z-scored."),
            attribute("sampling_period", "float", "Seconds between samples, or the bin width."),
            attribute("decoder_weights_format", "text", "Format of `decoder_weights`: `safetensors`."),
            attribute("decoder_weights_sha256", "text", "SHA-256 of `decoder_weights`, in hexadecimal digits."),
        ],
        datasets=[
            dataset("config", "text", "Full configuration of the run as JSON.", required=True),
            dataset(
                "record", "text", "Full record of the source and of the run as JSON; the attributes repeat parts of it."
            ),
            dataset("software", "text", "Software the fit ran on, each as `name==version`.", ["num_packages"]),
            dataset("source_paths", "text", "Paths of the objects that the activity was read from.", ["num_sources"]),
            dataset("source_object_ids", "text", "Object ids of the same objects.", ["num_sources"]),
            dataset("behavior_names", "text", "Names of the behavioural inputs.", ["num_behaviors"]),
            dataset(
                "activity_mean",
                "float32",
                "Mean subtracted from each neuron's activity, row by row of the neuron table.",
                ["num_neurons"],
            ),
            dataset("activity_std", "float32", "Deviation each neuron's activity was divided by.", ["num_neurons"]),
            dataset("behavior_mean", "float32", "Mean subtracted from each behavioural input.", ["num_behaviors"]),
            dataset("behavior_std", "float32", "Deviation each behavioural input was divided by.", ["num_behaviors"]),
            dataset(
                "split_code",
                "uint8",
                "How the samples of the session were split, as runs of equal code: the code of each run. 0: unused, "
                "1: train, 2: validation, 3: test.",
                ["num_runs"],
            ),
            dataset("split_length", "int", "Number of samples of each run of `split_code`.", ["num_runs"]),
            dataset("decoder_weights", "uint8", "Parameters of the shared decoder, as bytes.", ["num_bytes"]),
        ],
        groups=[
            NWBGroupSpec(
                name="training_curve",
                neurodata_type_inc="DynamicTable",
                quantity="?",
                doc="Course of training: one row for each epoch, one column for each quantity, such as `epoch`, "
                "`train_loss`, `validation_mse` and `validation_correlation`.",
            )
        ],
    )


def synapsnet_fit() -> NWBGroupSpec:
    many = [
        ("FunctionalConnectivity", "Connectivity between the neurons; `effective` is the one to read."),
        ("ActivityForecast", "Activity as forecast by the model."),
        ("InputCurrents", "Input that the neurons receive through the connectivity."),
    ]
    return NWBGroupSpec(
        neurodata_type_def="SynapsNetFit",
        neurodata_type_inc="NWBDataInterface",
        default_name="synapsnet",
        doc=(
            "What one run of a model of population activity learned about one recording: its neurons, connectivity, "
            "forecasts and provenance. Everything in it is optional: a container with a neuron table and a "
            "connectivity alone states known wiring."
        ),
        attributes=[
            attribute("description", "text", "What this container holds."),
            attribute("model", "text", "Name of the fitted model."),
            attribute("run_id", "text", "Id of the run, the same in all files of one run over several sessions."),
            attribute(
                "verdict",
                "text",
                "One plain sentence: whether the forecast beats the reference predictors, and so whether the "
                "connectivity may be read.",
            ),
            attribute(
                "trustworthy",
                "bool",
                "False if the model forecasts no better than the mean, or worse than each neuron's own history: its "
                "connectivity is not to be read.",
            ),
        ],
        groups=[
            NWBGroupSpec(
                name="neurons",
                neurodata_type_inc="NeuronEmbeddings",
                quantity="?",
                doc="The neurons of this fit.",
            ),
            NWBGroupSpec(
                name="provenance",
                neurodata_type_inc="FitProvenance",
                quantity="?",
                doc="Where this fit comes from.",
            ),
            *(NWBGroupSpec(neurodata_type_inc=kind, quantity="*", doc=doc) for kind, doc in many),
        ],
    )


def main(folder: Path = HERE) -> None:
    """Write the files into `folder`."""
    builder = NWBNamespaceBuilder(
        name=NAME,
        full_name="SynapsNet for Neurodata Without Borders",
        version=package_version(),
        doc=(
            "Functional connectivity of recorded neurons, with what it was learned from: one row per neuron, directed "
            "connectivity matrices, activity forecasts, input currents and full provenance."
        ),
        author=["The ndx-synapsnet developers"],
        contact=["https://github.com/ndx-synapsnet/ndx-synapsnet/issues"],
    )
    builder.include_namespace("core")
    types = [
        neuron_embeddings(),
        functional_connectivity(),
        activity_forecast(),
        input_currents(),
        fit_provenance(),
        synapsnet_fit(),
    ]
    export_spec(builder, types, str(folder))
    types_in_yaml = YAML(typ="safe", pure=True).load((folder / f"{NAME}.extensions.yaml").read_text(encoding="utf-8"))
    as_json = json.dumps(types_in_yaml, indent=1, ensure_ascii=False)
    (folder / f"{NAME}.extensions.json").write_text(as_json + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE)
