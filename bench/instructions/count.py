#!/usr/bin/env python3
"""Counts instructions per call under callgrind, and compares with figures.json; see bench/README.md.

Whole programs can't be compared: how long a process looks for messages before it sleeps differs from run to run. So
what is counted is what certain functions and all they call take, and the difference of two numbers of calls, which
leaves out what is done once.
"""

import argparse
import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
FIGURES = HERE / "figures.json"
SKIPPED = 77
ALLOWED = 1.10

# What is counted: (process, function).
ISSUE = ("master", "muster::runtime::Calls::start(")
ISSUE_AWAITED = ("master", "muster::runtime::Calls::begin(")
ANSWER = ("master", "muster::runtime::Transport::take(")
ARRIVAL = ("worker", "muster::runtime::Transport::take(")
RUN = ("worker", "muster::runtime::CallJob::run(")
DRIVER = ("master", "muster::runtime::MapDriver::advance(")
COUNTED = {
    "call": {"issue": ISSUE_AWAITED, "arrival": ARRIVAL, "run and reply": RUN, "answer": ANSWER},
    "spawn": {"issue": ISSUE, "arrival": ARRIVAL, "run and reply": RUN, "answer": ANSWER},
    "pmap": {"driver, issue included": DRIVER, "arrival": ARRIVAL, "run and reply": RUN, "answer": ANSWER},
}
FEW, MANY = 500, 2500


def inclusive(profile):
    """(process, {function: instructions}) of a profile; of a function with lines in several files the largest."""
    text = subprocess.run(["callgrind_annotate", "--inclusive=yes", "--auto=no", "--show=Ir", "--threshold=100", profile],
                          capture_output=True, text=True, check=True).stdout  # fmt: skip
    process = "worker" if "--muster-worker" in text.partition("\n\n")[0] or "--muster-worker (PID" in text else "master"
    found = {}
    for count, name in re.findall(r"^\s*([\d,]+) \([^)]*\)\s+[^:\s]*:(muster::.*)$", text, re.MULTILINE):
        instructions = int(count.replace(",", ""))
        found[name] = max(found.get(name, 0), instructions)
    return process, found


def profiles(program, what, calls):
    with tempfile.TemporaryDirectory() as folder:
        command = ["valgrind", "--tool=callgrind", "--trace-children=yes", f"--callgrind-out-file={folder}/%p", program, what, str(calls)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        if done.returncode != 0:
            sys.exit(f"{' '.join(map(str, command))} ended with status {done.returncode}:\n{done.stderr[-2000:]}")
        return dict(inclusive(file) for file in pathlib.Path(folder).iterdir() if file.stat().st_size > 0)


def per_call(program, what):
    few, many = profiles(program, what, FEW), profiles(program, what, MANY)

    def cost(of, counted):
        process, function = counted
        costs = [count for name, count in of[process].items() if name.startswith(function)]
        if not costs:
            sys.exit(f"{function}...) does not appear in the profile of the {process}: was it inlined or renamed? See {__file__}")
        return max(costs)

    return {name: round((cost(many, counted) - cost(few, counted)) / (MANY - FEW)) for name, counted in COUNTED[what].items()}


def main():
    parser = argparse.ArgumentParser(description="Counts instructions per call, and fails where they grew by more than 10 %.")
    parser.add_argument("program", type=pathlib.Path, help="bench_instructions, of a release build")
    parser.add_argument("--update", action="store_true", help=f"write {FIGURES.name} instead of comparing")
    arguments = parser.parse_args()
    if not shutil.which("valgrind"):
        print("valgrind is not installed: scripts/setup installs it")
        sys.exit(SKIPPED)
    measured = {}
    for what in COUNTED:
        parts = per_call(arguments.program, what)
        measured[what] = {**parts, "all": sum(parts.values())}
    if arguments.update:
        FIGURES.write_text(json.dumps(measured, indent=2) + "\n")
    expected = json.loads(FIGURES.read_text())
    grown = []
    for what, parts in measured.items():
        for part, count in parts.items():
            before = expected[what][part]
            print(f"{what:6} {part:24} {count:7}  committed {before:7}  {count / before:5.2f}")
            if count > before * ALLOWED:
                grown.append(f"{what}: {part}")
    if grown:
        sys.exit(f"More than {ALLOWED - 1:.0%} more instructions than committed: {'; '.join(grown)}.\n"
                 "See that it is worth it; then commit what `bench/instructions/count.py PROGRAM --update` writes.")  # fmt: skip


if __name__ == "__main__":
    main()
