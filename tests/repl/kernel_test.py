#!/usr/bin/env python3
"""The notebook's kernel, driven by Jupyter's own client.

usage: kernel_test.py KERNEL [TEST...]
"""

import glob
import json
import os
import pathlib
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import unittest
import zlib

import zmq
from jupyter_client import BlockingKernelClient, KernelManager
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.session import Session

PATIENCE = 120  # seconds: a machine that is busy takes its time
PROGRAM = ""  # the kernel, as an absolute path


def processes_of_session(leader):
    """Processes of that session: the kernel, its compiler, its workers. Those that have ended and wait to be read don't count."""
    found = []
    for path in glob.glob("/proc/[0-9]*/stat"):
        try:
            fields = pathlib.Path(path).read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == leader and fields[0] not in "ZX":
            found.append(int(path.split("/")[2]))
    return found


def wait_until(what, condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"did not come about: {what}")
        time.sleep(0.02)


class Outcome:
    """What a cell did: its reply, and the messages that it published."""

    def __init__(self, reply, messages):
        self.reply, self.messages = reply, messages

    def of_type(self, name):
        return [message["content"] for message in self.messages if message["msg_type"] == name]

    def stream(self, name="stdout"):
        return "".join(part["text"] for part in self.of_type("stream") if part["name"] == name)

    def result(self):
        results = self.of_type("execute_result")
        return results[0]["data"]["text/plain"] if results else None


class Notebook:
    """A kernel and its client."""

    def __init__(self, *options, mode=None):
        self.folder = tempfile.mkdtemp(prefix="muster-kernel-test-")
        subprocess.run([PROGRAM, "install", f"--prefix={self.folder}", *options], check=True, stdout=subprocess.DEVNULL)
        specs = os.path.join(self.folder, "share/jupyter/kernels")
        if mode:
            path = pathlib.Path(specs, "muster/kernel.json")
            path.write_text(json.dumps(json.loads(path.read_text()) | {"interrupt_mode": mode}))
        self.log = open(os.path.join(self.folder, "log"), "w+", encoding="utf-8")
        environment = dict(os.environ, HOME=self.folder, TMPDIR=self.folder)
        self.manager = KernelManager(kernel_name="muster", kernel_spec_manager=KernelSpecManager(kernel_dirs=[specs]))
        self.manager.start_kernel(stderr=self.log, env=environment)
        self.client = self.connect()
        self.client.wait_for_ready(timeout=PATIENCE)

    def connect(self):
        client = self.manager.client()
        client.start_channels()
        return client

    @property
    def pid(self):
        return self.manager.provisioner.pid

    def logged(self):
        self.log.seek(0)
        return self.log.read()

    def send(self, code, **how):
        return self.client.execute(code, **how)

    def published(self, request, until=lambda message: message["content"].get("execution_state") == "idle"):
        """The messages that this request led to, up to the one that is waited for."""
        messages = []
        while True:
            message = self.client.get_iopub_msg(timeout=PATIENCE)
            if message["parent_header"].get("msg_id") != request:
                continue
            messages.append(message)
            if until(message):
                return messages

    def reply(self, request):
        while True:
            message = self.client.get_shell_msg(timeout=PATIENCE)
            if message["parent_header"].get("msg_id") == request:
                return message["content"]

    def outcome(self, request):
        messages = self.published(request)
        return Outcome(self.reply(request), messages)

    def run(self, code, **how):
        return self.outcome(self.send(code, **how))

    def wait_for_text(self, request, text):
        seen = []

        def shown(message):
            if message["msg_type"] == "stream":
                seen.append(message["content"]["text"])
            return text in "".join(seen)

        self.published(request, shown)

    def close(self):
        self.client.stop_channels()
        if self.manager.has_kernel:
            self.manager.shutdown_kernel(now=True)
        self.log.close()
        shutil.rmtree(self.folder, ignore_errors=True)


