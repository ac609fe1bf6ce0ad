"""Cells run one after the other, or over processes that divide the processor between them."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from tqdm import tqdm

from ...errors import InputError
from ...nwb.sources.remote.options import RemoteOptions, current_options, use_options
from .cells import run_cell

_C = TypeVar("_C")


def run_cells(
    cells: Sequence[_C], folder: Path, *, jobs: int = 1, run: Callable[..., dict[str, Any]] | None = None
) -> Generator[tuple[_C, dict[str, Any]], None, None]:
    """Run cells, and yield each with its record as it is done.

    Parameters
    ----------
    cells : sequence of Cell
        Neighbours best share their session, which then is loaded once.
    folder : Path
        Of the cells' files.
    run : callable
        Runs one: ``run(cell, folder, progress=None)`` returns its record. A function of a module; `cells.run_cell` if
        left out.
    jobs : int
        Processes. The numbers are the same with any, up to rounding: each has its part of the processor's threads.

    Raises
    ------
    InputError
        If a process ends by itself, such as for want of memory. Cells that are done stay done, here as on Ctrl-C.
    """
    one: Callable[..., dict[str, Any]] = run or run_cell
    if jobs == 1 or len(cells) < 2:
        for cell in cells:
            yield cell, one(cell, folder, progress=None)
        return
    jobs = min(jobs, len(cells))
    threads = max(1, (os.cpu_count() or 1) // jobs)
    remote = replace(current_options(), on_open=None, on_progress=None)  # what watches here cannot watch there
    before = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(
        jobs, multiprocessing.get_context("spawn"), initializer=_begin, initargs=(threads, remote)
    )
    try:
        waiting = {pool.submit(one, cell, folder): cell for cell in cells}
        for done in as_completed(waiting):
            yield waiting[done], done.result()
    except BrokenProcessPool as error:
        raise InputError(
            "one of the processes ended by itself, perhaps for want of memory",
            remedy="Run the same command again, with fewer --jobs: the cells that are done are kept.",
        ) from error
    except BaseException:  # Ctrl-C, or nobody wants the rest: the cells under way are given up
        for child in set(multiprocessing.active_children()) - before:
            child.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _begin(threads: int, remote: RemoteOptions) -> None:
    """Prepare a process: Ctrl-C is for the one that started it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    tqdm.set_lock(threading.RLock())  # its own is shared by processes, and left behind by one that is terminated
    torch.set_num_threads(threads)
    use_options(remote).__enter__()
