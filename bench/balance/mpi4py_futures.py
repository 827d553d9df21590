"""balance by mpi4py.futures (mpirun -n 3 python3 -m mpi4py.futures): map with chunksize 1."""

import peers
from mpi4py.futures import MPIPoolExecutor

if __name__ == "__main__":
    with MPIPoolExecutor() as executor:
        peers.emit_balance(lambda tasks: list(executor.map(peers.burn, tasks)))
