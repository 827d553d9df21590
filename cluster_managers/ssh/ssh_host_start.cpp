// From nothing to a host's running workers.
#include "cluster_managers/ssh/remote_shell.hpp"
#include "cluster_managers/ssh/ssh_host.hpp"
#include "runtime/base/address.hpp"
#include "runtime/base/child_process.hpp"
#include "runtime/cluster/worker_environment.hpp"
#include "runtime/cluster/worker_output.hpp"

#include <muster/errors.hpp>

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>

namespace muster::runtime::ssh {

namespace {

/// SSH servers let one connection start ten commands (OpenSSH's MaxSessions); some are for killing.
constexpr int most_commands_per_connection = 8;

const std::string loopback = "127.0.0.1";

std::string line_after(const std::string& text, const std::string& key) {
  const auto at = text.find("\n" + key + "=");
  if (at == std::string::npos) return {};
  const auto first = at + key.size() + 2;
  return text.substr(first, text.find('\n', first) - first);
}

/// What begins with the library's name is forwarded.
std::map<std::string, std::string> forwarded_environment() {
  std::map<std::string, std::string> forwarded;
  for (const auto& [name, value] : current_environment())
    if (name.starts_with("MUSTER_")) forwarded.emplace(name, value);
  return forwarded;
}

AddprocsOptions common_options(const SshOptions& options) {
  AddprocsOptions common;
  common.env = options.env;
  common.threaded_blas = options.threaded_blas;
  return common;
}

std::pair<UniqueFd, UniqueFd> make_pipe() {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0)
    throw Error(std::string("no pipe for its output: ") + std::strerror(errno) + " (ulimit -n)");
  return {UniqueFd(ends[0]), UniqueFd(ends[1])};
}

/// The directory to work in: the one asked for, or, where the host has it, the one of this process.
std::string change_directory(const std::string& directory) {
  if (!directory.empty()) return "cd " + quoted(directory);
  std::error_code ignored;
  return "{ cd " + quoted(std::filesystem::current_path(ignored).string()) + " 2>/dev/null || true; }";
}

}  // namespace

// -- what is found there ----------------------------------------------------------------------------------------------

std::string facts_question(const std::string& directory, const std::string& program, bool count_processors) {
  // Relative paths of programs are meant from that directory, and it itself from where the shell begins.
  std::string commands = "muster_here=$PWD; echo; echo muster_facts=; if " + change_directory(directory) +
                         " 2>/dev/null; then echo directory=yes; fi; if command -v " + quoted(program) +
                         R"( >/dev/null 2>&1; then echo program=yes; fi; cd "$muster_here"; )";
  if (count_processors) commands += "echo \"threads=$( (nproc || getconf _NPROCESSORS_ONLN) 2>/dev/null)\"; ";
  // Linux itself says what it runs on, without a program to be started; older ones do not.
  return commands + R"(echo "connection=$SSH_CONNECTION"; )" +
         R"(if read -r machine 2>/dev/null </proc/sys/kernel/arch; then echo "system=Linux $machine"; )" +
         R"sh(else echo "system=$(uname -sm)"; fi; echo muster_facts_end=)sh";
}

HostFacts read_facts(const std::string& output) {
  const auto begin = output.rfind("\nmuster_facts=\n");
  if (begin == std::string::npos || output.find("\nmuster_facts_end=", begin) == std::string::npos)
    throw Error("its shell does not answer as a POSIX shell does; it said: " + output.substr(0, 500));
  const std::string said = output.substr(begin);
  HostFacts facts;
  facts.directory = line_after(said, "directory") == "yes";
  facts.program = line_after(said, "program") == "yes";
  const std::string threads = line_after(said, "threads");
  std::from_chars(threads.data(), threads.data() + threads.size(), facts.threads);
  facts.system = line_after(said, "system");
  // client's address and port, server's address and port
  const std::string connection = line_after(said, "connection");
  const auto port_end = connection.find(' ', connection.find(' ') + 1);
  if (connection.find(' ') != std::string::npos && port_end != std::string::npos)
    facts.address = connection.substr(port_end + 1, connection.find(' ', port_end + 1) - port_end - 1);
  return facts;
}

