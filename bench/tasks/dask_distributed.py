"""tasks by Dask.distributed: submit all, then gather."""

import peers

if __name__ == "__main__":
    with peers.dask_client(2) as client:
        peers.emit_tasks(
            lambda count: client.gather([client.submit(peers.identity, i, pure=False) for i in range(count)]),
            peers.SLOW_TASK_COUNT,
        )
