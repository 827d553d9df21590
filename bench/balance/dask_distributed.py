"""balance by Dask.distributed: client.map, then gather."""

import peers

if __name__ == "__main__":
    with peers.dask_client(2) as client:
        peers.emit_balance(lambda tasks: client.gather(client.map(peers.burn, tasks, pure=False)))
