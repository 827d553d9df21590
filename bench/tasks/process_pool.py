"""tasks by Python's process pool: submit all, then the results in order."""

from concurrent.futures import ProcessPoolExecutor

import peers

if __name__ == "__main__":
    with ProcessPoolExecutor(2) as pool:
        peers.emit_tasks(
            lambda count: [task.result() for task in [pool.submit(peers.identity, i) for i in range(count)]],
            peers.TASK_COUNT,
        )
