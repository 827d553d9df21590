#!/usr/bin/env python3
"""Makes docs/images/notebook.png: the tour, run in Jupyter Notebook, as a browser shows it.

usage: docs/images/notebook.py KERNEL     (the program muster-kernel, built or installed)

Needs Debian's jupyter-notebook, chromium, chromium-driver and python3-selenium, and runs in the system's Python.
"""

import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.ui import WebDriverWait

ROOT = pathlib.Path(__file__).resolve().parents[2]
PATIENCE = 180  # seconds


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def wait_for_server(url):
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except (urllib.error.URLError, ConnectionError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def photograph(url, target):
    options = Options()
    for word in ("--headless=new", "--no-sandbox", "--window-size=1060,1900", "--hide-scrollbars"):
        options.add_argument(word)
    browser = webdriver.Chrome(service=Service(shutil.which("chromedriver")), options=options)
    try:
        browser.get(url)
        wait = WebDriverWait(browser, PATIENCE)
        wait.until(lambda b: b.execute_script(
            "return window.Jupyter && Jupyter.notebook && Jupyter.notebook.kernel && Jupyter.notebook.kernel.is_connected()"))
        browser.execute_script("Jupyter.notebook.clear_all_output();"
                               "Jupyter.notebook.get_cells().forEach(cell => { if (cell.cell_type == 'code') cell.execute(false); });")
        wait.until(lambda b: b.execute_script(
            "return Jupyter.notebook.get_cells().every(cell => cell.cell_type != 'code' ||"
            " (cell.input_prompt_number > 0))"))
        wait.until(lambda b: b.execute_script(
            "const picture = document.querySelector('.output_png img'); return picture && picture.complete && !Jupyter.notebook.kernel_busy"))
        browser.execute_script(
            "document.querySelector('#header-container').style.display = 'none';"
            "const cells = Jupyter.notebook.get_cells();"
            "const at = cells.findIndex(cell => cell.get_text().startsWith('## Errors'));"
            "Jupyter.notebook.select(at); cells[at].element[0].scrollIntoView();")
        time.sleep(1)  # for the page to be painted
        browser.save_screenshot(str(target))
    finally:
        browser.quit()


def main():
    kernel = os.path.realpath(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([kernel, "install", f"--prefix={folder}"], check=True)
        shutil.copy(ROOT / "examples/notebooks/tour.ipynb", folder)
        port = free_port()
        environment = dict(os.environ, JUPYTER_PATH=os.path.join(folder, "share/jupyter"), JUPYTER_CONFIG_DIR=folder,
                           IPYTHONDIR=folder, JUPYTER_DATA_DIR=os.path.join(folder, "data"))
        server = subprocess.Popen(
            [sys.executable, "-m", "notebook", "--allow-root", "--no-browser", "--ip=127.0.0.1", f"--port={port}",
             "--NotebookApp.token=", "--NotebookApp.password=", f"--notebook-dir={folder}"], env=environment)
        try:
            wait_for_server(f"http://127.0.0.1:{port}/api")
            photograph(f"http://127.0.0.1:{port}/notebooks/tour.ipynb", ROOT / "docs/images/notebook.png")
        finally:
            server.terminate()
            server.wait()


if __name__ == "__main__":
    main()
