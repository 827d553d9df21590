#!/usr/bin/env python3
"""Writes docs/conformance.md: each number of the behaviour catalogue, and the test that proves it.

usage: conformance.py [--check] REPOSITORY | conformance.py --self-test

Numbers, subjects and decisions are in catalogue.json beside this file, with the reason where there is no test. A test says
what it proves in a comment above it: `// catalogue: 191, 198` (with the section, if one likes: `3.11.191`). In a program
that must not compile it stands anywhere in the file, and in a Python test above a function, after a `#`.

--check writes nothing, and fails where the page is out of date, a comment names a number that there is not, stands over no
test, or something to be kept or bettered has neither test nor reason.
"""

import json
import pathlib
import re
import sys
import tempfile

MARKS = {"T": "a test of Distributed or Base", "N": "a test of DistributedNext", "R": "seen when running it",
         "S": "read in its source", "D": "its documentation"}
DECISIONS = ("K", "F", "X")
COMMENT = re.compile(r"^\s*(?://|#) catalogue:(.*)$")
NUMBERS = re.compile(r"^\s*(?:\d+\.\d+\.)?\d+(?:\s*,\s*(?:\d+\.\d+\.)?\d+)*\s*$")
MACRO = re.compile(r"^\s*(?:TYPED_)?TEST(?:_F|_P)?\(\s*(\w+)\s*,\s*(\w+)\s*\)", re.MULTILINE)
FUNCTION = re.compile(r"^\s*def (\w+)")


def program_of(path):
    """The program a test belongs to, as one runs it. The path is relative to tests/."""
    if path.parts[0] == "end_to_end":
        return "end_to_end_" + path.stem
    if path.parts[0] == "labs":
        return "lab_" + path.parts[1]
    if path.parts[0] == "runtime":
        return "test_" + path.parts[1]
    return "test_" + path.parts[0]


def test_below(path, lines, at):
    """The name of the test that the comment in line `at` stands over, or None."""
    if path.parts[0] == "must_not_compile":
        return f"{path.parts[0]}: {path.stem}"
    marker = "#" if path.suffix == ".py" else "//"
    while at < len(lines) and lines[at].lstrip().startswith(marker):
        at += 1
    if path.suffix == ".py":
        found = FUNCTION.match(lines[at]) if at < len(lines) else None
        return f"{path.name}: {found.group(1)}" if found else None
    found = MACRO.match("\n".join(lines[at:at + 3]))
    return f"{program_of(path)}: {found.group(1)}.{found.group(2)}" if found else None


def comments_in(tests):
    """What the tests say: for each comment its place, its text and the test, or None."""
    for path in sorted((*tests.rglob("*.cpp"), *tests.rglob("*.py"))):
        if path.name == "conformance.py":
            continue
        lines = path.read_text(encoding="utf-8").splitlines()
        relative = path.relative_to(tests)
        for at, line in enumerate(lines):
            if found := COMMENT.match(line):
                yield f"tests/{relative.as_posix()}:{at + 1}", found.group(1), test_below(relative, lines, at)


def proofs_in(tests, known):
    """Tests for each number, and what is wrong with the comments. `known` gives the section of each number."""
    proofs, problems = {}, []
    for place, text, test in comments_in(tests):
        if test is None:
            problems.append(f"{place}: the comment stands over no test")
            continue
        if not NUMBERS.match(text):
            problems.append(f"{place}: `{text.strip()}` is no list of numbers")
            continue
        for word in text.split(","):
            section, _, number = word.strip().rpartition(".")
            if int(number) not in known or (section and section != known[int(number)]):
                problems.append(f"{place}: the catalogue has no number {word.strip()}")
            elif test not in proofs.setdefault(int(number), []):
                proofs[int(number)].append(test)
    return proofs, problems


def row(item, tests):
    proof = "<br>".join(f"`{test}`" for test in tests) if tests else item.get("reason", "")
    if tests and "ours" in item:
        proof += f"<br>{item['ours']}"
    return f"| {item['number']} | {item['subject']} | {item['mark']} {item['decision']} | {proof} |"


def page(sections, proofs):
    items = [item for section in sections for item in section["items"]]
    tested = sum(item["number"] in proofs for item in items)
    missing = [item for item in items
               if item["number"] not in proofs and item.get("reason", "").startswith("not there yet")]
    marks = ", ".join(f"{mark} {meaning}" for mark, meaning in MARKS.items())
    lines = [
        "# What Distributed.jl does, and what Muster does",
        "",
        "Each line is one behaviour of Julia's Distributed or DistributedNext, and the test that proves it here, or the reason",
        "why there is none. Where Muster decided otherwise, a sentence below the test says how.",
        "",
        "This page is made from the tests: a comment `// catalogue: 12` over a test says that it proves number 12. After a change",
        "of such comments, or of `tests/conformance/catalogue.json`, which holds the rest, make it anew:",
        "",
        "    python3 tests/conformance/conformance.py .",
        "",
        "The first letter says where the behaviour is known from:",
        f"{marks}.",
        "The second is the decision: K it holds here, F Muster does better, X the intent holds by a mechanism of C++.",
        "A test `program: Suite.Name` is run by `program --gtest_filter='*Suite.Name*'`, and `must_not_compile: name` by",
        "`ctest -R must_not_compile.name`.",
        "",
        f"{len(items)} behaviours: {tested} with tests, {len(items) - tested} with a reason,",
        f"{len(missing)} of these not there yet" + (f" ({', '.join(str(item['number']) for item in missing)})." if missing else "."),
    ]
    for section in sections:
        lines += ["", f"## {section['section']} {section['title']}", "", "| | behaviour | | test, or why there is none |",
                  "| --- | --- | --- | --- |"]
        lines += [row(item, proofs.get(item["number"], [])) for item in section["items"]]
    return "\n".join(lines) + "\n"


