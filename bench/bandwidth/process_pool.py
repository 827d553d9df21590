"""bandwidth by Python's process pool: an array pickled as an argument and as a result."""

from concurrent.futures import ProcessPoolExecutor

import peers

if __name__ == "__main__":
    with ProcessPoolExecutor(1) as pool:
        peers.emit_bandwidth(
            lambda values: pool.submit(peers.size_of, values).result(),
            lambda doubles: pool.submit(peers.make_array, doubles).result(),
        )