class WithNotebook(unittest.TestCase):
    """Tests that share one kernel with two workers."""

    @classmethod
    def setUpClass(cls):
        cls.notebook = Notebook("-p", "2")

    @classmethod
    def tearDownClass(cls):
        cls.notebook.close()

    def good(self, code):
        outcome = self.notebook.run(code)
        self.assertEqual(outcome.reply["status"], "ok", (code, outcome.reply))
        return outcome


class Execution(WithNotebook):
    def test_values_and_declarations(self):
        self.assertIsNone(self.good("int six = 6;").result())
        outcome = self.good("int seven() { return six + 1; }\n\nsix * seven()")
        self.assertEqual(outcome.result(), "42")
        self.assertEqual(outcome.of_type("execute_result")[0]["execution_count"], outcome.reply["execution_count"])
        self.assertEqual(outcome.of_type("execute_input")[0]["code"], "int seven() { return six + 1; }\n\nsix * seven()")
        states = [one["execution_state"] for one in outcome.of_type("status")]
        self.assertEqual(states, ["busy", "idle"])

    def test_workers_run_what_is_typed(self):
        self.good("int scale = 10; int scaled(int x) { return x * 3; }")
        self.assertEqual(self.good("fetchfrom(2, [=](int x) { return scale * scaled(x); }, 4)").result(), "120")
        self.assertEqual(self.good("pmap([=](int x) { return x * scale; }, std::vector{1, 2, 3})").result(), "{10, 20, 30}")

    def test_streams(self):
        outcome = self.good('std::cout << "out " << 1; std::fprintf(stderr, "err\\n"); std::printf(" and more\\n");')
        self.assertEqual(outcome.stream(), "out 1 and more\n")
        self.assertEqual(outcome.stream("stderr"), "err\n")

    def test_workers_print_into_the_cell(self):
        request = self.notebook.send('fetchfrom(3, [] { std::printf("h\u00e9llo from there\\n"); });')
        self.notebook.wait_for_text(request, "From worker 3:\th\u00e9llo from there\n")
        self.assertEqual(self.notebook.reply(request)["status"], "ok")

    def test_bytes_that_are_no_text(self):
        self.assertEqual(self.good(r'std::cout << "a\xffz\n";').stream(), "a\ufffdz\n")

    def test_output_comes_while_the_cell_runs(self):
        request = self.notebook.send('std::cout << "begun" << std::endl; RemoteChannel<int> never(1); never.take();')
        self.notebook.wait_for_text(request, "begun\n")
        self.notebook.manager.interrupt_kernel()
        self.assertEqual(self.notebook.reply(request)["ename"], "muster::InterruptedError")

    def test_commands_and_code_in_one_cell(self):
        outcome = self.good("%everywhere {\nint base = 7;\n}\n%workers\nint above = base + 1;\nabove")
        self.assertEqual(outcome.stream(), "workers 2, 3\n")
        self.assertEqual(outcome.result(), "8")
        self.assertEqual(self.good("fetchfrom(3, [] { return base; })").result(), "7")
        outcome = self.notebook.run("%nonsense")
        self.assertIn("%nonsense: no such command", outcome.reply["evalue"])
        self.assertRegex(self.good("%time base").stream(), r"of which compiling")

    def test_silent_cells_leave_no_trace(self):
        before = self.good("1").reply["execution_count"]
        outcome = self.notebook.run("int unseen = 5; unseen", silent=True)
        self.assertEqual(outcome.of_type("execute_result"), [])
        self.assertEqual(outcome.of_type("execute_input"), [])
        after = self.good("unseen + 1")
        self.assertEqual(after.result(), "6")
        self.assertEqual(after.reply["execution_count"], before + 1)


