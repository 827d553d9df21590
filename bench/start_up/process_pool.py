"""start_up by Python's process pool: four processes until each has run a function."""

import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import Barrier

import peers

everybody = None


def meet():
    everybody.wait()


def share(barrier):
    global everybody
    everybody = barrier


if __name__ == "__main__":
    start = time.perf_counter()
    with ProcessPoolExecutor(4, initializer=share, initargs=(Barrier(4),)) as pool:
        for task in [pool.submit(meet) for _ in range(4)]:
            task.result()
        peers.emit("start_up", time.perf_counter() - start, "s")
