#!/usr/bin/env python3
"""Compiles the C++ that README.md and docs/*.md show.

usage: docs_code.py COMPILER REPOSITORY [SYSTEM_INCLUDE_DIRECTORY...] | docs_code.py --self-test

A block that opens with ```cpp and holds an `int main` is compiled as it stands. A block that opens with ```cpp body is
compiled as the inside of a main function with a Session. Other blocks are fragments and are left alone.
"""

import concurrent.futures
import os
import pathlib
import re
import subprocess
import sys
import tempfile

BLOCK = re.compile(r"^```cpp( body)?[ \t]*\n(.*?)^```[ \t]*$", re.MULTILINE | re.DOTALL)
BEFORE_BODY = """#include <muster/muster.hpp>
#include <algorithm>
#include <iostream>
#include <numeric>
#include <ranges>
int main(int argc, char** argv) {
  using namespace std::chrono_literals;
  muster::Session session(argc, argv);
"""


def programs_in(name, text):
    """Pairs of a place such as README.md:12 and a program whose error messages name that place."""
    found = []
    for match in BLOCK.finditer(text):
        line = text.count("\n", 0, match.start(2)) + 1
        code = f'#line {line} "{name}"\n{match.group(2)}'
        if match.group(1):
            found.append((f"{name}:{line}", f"{BEFORE_BODY}{code}\n}}\n"))
        elif re.search(r"\bint main\b", match.group(2)):
            found.append((f"{name}:{line}", code))
    return found


def compile_program(compiler, flags, program):
    with tempfile.NamedTemporaryFile("w", suffix=".cpp") as source:
        source.write(program)
        source.flush()
        command = [compiler, "-std=c++20", "-fsyntax-only", *flags, source.name]
        return subprocess.run(command, capture_output=True, text=True, check=False)


def check(compiler, root, system_directories):
    flags = ["-Wall", "-Wextra", f"-I{root / 'include'}"]
    for directory in system_directories:
        flags += ["-isystem", directory]
    programs = []
    for page in [root / "README.md", *sorted((root / "docs").glob("*.md"))]:
        if page.exists():
            programs += programs_in(page.relative_to(root).as_posix(), page.read_text(encoding="utf-8"))
    failures = 0
    with concurrent.futures.ThreadPoolExecutor(min(2, os.cpu_count() or 1)) as executor:
        results = executor.map(lambda item: compile_program(compiler, flags, item[1]), programs)
        for (place, _), result in zip(programs, results):
            if result.returncode != 0:
                failures += 1
                print(f"{place} does not compile:\n{result.stderr}")
    print(f"{len(programs)} programs compiled, {failures} refused")
    return 1 if failures else 0


def self_test():
    text = ("```cpp\nint main() { return 0; }\n```\n```cpp\nfragment;\n```\n"
            "```cpp body\nmuster::addprocs(2);\n```\n```sh\nint main\n```\n")
    found = programs_in("page.md", text)
    assert [place for place, _ in found] == ["page.md:2", "page.md:8"], found
    assert "Session" in found[1][1] and found[0][1].startswith('#line 2 "page.md"\nint main'), found
    assert compile_program("c++", [], found[0][1]).returncode == 0
    broken = compile_program("c++", [], programs_in("page.md", "```cpp\nint main() { return nothing; }\n```\n")[0][1])
    assert broken.returncode != 0 and "page.md:2" in broken.stderr, broken.stderr
    print("blocks are found, and broken ones refused")
    return 0


def main():
    if sys.argv[1] == "--self-test":
        return self_test()
    return check(sys.argv[1], pathlib.Path(sys.argv[2]), sys.argv[3:])


if __name__ == "__main__":
    sys.exit(main())
