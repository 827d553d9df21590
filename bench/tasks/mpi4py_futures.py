"""tasks by mpi4py.futures (mpirun -n 3 python3 -m mpi4py.futures): submit all, then result of all."""

import peers
from mpi4py.futures import MPIPoolExecutor

if __name__ == "__main__":
    with MPIPoolExecutor() as executor:
        peers.emit_tasks(
            lambda count: [f.result() for f in [executor.submit(peers.identity, i) for i in range(count)]],
            peers.TASK_COUNT,
        )
