"""start_up by mpi4py.futures (mpirun -n 1 python3): four workers spawned until they have run functions."""

import time

import peers
from mpi4py.futures import MPIPoolExecutor

if __name__ == "__main__":
    start = time.perf_counter()
    with MPIPoolExecutor(max_workers=4) as executor:
        executor.bootup(wait=True)
        list(executor.map(peers.identity, range(4)))
        peers.emit("start_up", time.perf_counter() - start, "s")
