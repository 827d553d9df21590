"""round_trip by Python's process pool: submit(...).result() of a function that does nothing."""

from concurrent.futures import ProcessPoolExecutor

import peers

if __name__ == "__main__":
    with ProcessPoolExecutor(1) as pool:
        peers.emit_round_trip(lambda: pool.submit(peers.no_op).result())
