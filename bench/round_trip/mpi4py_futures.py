"""round_trip by mpi4py.futures (mpirun -n 2 python3 -m mpi4py.futures): submit(...).result()."""

import peers
from mpi4py.futures import MPIPoolExecutor

if __name__ == "__main__":
    with MPIPoolExecutor() as executor:
        peers.emit_round_trip(lambda: executor.submit(peers.no_op).result())
