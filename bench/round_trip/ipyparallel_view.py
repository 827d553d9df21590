"""round_trip by ipyparallel: a direct view's apply_sync of a function that does nothing."""

import peers

if __name__ == "__main__":
    with peers.ipyparallel_client(1) as client:
        view = client[0]
        peers.emit_round_trip(lambda: view.apply_sync(peers.no_op))
