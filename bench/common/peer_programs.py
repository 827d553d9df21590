"""How the program of each peer is built and started."""

import os
import shutil
import subprocess
import sys

# Its file in the folder of a workload.
FILES = {
    "openmpi": "openmpi.cpp",
    "mpi4py": "mpi4py_futures.py",
    "dask": "dask_distributed.py",
    "ipyparallel": "ipyparallel_view.py",
    "process_pool": "process_pool.py",
    "caf": "caf.cpp",
    "capnproto": "capnproto.cpp",
    "erlang": "erlang_peer.erl",
    "julia": "julia_peer.jl",
}
PYTHON_MODULES = {"mpi4py": "mpi4py", "dask": "distributed", "ipyparallel": "ipyparallel", "process_pool": "concurrent.futures"}
ERLANG_PORT = "14369"  # of its name server, which is this benchmark's own and ends with it


def command(peer, folder, ranks, scratch):
    """The command that runs a peer's program of a workload; None where there is no such program or peer.

    `ranks`: of its Open MPI and mpi4py programs. What has to be built is built in `scratch`.
    """
    source = folder / FILES[peer]
    if not source.exists():
        return None
    if peer in PYTHON_MODULES:
        return python_command(peer, source, ranks)
    return {"openmpi": openmpi, "caf": caf, "capnproto": capnproto, "erlang": erlang, "julia": julia}[peer](source, ranks, scratch)


def python_command(peer, source, ranks):
    python = python_with(PYTHON_MODULES[peer])
    if python is None or (peer == "mpi4py" and not shutil.which("mpirun")):
        return None
    if peer == "mpi4py":
        return mpirun(ranks) + [python, *([] if ranks == 1 else ["-m", "mpi4py.futures"]), str(source)]
    return [python, str(source)]


def python_with(module):
    """A Python that has the module, and NumPy if either of the two has: this one, or the distribution's."""
    system = "/usr/bin/python3"
    others = [system] if os.path.exists(system) else []
    for modules in ([module, "numpy"], [module]):
        for python in [sys.executable, *others]:
            if subprocess.run([python, "-c", f"import {', '.join(modules)}"], capture_output=True).returncode == 0:
                return python
    return None


def mpirun(ranks):
    return ["mpirun", "--oversubscribe", "-n", str(ranks)]


def openmpi(source, ranks, scratch):
    if not shutil.which("mpirun"):
        return None
    program = built(source, scratch, "mpicxx", [], [])
    return program and mpirun(ranks) + program


def caf(source, _, scratch):
    if not os.path.exists("/usr/include/caf/io/all.hpp"):
        return None
    return built(source, scratch, "g++", [], ["-lcaf_io", "-lcaf_core", "-lpthread"])


def capnproto(source, _, scratch):
    if not shutil.which("capnp") or not os.path.exists("/usr/include/capnp/ez-rpc.h"):
        return None
    common = source.parent.parent / "common"
    subprocess.run(["capnp", "compile", f"-oc++:{scratch}", f"--src-prefix={common}", common / "echo.capnp"], check=True)
    libraries = ["-lcapnp-rpc", "-lcapnp", "-lkj-async", "-lkj"]
    return built(source, scratch, "g++", [f"-I{scratch}", scratch / "echo.capnp.c++"], libraries)


def built(source, scratch, compiler, more, libraries):
    """The program of a C++ source, compiled unless that is done; None without that compiler."""
    if not shutil.which(compiler):
        return None
    program = scratch / f"{source.stem}_{source.parent.name}"
    sources = [source, *(source.parent.parent / "common").glob("*.hpp")]
    if not program.exists() or program.stat().st_mtime < max(file.stat().st_mtime for file in sources):
        subprocess.run([compiler, "-std=c++20", "-O2", source, *more, "-o", program, *libraries], check=True, stdout=sys.stderr)
    return [str(program)]


def erlang(source, _, scratch):
    if not shutil.which("erlc"):
        return None
    folder = scratch / f"erlang_{source.parent.name}"
    folder.mkdir(exist_ok=True)
    common = source.parent.parent / "common" / "erlang_peers.erl"
    subprocess.run(["erlc", "-o", folder, common, source], check=True, stdout=sys.stderr)
    run = f"erl -noshell -sname master@localhost -connect_all false +S 1 -pa '{folder}' -run {source.stem} main"
    return ["sh", "-c", f"export ERL_EPMD_PORT={ERLANG_PORT}; {run}; status=$?; epmd -kill >/dev/null; exit $status"]


def julia(source, *_):
    return ["julia", str(source)] if shutil.which("julia") else None
