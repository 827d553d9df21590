"""bandwidth by Dask.distributed: an array scattered to the worker (an argument) and gathered from it (a result)."""

import peers

if __name__ == "__main__":
    with peers.dask_client(1) as client:
        peers.emit_bandwidth(
            lambda values: client.scatter(values, hash=False, direct=True),
            lambda doubles: client.submit(peers.make_array, doubles, pure=False).result(),
        )
