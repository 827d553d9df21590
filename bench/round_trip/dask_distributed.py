"""round_trip by Dask.distributed: submit(...).result() of a function that does nothing."""

import peers

if __name__ == "__main__":
    with peers.dask_client(1) as client:
        peers.emit_round_trip(lambda: client.submit(peers.no_op, pure=False).result())
