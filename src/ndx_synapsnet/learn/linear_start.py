"""The stage before training: each session's linear model with latent shared drive, from which SynapsNet starts."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from .drive import DriveConfig, DriveFilter, DriveFit, fit_drive, with_drive
from .windows import Windows


def start_linear(
    windows: Sequence[Windows], config: DriveConfig | None = None, *, held: Collection[int] | None = None
) -> tuple[list[Windows], list[DriveFit | None]]:
    """Fit the linear model of every session, and attach its drive.

    Parameters
    ----------
    windows : sequence of Windows
        The sessions.
    config : DriveConfig, optional
        How they are fitted.
    held : collection of int, optional
        Places of the sessions that this process holds; the others stay as they are. By default all.

    Returns
    -------
    windows : list of Windows
        With the drive's causal series.
    fits : list of DriveFit or None
        None for a session that another process holds.
    """
    prepared, fits = list(windows), list[DriveFit | None]()
    for j, w in enumerate(windows):
        fit = fit_drive(w, config) if held is None or j in held else None
        fits.append(fit)
        if fit is not None:
            prepared[j] = with_drive(w, kept_filter(fit))
    return prepared, fits


def kept_filter(fit: DriveFit) -> DriveFilter:
    """Return the fit's filter as it comes back from a file, so that a forecast is the same before and after."""
    return DriveFilter.from_arrays(fit.filter().as_arrays())
