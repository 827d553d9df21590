"""tasks by ipyparallel: a load-balanced view's apply_async of all, then get of all."""

import peers

if __name__ == "__main__":
    with peers.ipyparallel_client(2) as client:
        view = client.load_balanced_view()
        peers.emit_tasks(
            lambda count: [r.get() for r in [view.apply_async(peers.identity, i) for i in range(count)]],
            peers.SLOW_TASK_COUNT,
        )