class Failures(WithNotebook):
    def test_compile_error_tells_the_line(self):
        outcome = self.notebook.run("int fine = 1;\n\nint bad = nothing;")
        self.assertEqual(outcome.reply["ename"], "CompileError")
        count = outcome.reply["execution_count"]
        self.assertIn(f"In[{count}]:3:11: error: use of undeclared identifier 'nothing'", outcome.reply["evalue"])
        (error,) = outcome.of_type("error")
        self.assertIn("    3 | int bad = nothing;", error["traceback"])
        self.assertIn("\x1b[1;31merror:\x1b[0m", error["traceback"][0])
        self.assertEqual(self.good("1 + 1").result(), "2")

    def test_exceptions_here_and_there(self):
        outcome = self.notebook.run('throw std::out_of_range("too far");')
        self.assertEqual((outcome.reply["ename"], outcome.reply["evalue"]), ("std::out_of_range", "too far"))
        self.good("int fails(int x) { if (x > 0) throw std::domain_error(\"not there\"); return x; }")
        outcome = self.notebook.run("fetchfrom(2, fails, 1)")
        self.assertEqual((outcome.reply["ename"], outcome.reply["evalue"]), ("std::domain_error", "not there"))
        traceback = "\n".join(outcome.reply["traceback"])
        self.assertIn("On worker 2: \x1b[1;31mstd::domain_error\x1b[0m: not there", traceback)
        self.assertIn("fails(int)", traceback)  # the backtrace from the throw there
        self.assertEqual(outcome.of_type("error")[0]["traceback"], outcome.reply["traceback"])

    def test_a_worker_that_crashes(self):
        self.good("addprocs(1)")
        last = self.good("workers().back()").result()
        outcome = self.notebook.run(f"fetchfrom({last}, [] {{ volatile int* nowhere = nullptr; *nowhere = 1; return 1; }})")
        self.assertEqual(outcome.reply["ename"], "muster::ProcessExitedException")
        self.assertIn("SIGSEGV", "\n".join(outcome.reply["traceback"]))
        self.assertEqual(self.good("fetchfrom(2, [] { return myid(); })").result(), "2")

    def test_what_waits_behind_a_failure_is_not_run(self):
        self.good("int touched = 0;")
        slow = self.notebook.send('std::this_thread::sleep_for(500ms); throw std::runtime_error("stop here");')
        behind = self.notebook.send("touched = 1;")
        self.assertEqual(self.notebook.reply(slow)["status"], "error")
        self.assertEqual(self.notebook.reply(behind)["status"], "aborted")
        self.assertEqual(self.good("touched").result(), "0")

    def test_unless_the_client_says_otherwise(self):
        self.good("int reached = 0;")
        first = self.notebook.send('std::this_thread::sleep_for(300ms); throw 1;', stop_on_error=False)
        behind = self.notebook.send("reached = 1;")
        self.assertEqual(self.notebook.reply(first)["ename"], "int")
        self.assertEqual(self.notebook.reply(behind)["status"], "ok")
        self.assertEqual(self.good("reached").result(), "1")


class Interrupts:
    """With either way to interrupt."""

    mode = ""

    @classmethod
    def setUpClass(cls):
        cls.notebook = Notebook("-p", "1", mode=cls.mode)

    @classmethod
    def tearDownClass(cls):
        cls.notebook.close()

    def interrupted(self, code):
        request = self.notebook.send('std::cout << "running" << std::endl;\n' + code)
        self.notebook.wait_for_text(request, "running\n")
        begin = time.monotonic()
        self.notebook.manager.interrupt_kernel()
        reply = self.notebook.reply(request)
        self.assertEqual((reply["status"], reply["ename"]), ("error", "muster::InterruptedError"))
        self.assertLess(time.monotonic() - begin, 30)
        self.assertEqual(self.notebook.run("fetchfrom(2, [] { return 40 + myid(); })").result(), "42")

    def test_a_waiting_fetch(self):
        self.interrupted("fetchfrom(2, [] { RemoteChannel<int> never(1); return never.take(); })")

    def test_a_loop(self):
        self.interrupted("for (volatile long i = 0;; i = i + 1) { }")

    def test_nothing_runs(self):
        self.notebook.manager.interrupt_kernel()
        self.notebook.run("1 + 2")  # which it may find, since it comes by another way; but none after that
        self.assertEqual(self.notebook.run("1 + 2").result(), "3")


