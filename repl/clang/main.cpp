/// @file
/// The compiler's process of the prompt, the only one that holds clang: `muster-clang SOCKET FOLDER FLAG...`.
/// It is started by `muster`, and ends with it.
#include "repl/clang/prelude.hpp"
#include "repl/clang/server.hpp"
#include "repl/front_end/frames.hpp"

#include <sys/prctl.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "muster-clang is a part of muster, which starts it: run `muster`\n");
    return 2;
  }
  const int socket = std::atoi(argv[1]);
  (void)std::signal(SIGINT, SIG_IGN);  // Ctrl-C is meant for what the prompt runs
  muster::repl::FrontEndOptions options;
  options.folder = argv[2];
  // Whoever tries things follows null pointers: that is to end in a signal, and not in whatever the optimizer makes of
  // it.
  options.flags = {"-std=c++20",          "-O2", "-fPIC", "-w", "-fno-delete-null-pointer-checks", "-resource-dir",
                   MUSTER_CLANG_RESOURCES};
  for (int i = 3; i < argc; ++i) options.flags.emplace_back(argv[i]);
  try {
    muster::repl::use_prelude(options.flags);
    muster::repl::Server(socket, options).serve();
  } catch (const std::exception& error) {
    (void)muster::repl::send_frame(socket, {"error", error.what()});
    return 1;
  }
}
