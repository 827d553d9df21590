"""balance by ipyparallel: a load-balanced view's map with chunksize 1."""

import peers

if __name__ == "__main__":
    with peers.ipyparallel_client(2) as client:
        view = client.load_balanced_view()
        peers.emit_balance(lambda tasks: view.map(peers.burn, tasks, chunksize=1, block=True))
