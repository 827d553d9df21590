"""map_overhead by mpi4py.futures (mpirun -n 3 python3 -m mpi4py.futures): map with chunksize 1 and 100."""

import peers
from mpi4py.futures import MPIPoolExecutor

if __name__ == "__main__":
    with MPIPoolExecutor() as executor:
        peers.emit_map(
            lambda values: list(executor.map(peers.identity, values)),
            lambda values: list(executor.map(peers.identity, values, chunksize=peers.MAP_BATCH)),
            peers.TASK_COUNT,
        )
