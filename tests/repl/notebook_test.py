#!/usr/bin/env python3
"""Executes a notebook as its readers do, through nbconvert, and compares what its cells show with what it holds.

usage: notebook_test.py KERNEL NOTEBOOK

Cells tagged `varies` show times and the like: there only the kinds of output are compared.
"""

import base64
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

from kernel_test import pixels_of

KERNEL, NOTEBOOK = "", ""


def code_cells(path):
    return [cell for cell in json.loads(pathlib.Path(path).read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]


def text(parts):
    return "".join(parts)


def text_of_streams(cell):
    return "".join(text(output["text"]) for output in cell["outputs"] if output["output_type"] == "stream")


def others(cell):
    return [output for output in cell["outputs"] if output["output_type"] != "stream"]


class Executed(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run([KERNEL, "install", f"--prefix={folder}"], check=True, stdout=subprocess.DEVNULL)
            environment = dict(os.environ, JUPYTER_PATH=os.path.join(folder, "share/jupyter"))
            done = subprocess.run(
                [sys.executable, "-m", "nbconvert", "--to", "notebook", "--execute", "--ExecutePreprocessor.timeout=300",
                 "--ExecutePreprocessor.startup_timeout=120", f"--output-dir={folder}", "--output=executed.ipynb", NOTEBOOK],
                env=environment, text=True, capture_output=True)
            assert done.returncode == 0, done.stderr
            cls.fresh = code_cells(os.path.join(folder, "executed.ipynb"))
        cls.kept = code_cells(NOTEBOOK)

    def pairs(self):
        self.assertEqual(len(self.fresh), len(self.kept))
        for kept, fresh in zip(self.kept, self.fresh):
            with self.subTest(text(kept["source"])):
                yield kept, fresh, "varies" in kept["metadata"].get("tags", [])

    def test_it_has_been_executed(self):
        for kept, _, _ in self.pairs():
            self.assertIsNotNone(kept["execution_count"], "store it with its outputs: nbconvert --execute --inplace")

    def test_what_is_printed(self):
        for kept, fresh, varies in self.pairs():
            if varies:
                self.assertEqual(len(text_of_streams(fresh).splitlines()), len(text_of_streams(kept).splitlines()))
            else:
                self.assertEqual(text_of_streams(fresh), text_of_streams(kept))

    def test_what_is_shown(self):
        for kept, fresh, varies in self.pairs():
            self.assertEqual([one["output_type"] for one in others(fresh)], [one["output_type"] for one in others(kept)])
            for expected, got in zip(others(kept), others(fresh)):
                if got["output_type"] == "error":
                    self.assertEqual((got["ename"], got["evalue"]), (expected["ename"], expected["evalue"]))
                elif not varies:
                    self.assertEqual(got["data"].keys(), expected["data"].keys())
                    self.assertEqual(text(got["data"]["text/plain"]), text(expected["data"]["text/plain"]))

    def test_pictures(self):
        seen = 0
        for kept, fresh, _ in self.pairs():
            for expected, got in zip(others(kept), others(fresh)):
                if "image/png" not in expected.get("data", {}):
                    continue
                seen += 1
                png = [base64.b64decode(text(one["data"]["image/png"])) for one in (expected, got)]
                (width, height, before), (fresh_width, fresh_height, after) = pixels_of(png[0]), pixels_of(png[1])
                self.assertEqual((fresh_width, fresh_height), (width, height))
                differ = sum(abs(a - b) for a, b in zip(before, after)) / len(before)
                self.assertLess(differ, 0.5)  # other processors' mathematics differ in the last digits
                self.assertGreater(len(set(zip(after[::3], after[1::3], after[2::3]))), 100)  # and colours there are
        self.assertEqual(seen, 1)


if __name__ == "__main__":
    KERNEL, NOTEBOOK = os.path.realpath(sys.argv[1]), sys.argv[2]
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]])