class InterruptMessage(Interrupts, unittest.TestCase):
    mode = "message"


class InterruptSignal(Interrupts, unittest.TestCase):
    mode = "signal"


class Questions(WithNotebook):
    def ask(self, kind, *arguments, **named):
        request = getattr(self.notebook.client, kind)(*arguments, **named)
        self.notebook.published(request)
        return self.notebook.reply(request)

    def test_completion(self):
        self.good("struct Particle { double position_x; double velocity; }; Particle particle; std::vector<int> numbers;")
        reply = self.ask("complete", "particle.po")
        self.assertEqual((reply["matches"], reply["cursor_start"], reply["cursor_end"]), (["position_x"], 9, 11))
        self.assertIn("particle", self.ask("complete", "int x = part")["matches"])
        self.assertIn("push_back", self.ask("complete", "numbers.push")["matches"])
        self.assertIn("remotecall_fetch", self.ask("complete", "muster::remotecall_")["matches"])
        self.assertEqual(self.ask("complete", "%wor")["matches"], ["%workers"])

    def test_completion_inside_a_cell(self):
        code = 'std::string \u00e4hnlich = "\u00e4\u00f6"; // \U0001f600\nstruct Here { int member_of_it; };\nHere here;\nhere.mem; int y;'
        cursor = code.index(".mem") + 4
        reply = self.ask("complete", code, cursor)
        self.assertEqual(reply["matches"], ["member_of_it"])
        self.assertEqual(code[reply["cursor_start"]:reply["cursor_end"]], "mem")
        inside = "int function_here(std::vector<int> argument) {\n  return argument.siz"
        self.assertIn("size", self.ask("complete", inside)["matches"])

    def test_is_complete(self):
        self.assertEqual(self.ask("is_complete", "int f() {")["status"], "incomplete")
        self.assertEqual(self.ask("is_complete", "int f() { return 1; }")["status"], "complete")

    def test_inspection(self):
        self.good("/// Twice as much.\nint twice_of(int number) { return 2 * number; }")
        reply = self.ask("inspect", "twice_of(3)", 4)
        self.assertTrue(reply["found"])
        self.assertIn("int twice_of(int number)", reply["data"]["text/plain"])
        self.assertFalse(self.ask("inspect", "no_such_name")["found"])

    def test_history(self):
        self.good("int remembered = 1;")
        history = self.ask("history", hist_access_type="tail", n=1)["history"]
        self.assertEqual([entry[2] for entry in history], ["int remembered = 1;"])
        found = self.ask("history", hist_access_type="search", pattern="*remem*")["history"]
        self.assertEqual(found[-1][2], "int remembered = 1;")

    def test_about(self):
        reply = self.ask("kernel_info")
        self.assertEqual(reply["implementation"], "muster")
        self.assertEqual(reply["language_info"]["file_extension"], ".cpp")
        self.assertTrue(reply["protocol_version"].startswith("5."))


def pixels_of(png):
    """Width, height and the bytes of a PNG of 8-bit RGB; checks its sums."""
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    at, header, packed = 8, None, b""
    while at < len(png):
        (size,), kind = struct.unpack(">I", png[at:at + 4]), png[at + 4:at + 8]
        content = png[at + 8:at + 8 + size]
        (total,) = struct.unpack(">I", png[at + 8 + size:at + 12 + size])
        assert total == zlib.crc32(kind + content)
        if kind == b"IHDR":
            header = struct.unpack(">IIBBBBB", content)
        elif kind == b"IDAT":
            packed += content
        at += 12 + size
    width, height = header[:2]
    assert header[2:] == (8, 2, 0, 0, 0)
    rows, result = zlib.decompress(packed), bytearray()
    for y in range(height):
        row = bytearray(rows[y * (3 * width + 1):(y + 1) * (3 * width + 1)])
        assert row.pop(0) in (0, 1)
        if rows[y * (3 * width + 1)] == 1:
            for x in range(3, 3 * width):
                row[x] = (row[x] + row[x - 3]) & 255
        result += row
    return width, height, bytes(result)