/// A shell there that waits for a script.
Channel SshHost::open_shell() const {
  Channel shell = connection_->open();
  connection_->start(shell.get(), script_runner);
  return shell;
}

/// @param shell waits for another script afterwards
HostFacts SshHost::look_around(SshLaunch& launch, ssh_channel shell) {
  const std::string program = launch.context.worker_command().front();
  const bool may_ship = launch.own_program && launch.options.ship != Ship::Never;
  if (may_ship) std::call_once(launch.files_found, [&] { launch.files = files_of_program(program); });
  std::string question = facts_question(launch.options.dir, program, machine_.count.automatic());
  if (may_ship) question += "; " + ship_question(launch.files);
  connection_->write(shell, script_of(question + "; " + run_another) + "\n");
  const std::string said = "\n" + connection_->hear(shell, waits_for_another, launch.deadline);
  HostFacts facts = read_facts(said);
  if (!facts.directory) throw Error("there is no directory " + launch.options.dir + " there, or it may not be entered");
  facts.shipped.program = program;
  if (may_ship) {
    facts.shipped = ship(*connection_, launch.files, launch.options.ship, facts.system, said, launch.deadline);
  } else if (!facts.program) {
    throw Error("there is no program " + program + " there that may be run (" + facts.system +
                "). Put it there at the same path, let it be copied (SshOptions::ship), or say where it is "
                "(SshOptions::exename).");
  }
  return facts;
}

// -- connecting -------------------------------------------------------------------------------------------------------

bool SshLaunch::begin_connecting() {
  std::unique_lock lock(mutex);
  if (!changed.wait(lock, context.stop_token(), [this] { return connecting < options.max_parallel; })) return false;
  ++connecting;
  return true;
}

void SshLaunch::end_connecting() {
  const std::lock_guard lock(mutex);
  --connecting;
  changed.notify_all();
}

void SshHost::connect(SshLaunch& launch) {
  if (!launch.begin_connecting()) throw Error("not tried, as the addprocs ended before");
  struct Turn {
    SshLaunch& launch;
    ~Turn() { launch.end_connecting(); }
  } const turn{launch};
  auto connection = std::make_unique<SshConnection>(machine_, launch.options, launch.deadline,
                                                    launch.context.stop_token(), launch.known_hosts);
  const std::lock_guard lock(mutex_);
  connection_ = std::move(connection);
}

void SshHost::start_workers(SshLaunch& launch) {
  const std::string where = name_of(machine_);
  const int asked = machine_.count.automatic() ? 1 : machine_.count.value();
  int first = share_ ? share_->first : 0, last = share_ ? share_->last : asked;
  try {
    connect(launch);
    const std::stop_callback on_stop(launch.context.stop_token(), [this] { connection_->abort(); });
    Channel shell = open_shell();
    const HostFacts facts = share_ ? share_->facts : look_around(launch, shell.get());
    if (!share_ && machine_.count.automatic()) last = std::max(1, facts.threads);
    // Of another program it is not known whether it would lead a group; ports make each worker's command another.
    const bool is_group = launch.own_program && machine_.bind_port == 0;
    if (!is_group && !share_) {
      for (int next = most_commands_per_connection; next < last; next += most_commands_per_connection)
        launch.continue_elsewhere(machine_, facts, next, std::min(last, next + most_commands_per_connection));
      last = std::min(last, most_commands_per_connection);
    }
    while (first < last) {
      const int next = is_group ? last : first + 1;
      start_together(launch, facts, shell ? std::move(shell) : open_shell(), first, next);
      first = next;
    }
  } catch (const std::exception& error) {
    for (; first < last; ++first) launch.context.failed(where, where + ": " + error.what());
  }
  if (connection_) ssh_set_blocking(connection_->session(), 0);
}

