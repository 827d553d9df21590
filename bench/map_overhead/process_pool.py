"""map_overhead by Python's process pool: map, one element at a time and with chunksize 100."""

from concurrent.futures import ProcessPoolExecutor

import peers

if __name__ == "__main__":
    with ProcessPoolExecutor(2) as pool:
        peers.emit_map(
            lambda values: list(pool.map(peers.identity, values)),
            lambda values: list(pool.map(peers.identity, values, chunksize=peers.MAP_BATCH)),
            peers.TASK_COUNT,
        )