class Display(WithNotebook):
    def test_a_picture(self):
        outcome = self.good("RgbImage image{5, 4};\n"
                            "for (int i = 0; i < 60; ++i) image.rgb[i] = static_cast<std::uint8_t>(i * i);\nimage")
        (result,) = outcome.of_type("execute_result")
        import base64
        png = base64.b64decode(result["data"]["image/png"], validate=True)
        self.assertEqual(pixels_of(png), (5, 4, bytes(i * i % 256 for i in range(60))))
        self.assertEqual(result["data"]["text/plain"], "RgbImage of 5 x 4 pixels")

    def test_a_picture_made_by_workers(self):
        outcome = self.good("fetchfrom(2, [] { return RgbImage{2, 1, {255, 0, 0, 0, 255, 0}}; })")
        self.assertIn("image/png", outcome.of_type("execute_result")[0]["data"])

    def test_display_on_a_worker_is_printed(self):
        request = self.notebook.send("fetchfrom(2, [] { display(RgbImage{1, 1}); return 1; })")
        self.notebook.wait_for_text(request, "From worker 2:\tRgbImage of 1 x 1 pixels\n")

    def test_pixels_that_are_missing(self):
        self.assertEqual(self.notebook.run("RgbImage{5, 4, {1, 2, 3}}").reply["ename"], "std::invalid_argument")

    def test_display_in_the_middle(self):
        outcome = self.good('std::cout << "before\\n"; display(RgbImage{1, 1}); std::cout << "after\\n"; display(6 * 7);')
        kinds = [message["msg_type"] for message in outcome.messages if message["msg_type"] in ("stream", "display_data")]
        self.assertEqual(kinds, ["stream", "display_data", "stream", "display_data"])
        first, second = outcome.of_type("display_data")
        self.assertIn("image/png", first["data"])
        self.assertEqual(second["data"], {"text/plain": "42"})

    def test_types_with_forms_of_their_own(self):
        self.good('struct Link { std::string to; };\n'
                  'MimeBundle mime_bundle_repr(const Link& link) {\n'
                  '  return {{{"text/html", "<a href=\'" + link.to + "\'>there</a>"}, {"application/json", "[1, 2]"}, '
                  '{"text/plain", link.to}}};\n}')
        (result,) = self.good('Link{"x"}').of_type("execute_result")
        self.assertEqual(result["data"], {"text/html": "<a href='x'>there</a>", "application/json": [1, 2], "text/plain": "x"})


