#!/usr/bin/env python3
"""Checks the arrows between rooms: a source includes only what docs/architecture.md lets its room know.

usage: arrows.py REPOSITORY | arrows.py --self-test
"""

import pathlib
import re
import sys
import tempfile

# From the bottom up: a room knows itself and those before it.
ROOMS = ["base", "code", "wire", "transport", "exec", "refs", "calls", "cluster", "session"]
INCLUDE = re.compile(r'^\s*#\s*include\s*[<"]((?:runtime|cluster_managers)/[^>"]+)[>"]', re.MULTILINE)
PROGRAMS = ("examples", "bench", "include", "repl")  # these use nothing but public headers


def forbidden(source, included):
    """Why the file may not include that one, or None. Both are paths from the root of the repository."""
    place, target = pathlib.PurePosixPath(source).parts, pathlib.PurePosixPath(included).parts
    if place[0] == "tools":
        return None if target[1] in ("base", "session") else "a tool knows only public headers, base and session"
    if place[0] in PROGRAMS:
        return f"{place[0]}/ knows only include/muster"
    if place[0] == "cluster_managers":
        if target[0] == "cluster_managers":
            return None if target[1] == place[1] else "managers do not know each other"
        return None if target[1] in ("base", "cluster") else "a manager knows only public headers, base and cluster's interface"
    if target[0] == "cluster_managers":
        return None if place[1] == "session" else "only session, which builds the process, knows managers"
    if place[1] not in ROOMS or target[1] not in ROOMS:
        return f"a room that has no place in the order {' < '.join(ROOMS)}"
    if ROOMS.index(target[1]) > ROOMS.index(place[1]):
        return f"{target[1]} is above {place[1]}"
    return None


def problems_in(root):
    found = []
    for folder in ("runtime", "cluster_managers", "tools", *PROGRAMS):
        for path in sorted((root / folder).rglob("*.[ch]pp")):
            source = path.relative_to(root).as_posix()
            text = path.read_text(encoding="utf-8")
            for match in INCLUDE.finditer(text):
                reason = forbidden(source, match.group(1))
                if reason:
                    line = text.count("\n", 0, match.start(1)) + 1
                    found.append(f"{source}:{line}: includes {match.group(1)}: {reason}")
    return found


def self_test():
    """A tree with one arrow of each forbidden kind, and some that are allowed."""
    files = {
        "runtime/wire/a.cpp": ('runtime/calls/table.hpp', 1),
        "runtime/calls/b.hpp": ('runtime/wire/codec.hpp', 0),
        "runtime/transport/zmq/c.cpp": ('runtime/exec/executor.hpp', 1),
        "runtime/attic/d.cpp": ('runtime/base/log.hpp', 1),
        "runtime/cluster/e.cpp": ('cluster_managers/ssh/f.hpp', 1),
        "runtime/session/e.cpp": ('cluster_managers/ssh/f.hpp', 0),
        "cluster_managers/ssh/f.cpp": ('runtime/transport/link.hpp', 1),
        "cluster_managers/ssh/g.cpp": ('runtime/base/log.hpp', 0),
        "cluster_managers/ssh/h.cpp": ('cluster_managers/local/spawn.hpp', 1),
        "tools/i.cpp": ('runtime/cluster/cluster.hpp', 1),
        "tools/j.cpp": ('runtime/session/generic_worker.hpp', 0),
        "include/muster/i.hpp": ('runtime/base/log.hpp', 1),
        "examples/j.cpp": ('runtime/base/log.hpp', 1),
    }
    with tempfile.TemporaryDirectory() as directory:
        root = pathlib.Path(directory)
        for name, (included, _) in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(f'#include <muster/ids.hpp>\n#include "{included}"\n', encoding="utf-8")
        found = {line.split(":")[0] for line in problems_in(root)}
    expected = {name for name, (_, bad) in files.items() if bad}
    if found != expected:
        sys.exit(f"missed: {sorted(expected - found)}; refused without reason: {sorted(found - expected)}")
    print(f"{len(expected)} forbidden arrows seen, {len(files) - len(expected)} allowed ones let through")


def main():
    if sys.argv[1] == "--self-test":
        self_test()
        return 0
    found = problems_in(pathlib.Path(sys.argv[1]))
    print("\n".join(found) or "every arrow runs downwards")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
