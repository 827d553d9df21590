/// @file
/// `muster-worker`: joins a master as a worker, on a machine that need not have the master's program.
#include "runtime/base/log.hpp"
#include "runtime/session/generic_worker.hpp"

#include <cstdio>
#include <exception>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

constexpr const char* usage =
    R"(usage: muster-worker [--connect HOST:PORT] [--key-file FILE] [--bind ADDRESS[:PORT]]

Joins the master whose ElasticManager wrote the key, as a worker. The master's program and the libraries
that this machine lacks are fetched from the master, once for each build, into $XDG_CACHE_HOME/muster
(~/.cache/muster).

  --connect HOST:PORT     where the master is; else where the key says
  --key-file FILE         the key: a copy of the master's file, which only its owner may read (mode 600);
                          else one line of standard input
  --bind ADDRESS[:PORT]   where this worker listens for other workers; else where its way to the master begins
  --help, --version

SIGTERM, or Ctrl-C, makes it leave when its tasks have ended.
)";

}  // namespace

int main(int argc, char** argv) {
  using namespace muster::runtime;
  try {
    const GenericWorkerOptions options = read_generic_worker_options({argv + 1, argv + argc});
    if (options.help) return std::fputs(usage, stdout) < 0 ? 1 : 0;
    if (options.version) return std::puts("muster-worker " MUSTER_VERSION) < 0 ? 1 : 0;
    become_worker(options);
  } catch (const std::invalid_argument& error) {
    std::fprintf(stderr, "muster-worker: %s\n", error.what());
    return 2;
  } catch (const std::exception& error) {
    log::error(std::string("This machine did not join: ") + error.what());
    return 1;
  }
}