class Strangers(WithNotebook):
    """What has no business here changes nothing, and is told in the log."""

    def shell(self):
        peer = zmq.Context.instance().socket(zmq.DEALER)
        peer.linger = 0
        peer.connect(self.notebook.client.connection_file and f"tcp://127.0.0.1:{self.notebook.manager.shell_port}")
        self.addCleanup(peer.close)
        return peer

    def check_alive(self, expected):
        wait_until(expected + " in the log", lambda: expected in self.notebook.logged())
        self.assertEqual(self.good("20 + 1").result(), "21")
        self.assertTrue(self.notebook.manager.is_alive())

    def test_a_wrong_signature(self):
        stranger = Session(key=b"another key")
        peer = self.shell()
        stranger.send(peer, "execute_request", {"code": "std::_Exit(1);", "silent": False})
        self.check_alive("refused a message on the shell channel: it is not signed with this kernel's key")
        self.assertEqual(peer.poll(200), 0)

    def test_frames_that_are_no_message(self):
        peer = self.shell()
        for frames in ([b""], [b"<IDS|MSG>"], [b"x"] * 9, [b"<IDS|MSG>", b"", b"", b"", b"", b""], [b"\x00" * 100000]):
            peer.send_multipart(frames)
        self.check_alive("it has not the parts of a message")

    def test_signed_nonsense(self):
        peer = self.shell()
        signer = self.notebook.client.session
        for parts in ([b"{", b"{}", b"{}", b"{}"], [b"[]", b"{}", b"{}", b"{}"], [b"{}"] * 4,
                      [b'{"msg_type": 7}', b"{}", b"{}", b"{}"],
                      [b'{"msg_type": "execute_request"}', b"{}", b"{}", b'{"code": 7}'],
                      [b'{"msg_type": "complete_request"}', b"{}", b"{}", b'{"code": "x", "cursor_pos": -7}'],
                      [b'{"msg_type": "history_request"}', b"{}", b"{}", b'{"n": "many"}'],
                      [b'{"msg_type": "what_is_that"}', b"{}", b"{}", b"{}"]):
            peer.send_multipart([b"<IDS|MSG>", signer.sign(parts), *parts])
        self.check_alive("does not know what_is_that on the shell channel")
        self.assertIn("its header is no JSON object", self.notebook.logged())
        self.assertIn("its header has no msg_type", self.notebook.logged())

    def test_the_control_channel(self):
        peer = zmq.Context.instance().socket(zmq.DEALER)
        peer.linger = 0
        peer.connect(f"tcp://127.0.0.1:{self.notebook.manager.control_port}")
        self.addCleanup(peer.close)
        Session(key=b"another key").send(peer, "shutdown_request", {"restart": False})
        self.check_alive("refused a message on the control channel")

    def test_bytes_of_another_protocol(self):
        ports = [getattr(self.notebook.manager, name + "_port") for name in ("shell", "control", "iopub", "stdin", "hb")]
        for port in ports:
            with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as stranger:
                stranger.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" + bytes(range(256)))
        self.assertEqual(self.good("20 + 2").result(), "22")
        self.assertTrue(self.notebook.client.is_alive())


class Life(unittest.TestCase):
    def test_shutdown_leaves_nothing(self):
        notebook = Notebook("-p", "2")
        self.addCleanup(notebook.close)
        self.assertEqual(notebook.run("nprocs()").result(), "3")
        leader = notebook.pid
        self.assertGreaterEqual(len(processes_of_session(leader)), 3)
        notebook.manager.shutdown_kernel()
        wait_until("end of all processes", lambda: not processes_of_session(leader))
        self.assertEqual(glob.glob(notebook.folder + "/muster-prompt-*"), [])

    def test_restart_begins_anew(self):
        notebook = Notebook("-p", "1")
        self.addCleanup(notebook.close)
        notebook.run("int kept = 1;")
        leader = notebook.pid
        notebook.manager.restart_kernel()
        notebook.client.wait_for_ready(timeout=PATIENCE)
        wait_until("end of all processes", lambda: not processes_of_session(leader))
        self.assertEqual(notebook.run("kept").reply["ename"], "CompileError")
        self.assertEqual(notebook.run("fetchfrom(2, [] { return 7; })").result(), "7")

    def test_shutdown_of_code_that_looks_at_nothing(self):
        notebook = Notebook("-p", "1")
        self.addCleanup(notebook.close)
        request = notebook.send('std::cout << "running" << std::endl; std::this_thread::sleep_for(1h);')
        notebook.wait_for_text(request, "running\n")
        leader = notebook.pid
        notebook.manager.shutdown_kernel()
        wait_until("end of all processes", lambda: not processes_of_session(leader))

    def test_quit(self):
        notebook = Notebook()
        self.addCleanup(notebook.close)
        leader = notebook.pid
        reply = notebook.run("%quit").reply
        self.assertEqual(reply["payload"], [{"source": "ask_exit", "keepkernel": False}])
        wait_until("end of all processes", lambda: not processes_of_session(leader))

    def test_ends_with_the_server_that_started_it(self):
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run([PROGRAM, "install", f"--prefix={folder}", "-p", "1"], check=True, stdout=subprocess.DEVNULL)
            server = subprocess.Popen(
                [sys.executable, "-c", "import sys, time\nfrom jupyter_client import KernelManager\n"
                 "from jupyter_client.kernelspec import KernelSpecManager\n"
                 "m = KernelManager(kernel_name='muster', kernel_spec_manager=KernelSpecManager(kernel_dirs=[sys.argv[1]]))\n"
                 "m.start_kernel()\nc = m.client()\nc.start_channels()\nc.wait_for_ready(timeout=120)\n"
                 "print(m.provisioner.pid, flush=True)\ntime.sleep(3600)",
                 os.path.join(folder, "share/jupyter/kernels")], stdout=subprocess.PIPE, text=True)
            leader = int(server.stdout.readline())
            self.assertGreaterEqual(len(processes_of_session(leader)), 2)
            server.kill()
            server.wait()
            server.stdout.close()
            wait_until("end of all processes", lambda: not processes_of_session(leader))