def result(root):
    """The page, and what is wrong."""
    data = root / "tests" / "conformance" / "catalogue.json"
    sections = json.loads(data.read_text(encoding="utf-8"))
    known, problems = {}, []
    for section in sections:
        for item in section["items"]:
            if item["number"] in known:
                problems.append(f"{data.name}: {item['number']} is there twice")
            if item["mark"] not in MARKS or item["decision"] not in DECISIONS:
                problems.append(f"{data.name}: {item['number']} has a letter that means nothing")
            known[item["number"]] = section["section"]
    proofs, wrong = proofs_in(root / "tests", known)
    problems += wrong
    for section in sections:
        for item in section["items"]:
            if item["number"] not in proofs and not item.get("reason"):
                problems.append(f"{data.name}: {item['number']} has neither test nor reason")
    return page(sections, proofs), problems


def main(root, only_check):
    text, problems = result(root)
    target = root / "docs" / "conformance.md"
    if only_check and (not target.exists() or target.read_text(encoding="utf-8") != text):
        problems.append("docs/conformance.md is out of date: run python3 tests/conformance/conformance.py .")
    for problem in problems:
        print(problem, file=sys.stderr)
    if not only_check:
        target.write_text(text, encoding="utf-8")
    return 1 if problems else 0


def self_test():
    """A tree with one fault of each kind."""
    catalogue = [{"section": "3.1", "title": "A", "items": [
        {"number": 1, "mark": "T", "decision": "K", "subject": "one"},
        {"number": 2, "mark": "S", "decision": "F", "subject": "two", "ours": "Otherwise."},
        {"number": 3, "mark": "R", "decision": "X", "subject": "three", "reason": "not there yet: soon"},
        {"number": 4, "mark": "R", "decision": "K", "subject": "four", "reason": "no need"},
        {"number": 5, "mark": "R", "decision": "K", "subject": "five"}]}]
    files = {
        "tests/runtime/wire/a_test.cpp": "// catalogue: 1, 3.1.4\n// more\nTEST(Codec, Reads) {\n",
        "tests/end_to_end/b_test.cpp": "// catalogue: 2\nTEST_F(\n    Calls, Run) {\n// catalogue: 9\nTEST(A, B) {}\n"
                                       "// catalogue: 3.2.1\nTEST(A, C) {}\n// catalogue: 1\nint x;\n// catalogue: one\nTEST(A, D) {}\n",
        "tests/must_not_compile/c.cpp": "// expect: x\n// catalogue: 1\nint x;\n",
        "tests/headers/d.py": "# catalogue: 2\ndef check():\n",
    }
    with tempfile.TemporaryDirectory() as name:
        root = pathlib.Path(name)
        for path, text in {**files, "tests/conformance/catalogue.json": json.dumps(catalogue)}.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text, encoding="utf-8")
        (root / "docs").mkdir()
        text, problems = result(root)
        expected_rows = ["| 1 | one | T K | `must_not_compile: c`<br>`test_wire: Codec.Reads` |",
                         "| 2 | two | S F | `end_to_end_b_test: Calls.Run`<br>`d.py: check`<br>Otherwise. |",
                         "| 3 | three | R X | not there yet: soon |", "| 4 | four | R K | `test_wire: Codec.Reads` |",
                         "1 of these not there yet (3)."]
        expected_problems = ["b_test.cpp:4: the catalogue has no number 9", "b_test.cpp:6: the catalogue has no number 3.2.1",
                             "b_test.cpp:8: the comment stands over no test", "b_test.cpp:10: `one` is no list of numbers",
                             "5 has neither test nor reason"]
        faults = [line for line in expected_rows if line not in text]
        faults += [line for line in expected_problems if sum(line in problem for problem in problems) != 1]
        if len(problems) != len(expected_problems):
            faults.append(f"{len(problems)} problems instead of {len(expected_problems)}: {problems}")
    for fault in faults:
        print("not found:", fault, file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    arguments = sys.argv[1:]
    if arguments == ["--self-test"]:
        sys.exit(self_test())
    check = arguments[:1] == ["--check"]
    if len(arguments) != 1 + check:
        sys.exit(__doc__)
    sys.exit(main(pathlib.Path(arguments[-1]), check))
