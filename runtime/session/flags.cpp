#include "runtime/session/flags.hpp"

#include "runtime/base/fork_server.hpp"
#include "runtime/base/worker_group.hpp"

#include <cstdlib>
#include <stdexcept>
#include <string_view>

namespace muster::runtime {

namespace {

struct ValueFlag {
  std::string_view name, variable;  ///< of the environment; empty: none
  std::optional<std::string> Flags::* field;
};

constexpr ValueFlag value_flags[] = {{"--muster-procs", "MUSTER_PROCS", &Flags::procs},
                                     {"--muster-machine-file", "MUSTER_MACHINE_FILE", &Flags::machine_file},
                                     {"--muster-log", "MUSTER_LOG", &Flags::log},
                                     {"--muster-mpi", "MUSTER_MPI", &Flags::mpi},
                                     {"--muster-bind", {}, &Flags::bind}};

constexpr std::string_view prefix = "--muster-";

/// Takes one flag, at argv[i]. @returns how many arguments it takes up
int take_flag(Flags& flags, int argc, char** argv, int i) {
  const std::string_view argument = argv[i];
  if (argument == worker_flag) {
    flags.worker = true;
    return 1;
  }
  if (argument == "--muster-help") {
    flags.help = true;
    return 1;
  }
  const auto equals = argument.find('=');
  const auto name = argument.substr(0, equals);
  if (name == worker_group_flag) return 1;  // it was obeyed as the program was loaded: this is a worker of the group
  if (name == "--muster-help") throw std::invalid_argument("--muster-help takes no value");
  for (const ValueFlag& flag : value_flags) {
    if (name != flag.name) continue;
    if (equals != std::string_view::npos) {
      flags.*flag.field = std::string(argument.substr(equals + 1));
      return 1;
    }
    if (i + 1 == argc) throw std::invalid_argument(std::string(name) + " needs a value");
    flags.*flag.field = argv[i + 1];
    return 2;
  }
  throw std::invalid_argument("there is no flag " + std::string(name) + ". --muster-help lists those there are");
}

}  // namespace

Flags take_flags(int& argc, char** argv) {
  Flags flags;
  int kept = argc > 0 ? 1 : 0;
  for (int i = kept; i < argc;) {
    if (std::string_view(argv[i]) == "--") {  // what follows is the program's own
      while (i < argc) argv[kept++] = argv[i++];
    } else if (std::string_view(argv[i]).starts_with(prefix)) {
      i += take_flag(flags, argc, argv, i);
    } else {
      argv[kept++] = argv[i++];
    }
  }
  argc = kept;
  argv[argc] = nullptr;
  if (flags.worker) return flags;
  for (const ValueFlag& flag : value_flags) {
    if (flag.variable.empty() || flags.*flag.field) continue;
    if (const char* value = std::getenv(std::string(flag.variable).c_str()); value != nullptr)
      flags.*flag.field = value;
  }
  return flags;
}

std::string flags_help() {
  return "Flags that muster gives every program that uses it (each also an environment variable, which the flag "
         "overrides):\n"
         "  --muster-procs N|auto         start N local workers, or one per hardware thread   MUSTER_PROCS\n"
         "  --muster-machine-file FILE    start workers on the machines that FILE lists        MUSTER_MACHINE_FILE\n"
         "  --muster-mpi auto|FILE        under mpirun: rank 0 is the master, the others work     MUSTER_MPI\n"
         "  --muster-log LEVEL            trace, debug, info, warning, error or off            MUSTER_LOG\n"
         "  --muster-help                 print this and exit\n";
}

}  // namespace muster::runtime
