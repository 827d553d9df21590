"""What the Python peers share: sizes, clock, busy work, clients, and the one line of JSON each result is.

bench/run puts this folder on PYTHONPATH; by hand: PYTHONPATH=bench/common python3 bench/tasks/dask_distributed.py
"""

import array
import contextlib
import json
import os
import statistics
import tempfile
import time

try:
    import numpy
except ImportError:
    numpy = None

# As in common/workload.hpp. Frameworks that take milliseconds a task run SLOW_TASK_COUNT and are scaled.
TASK_COUNT = 20_000
SLOW_TASK_COUNT = 1_500
MAP_BATCH = 100
ROUND_TRIP_CALLS = 3000
ROUND_TRIP_LIMIT = 0.5
ARRAYS = [("64KiB", 8 << 10, 500), ("1MiB", 128 << 10, 100), ("64MiB", 8 << 20, 5)]


def balance_costs_ms():
    """The task lengths of the balance workload: see common/workload.hpp."""
    low, high, exponent, step, tasks = 0.1, 20.0, 0.7, 247, 400
    tail = (low / high) ** exponent
    quantiles = (((i + 1) * step % tasks + 0.5) / tasks for i in range(tasks))
    return [low / (1.0 - quantile * (1.0 - tail)) ** (1.0 / exponent) for quantile in quantiles]


def burn(iterations):
    """A fixed amount of computation."""
    state = 1
    for _ in range(iterations):
        state = (state * 1103515245 + 12345) & 0x7FFFFFFF
    return state


def burn_iterations():
    """The balance workload in steps of `burn`, calibrated by CPU time: the best of several trials."""
    trial = 200_000
    best = 0.0
    for _ in range(10):
        start = time.thread_time()
        burn(trial)
        best = max(best, trial / (time.thread_time() - start) * 1e-3)
    return [int(cost * best) for cost in balance_costs_ms()]


def serial_cpu_seconds(tasks):
    """CPU time of all the tasks, one after the other."""
    start = time.thread_time()
    for iterations in tasks:
        burn(iterations)
    return time.thread_time() - start


def identity(value):
    return value


def identity_all(values):
    return values


def no_op():
    return None


def size_of(values):
    return len(values)


def make_array(doubles):
    """A NumPy array, which the frameworks send best; the standard library's array where NumPy is not installed."""
    return numpy.ones(doubles) if numpy else array.array("d", [1.0]) * doubles


def batches(values, size):
    """The values in lists of `size`."""
    return [values[first : first + size] for first in range(0, len(values), size)]


def seconds_of(call):
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def median_call(call, count, limit, warm_up=5):
    """Median seconds of a call: at most `count` calls, or as many as start within `limit` seconds."""
    for _ in range(warm_up):
        call()
    seconds = []
    end = time.perf_counter() + limit
    while len(seconds) < count and (not seconds or time.perf_counter() < end):
        seconds.append(seconds_of(call))
    return statistics.median(seconds)


def emit(name, value, unit, **more):
    """One result. `name` is a benchmark's name in the JSON of ours; `ratio_ideal` and the like go into `more`."""
    print(json.dumps({"name": name, "median": value, "unit": unit, **more}), flush=True)


def emit_round_trip(call):
    emit("round_trip", 1e6 * median_call(call, ROUND_TRIP_CALLS, ROUND_TRIP_LIMIT, 20), "us")


def emit_bandwidth(send, receive):
    """`send(array)` moves it to the worker, `receive(doubles)` gives an array from there."""
    note = {} if numpy else {"note": "no NumPy"}
    for size, doubles, calls in ARRAYS:
        values = make_array(doubles)
        for name, call in (("argument", lambda: send(values)), ("result", lambda: receive(doubles))):
            seconds = median_call(call, calls, 2.0, 1)
            emit(f"bandwidth_{name}/{size}", doubles * 8 / seconds * 1e-9, "GB/s", **note)


def emit_tasks(run_all, count):
    """`run_all(count)` submits so many identity tasks and returns the list of their results."""
    run_all(count // 10)
    emit("tasks", 1e6 * seconds_of(lambda: run_all(count)) / count, "us/task", tasks=count)


def emit_map(map_all, map_batched, count):
    """Maps over a list of integers, one a task and MAP_BATCH a task."""
    values = list(range(count))
    for name, call, values in (("unbatched", map_all, values), ("batched", map_batched, list(range(TASK_COUNT)))):
        call(values[:MAP_BATCH])
        emit(f"map_overhead/{name}", 1e6 * seconds_of(lambda: call(values)) / len(values), "us/element", tasks=len(values))


def emit_balance(map_burn):
    """`map_burn(tasks)` runs the tasks on two workers."""
    tasks = burn_iterations()
    map_burn([1000] * 100)
    ideal = serial_cpu_seconds(tasks) / 2
    seconds = seconds_of(lambda: map_burn(tasks))
    emit("balance", seconds, "s", ratio_ideal=seconds / ideal)


@contextlib.contextmanager
def dask_client(workers):
    """A Dask client of a local cluster: one process a worker, one thread each."""
    import dask
    from distributed import Client, LocalCluster

    dask.config.set({"distributed.comm.timeouts.connect": "60s"})
    options = {"n_workers": workers, "threads_per_worker": 1, "processes": True, "dashboard_address": None}
    with tempfile.TemporaryDirectory() as folder:
        with LocalCluster(local_directory=folder, silence_logs=50, **options) as cluster, Client(cluster) as client:
            client.wait_for_workers(workers)
            yield client


@contextlib.contextmanager
def ipyparallel_client(engines):
    """An ipyparallel client of a local cluster."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["IPYTHONDIR"] = folder
        import ipyparallel

        with ipyparallel.Cluster(n=engines, log_level=50) as client:
            client.wait_for_engines(engines, interactive=False)
            yield client
