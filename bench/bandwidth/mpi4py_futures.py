"""bandwidth by mpi4py.futures (mpirun -n 2 python3 -m mpi4py.futures): an array as argument and as result."""

import peers
from mpi4py.futures import MPIPoolExecutor

if __name__ == "__main__":
    with MPIPoolExecutor() as executor:
        peers.emit_bandwidth(
            lambda values: executor.submit(peers.size_of, values).result(),
            lambda doubles: executor.submit(peers.make_array, doubles).result(),
        )
