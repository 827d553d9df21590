"""start_up by ipyparallel: a local cluster of four engines until each has run a function."""

import time

import ipyparallel  # noqa: F401  imported before the clock starts
import peers

if __name__ == "__main__":
    start = time.perf_counter()
    with peers.ipyparallel_client(4) as client:
        client[:].apply_sync(peers.no_op)
        peers.emit("start_up", time.perf_counter() - start, "s")
