"""map_overhead by ipyparallel: a load-balanced view's map_sync with chunksize 1 and 100."""

import peers

if __name__ == "__main__":
    with peers.ipyparallel_client(2) as client:
        view = client.load_balanced_view()
        peers.emit_map(
            lambda values: view.map(peers.identity, values, chunksize=1, block=True),
            lambda values: view.map(peers.identity, values, chunksize=peers.MAP_BATCH, block=True),
            peers.SLOW_TASK_COUNT,
        )
