#!/usr/bin/env python3
"""Measures what `#include <muster/muster.hpp>` adds to the compilation of a file, and fails above the limit.

usage: cost.py COMPILER INCLUDE_DIRECTORY

The figure is processor time, the least of three, less that of the standard headers nearly every program includes anyway.
"""

import os
import subprocess
import sys
import tempfile

LIMIT_SECONDS = 1.5
BASE = "".join(f"#include <{name}>\n" for name in ("vector", "string", "functional", "map", "thread"))


def seconds_to_compile(compiler, include, text):
    with tempfile.NamedTemporaryFile("w", suffix=".cpp") as source:
        source.write(text + "int main() {}\n")
        source.flush()
        command = [compiler, "-std=c++20", "-O0", "-fsyntax-only", f"-I{include}", source.name]
        best = float("inf")
        for _ in range(3):
            before = os.times()
            subprocess.run(command, check=True)
            after = os.times()
            used = after.children_user + after.children_system - before.children_user - before.children_system
            best = min(best, used)
        return best


def main():
    compiler, include = sys.argv[1:3]
    base = seconds_to_compile(compiler, include, BASE)
    whole = seconds_to_compile(compiler, include, BASE + "#include <muster/muster.hpp>\n")
    print(f"standard headers {base:.2f} s, with <muster/muster.hpp> {whole:.2f} s: costs {whole - base:.2f} s "
          f"(limit {LIMIT_SECONDS} s)")
    return 0 if whole - base <= LIMIT_SECONDS else 1


if __name__ == "__main__":
    sys.exit(main())