// -- a worker ---------------------------------------------------------------------------------------------------------

/// Starts those workers by one command.
std::string SshHost::script(SshLaunch& launch, const HostFacts& facts, int first, int last) const {
  const bool is_group = last - first > 1;
  std::string script;
  auto environment = added_environment(common_options(launch.options));
  environment.merge(forwarded_environment());
  for (const auto& [name, value] : environment) script += "export " + name + "=" + quoted(value) + "; ";
  if (const std::string& libraries = facts.shipped.libraries; !libraries.empty())
    script += "export LD_LIBRARY_PATH=" + quoted(libraries) + R"("${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"; )";
  script += change_directory(launch.options.dir) + " && ";
  if (!is_group) script += "echo " + std::string(RemoteWorker::tag) + "$$ && ";
  script += "exec";
  std::vector<std::string> command = launch.context.worker_command();
  command.front() = facts.shipped.program;
  if (is_group) command.push_back(std::string(worker_group_flag) + "=" + std::to_string(last - first));
  for (const std::string& word : command) script += " " + quoted(word);
  const std::string address = !machine_.bind_address.empty() ? machine_.bind_address
                              : launch.options.tunnel        ? loopback
                                                             : facts.address;
  if (!address.empty()) {
    const int port = machine_.bind_port == 0 ? 0 : machine_.bind_port + first;
    script += " --muster-bind " +
              quoted(port == 0 && address.find(':') == std::string::npos ? address : endpoint_of(address, port));
  }
  return script_of(script);
}

void SshHost::start_together(SshLaunch& launch, const HostFacts& facts, Channel shell, int first, int last) {
  std::vector<std::shared_ptr<RemoteWorker>> workers;
  std::vector<std::pair<UniqueFd, UniqueFd>> printed;  // the ends to read from
  std::string input = script(launch, facts, first, last) + "\n";
  for (int index = first; index < last; ++index) {
    auto [output, to_output] = make_pipe();
    auto [errors, to_errors] = make_pipe();
    workers.push_back(std::make_shared<RemoteWorker>(std::move(to_output), std::move(to_errors)));
    printed.emplace_back(std::move(output), std::move(errors));
    input += launch.context.start_record() + "\n";
  }
  const auto kind = workers.size() > 1 ? WorkerChannel::Kind::group : WorkerChannel::Kind::one;
  const WorkerChannel& channel = channels_.emplace_back(std::move(shell), kind, workers);
  connection_->write(channel.channel(), input);
  if (kind == WorkerChannel::Kind::one) ssh_channel_send_eof(channel.channel());
  for (std::size_t i = 0; i < workers.size(); ++i)
    hand_over(launch, workers[i], std::move(printed[i].first), std::move(printed[i].second));
}

/// From now on the launch follows that worker.
void SshHost::hand_over(SshLaunch& launch, const std::shared_ptr<RemoteWorker>& worker, UniqueFd output,
                        UniqueFd errors) {
  worker->host = weak_from_this();
  if (launch.options.tunnel) {
    worker->replace_address([this, weak = std::weak_ptr(worker)](const WorkerAddress& there) {
      tunnels_.push_back({weak.lock(), Tunnel(*connection_, there.host, there.port)});
      return WorkerAddress{loopback, tunnels_.back().tunnel.listen()};
    });
  }
  ProcessElsewhere process;
  process.standard_error.fd = std::make_shared<UniqueFd>(std::move(errors));
  process.when_ended = [worker](std::function<void(int)> f) { worker->when_ended(std::move(f)); };
  process.handle = worker;
  WorkerConfig config;
  config.host = machine_.host;
  config.environment = launch.options.env;
  config.userdata = std::move(process);
  config.output_fd = output.release();
  launch.context.launched(std::move(config));
}

}  // namespace muster::runtime::ssh