class Installation(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="muster-kernel-test-")
        self.addCleanup(shutil.rmtree, self.folder)

    def install(self, *words, **variables):
        environment = {name: value for name, value in os.environ.items()
                       if name not in ("JUPYTER_DATA_DIR", "XDG_DATA_HOME", "VIRTUAL_ENV", "CONDA_PREFIX")}
        return subprocess.run([PROGRAM, "install", *words], env=environment | variables, text=True, capture_output=True)

    def spec(self, folder, name="muster"):
        return json.loads(pathlib.Path(self.folder, folder, "kernels", name, "kernel.json").read_text())

    def test_for_a_user(self):
        done = self.install("--user", HOME=self.folder)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.spec(".local/share/jupyter")["argv"], [PROGRAM, "-f", "{connection_file}"])

    def test_for_an_environment(self):
        self.assertEqual(self.install("--sys-prefix", VIRTUAL_ENV=self.folder).returncode, 0)
        self.assertEqual(self.spec("share/jupyter")["display_name"], "C++20 (Muster)")

    def test_with_a_name_and_workers(self):
        done = self.install("--prefix", self.folder, "--name=four", "--display-name=Four workers", "-p", "4")
        self.assertEqual(done.returncode, 0, done.stderr)
        spec = self.spec("share/jupyter", "four")
        self.assertEqual((spec["display_name"], spec["argv"][3:]), ("Four workers", ["-p", "4"]))

    def test_mistakes(self):
        for words, expected in ((["--nonsense"], "there is no option --nonsense"), (["--prefix"], "--prefix needs a value"),
                                (["--name=../x", "--user"], "letters, digits"),
                                (["--prefix=/proc/nowhere"], "can't write /proc/nowhere")):
            done = self.install(*words, HOME=self.folder)
            self.assertNotEqual(done.returncode, 0, words)
            self.assertIn(expected, done.stderr)

    def test_calls_without_a_connection(self):
        done = subprocess.run([PROGRAM], text=True, capture_output=True)
        self.assertEqual(done.returncode, 2)
        self.assertIn("muster-kernel install tells Jupyter of it", done.stderr)
        done = subprocess.run([PROGRAM, "-f", self.folder + "/none.json"], text=True, capture_output=True)
        self.assertEqual(done.returncode, 1)
        self.assertIn("can't read the connection file", done.stderr)


if __name__ == "__main__":
    PROGRAM = os.path.realpath(sys.argv[1])
    unittest.main(argv=[sys.argv[0], *sys.argv[2:]])
