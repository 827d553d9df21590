"""balance by Python's process pool: map, one task at a time."""

from concurrent.futures import ProcessPoolExecutor

import peers

if __name__ == "__main__":
    with ProcessPoolExecutor(2) as pool:
        peers.emit_balance(lambda tasks: list(pool.map(peers.burn, tasks)))
