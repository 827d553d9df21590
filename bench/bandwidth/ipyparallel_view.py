"""bandwidth by ipyparallel: an array as argument and as result of a direct view's apply_sync."""

import peers

if __name__ == "__main__":
    with peers.ipyparallel_client(1) as client:
        view = client[0]
        peers.emit_bandwidth(
            lambda values: view.apply_sync(peers.size_of, values),
            lambda doubles: view.apply_sync(peers.make_array, doubles),
        )
