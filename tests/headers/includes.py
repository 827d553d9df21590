#!/usr/bin/env python3
"""Checks that no public header reaches, directly or not, a header of a library that Muster hides from its users.

usage: includes.py COMPILER INCLUDE_DIRECTORY
"""

import pathlib
import re
import subprocess
import sys

# What a path of each hidden library looks like. Angle-bracket names are matched too, for headers that are not installed.
HIDDEN = {
    "Boost": r"(^|/)boost/",
    "ZeroMQ": r"(^|/)zmq(_addon)?\.h(pp)?$",
    "libssh": r"(^|/)libssh/",
    "spdlog": r"(^|/)spdlog/",
    "fmt": r"(^|/)fmt/",
    "libsodium": r"(^|/)sodium(\.h$|/)",
    "libdw": r"(^|/)(elfutils/|libelf\.h$|gelf\.h$|dwarf\.h$)",
    "nlohmann-json": r"(^|/)nlohmann/",
    "CLI11": r"(^|/)CLI/",
    "Eigen": r"(^|/)Eigen/",
    "Muster's own runtime": r"^runtime/|/runtime/(base|code|wire|transport|exec|refs|calls|cluster|session)/",
}
# The two headers that exist to meet another library.
ALLOWED = {"muster/asio.hpp": {"Boost"}, "muster/serialize/eigen.hpp": {"Eigen"}}


def names_in(header):
    return re.findall(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]', header.read_text(encoding="utf-8"), re.MULTILINE)


def reached_by(compiler, include, name):
    """Every file that the header includes, however deep."""
    command = [compiler, "-std=c++20", f"-I{include}", "-M", "-include", name, "-x", "c++", "/dev/null"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        sys.exit(f"{name} does not preprocess:\n{result.stderr}")
    return result.stdout.replace("\\\n", " ").split()[1:]


def main():
    compiler, include = sys.argv[1], pathlib.Path(sys.argv[2])
    headers = sorted(include.rglob("*.hpp"))
    if not headers:
        sys.exit(f"no headers under {include}")
    problems = []
    for header in headers:
        name = header.relative_to(include).as_posix()
        allowed = ALLOWED.get(name, set())
        paths = set(names_in(header))
        if not allowed:  # the others need include directories of the library they meet
            paths.update(reached_by(compiler, include, name))
        for library, pattern in HIDDEN.items():
            found = sorted(path for path in paths if re.search(pattern, path))
            if found and library not in allowed:
                problems.append(f"{name} reaches {library}: {found[0]}")
    print("\n".join(problems) or f"{len(headers)} headers reach no hidden library")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
