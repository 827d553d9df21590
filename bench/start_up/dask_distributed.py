"""start_up by Dask.distributed: a local cluster of four worker processes until each has run a function."""

import time

import distributed  # noqa: F401  imported before the clock starts
import peers

if __name__ == "__main__":
    start = time.perf_counter()
    with peers.dask_client(4) as client:
        client.run(peers.no_op)
        peers.emit("start_up", time.perf_counter() - start, "s")
