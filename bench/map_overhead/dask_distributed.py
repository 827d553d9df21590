"""map_overhead by Dask.distributed: client.map over the elements and over lists of 100 of them."""

import peers

if __name__ == "__main__":
    with peers.dask_client(2) as client:
        peers.emit_map(
            lambda values: client.gather(client.map(peers.identity, values, pure=False)),
            lambda values: client.gather(
                client.map(peers.identity_all, peers.batches(values, peers.MAP_BATCH), pure=False)
            ),
            peers.SLOW_TASK_COUNT,
        )
