#!/usr/bin/env python3
"""Measures what `#include <muster/muster.hpp>` adds to the compilation of a file, and fails above the limit.

usage: cost.py COMPILER INCLUDE_DIRECTORY

The figure is processor time, less that of the standard headers nearly every program includes anyway. Other work on the
machine only adds to either: the least of three rounds counts, and of up to ten where three were above the limit.
"""

import os
import subprocess
import sys
import tempfile

LIMIT_SECONDS = 1.5
FEWEST_ROUNDS, MOST_ROUNDS = 3, 10
BASE = "".join(f"#include <{name}>\n" for name in ("vector", "string", "functional", "map", "thread"))


def seconds_to_compile(compiler, include, text):
    with tempfile.NamedTemporaryFile("w", suffix=".cpp") as source:
        source.write(text + "int main() {}\n")
        source.flush()
        command = [compiler, "-std=c++20", "-O0", "-fsyntax-only", f"-I{include}", source.name]
        before = os.times()
        subprocess.run(command, check=True)
        after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def main():
    compiler, include = sys.argv[1:3]
    base = whole = float("inf")
    for done in range(MOST_ROUNDS):
        if done >= FEWEST_ROUNDS and whole - base <= LIMIT_SECONDS:
            break
        base = min(base, seconds_to_compile(compiler, include, BASE))
        whole = min(whole, seconds_to_compile(compiler, include, BASE + "#include <muster/muster.hpp>\n"))
    print(f"standard headers {base:.2f} s, with <muster/muster.hpp> {whole:.2f} s: costs {whole - base:.2f} s "
          f"(limit {LIMIT_SECONDS} s)")
    return 0 if whole - base <= LIMIT_SECONDS else 1


if __name__ == "__main__":
    sys.exit(main())
