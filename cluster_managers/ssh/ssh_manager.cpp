/// @file
/// Workers on other hosts, over SSH.
#include "cluster_managers/ssh/ssh_host.hpp"
#include "runtime/base/address.hpp"
#include "runtime/base/deadline.hpp"
#include "runtime/cluster/machine.hpp"
#include "runtime/cluster/worker_output.hpp"

#include <muster/cluster_manager.hpp>

#include <algorithm>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>

namespace muster {

namespace {

namespace ssh = runtime::ssh;
using ssh::Clock;

/// What the addprocs says goes over what the manager was made with.
SshOptions merged(SshOptions own, const AddprocsOptions& options) {
  std::map<std::string, std::string> environment = options.env;
  environment.merge(own.env);
  own.env = std::move(environment);
  if (!options.dir.empty()) own.dir = options.dir;
  own.threaded_blas = own.threaded_blas || options.threaded_blas;
  own.launch_timeout = options.launch_timeout;
  return own;
}

/// A little before the addprocs gives up, so that its error says how far it came.
Clock::time_point deadline_of(std::chrono::nanoseconds launch_timeout) {
  return runtime::deadline_after(launch_timeout -
                                 std::min<std::chrono::nanoseconds>(launch_timeout / 10, std::chrono::seconds(2)));
}

std::shared_ptr<ssh::RemoteWorker> worker_of(const WorkerConfig& config) {
  const auto* process = std::any_cast<runtime::ProcessElsewhere>(&config.userdata);
  return process == nullptr ? nullptr : std::static_pointer_cast<ssh::RemoteWorker>(process->handle);
}

/// What the manager's own program and arguments make of a worker's command.
class OwnCommand final : public LaunchContext {
 public:
  OwnCommand(LaunchContext& context, const SshOptions& own) : context_(context), own_(own) {}
  const AddprocsOptions& options() const override { return context_.options(); }
  std::vector<std::string> worker_command() const override {
    std::vector<std::string> command = context_.worker_command();
    if (options().exename.empty() && !own_.exename.empty()) command.front() = own_.exename;
    if (options().exeflags.empty()) command.insert(command.begin() + 1, own_.exeflags.begin(), own_.exeflags.end());
    return command;
  }
  std::string start_record() const override { return context_.start_record(); }
  void launched(WorkerConfig config) override { context_.launched(std::move(config)); }
  void failed(std::string where, std::string why) override { context_.failed(std::move(where), std::move(why)); }
  std::stop_token stop_token() const override { return context_.stop_token(); }

 private:
  LaunchContext& context_;
  const SshOptions& own_;
};

}  // namespace

/// The connections there are.
class SshManager::Hosts {
 public:
  void add(ssh::SshLaunch& launch, const Machine& machine, std::optional<ssh::SshHost::Share> share) {
    const auto host = std::make_shared<ssh::SshHost>(machine, std::move(share));
    {
      const std::lock_guard lock(launch.mutex);
      ++launch.starting;
    }
    std::vector<std::shared_ptr<ssh::SshHost>> over;
    {
      const std::lock_guard lock(mutex_);
      const auto first = std::partition(all_.begin(), all_.end(), [](const auto& each) { return !each->is_over(); });
      over.assign(first, all_.end());
      all_.erase(first, all_.end());
      all_.push_back(host);
    }
    try {
      host->run(launch);
    } catch (const std::system_error& error) {
      const std::lock_guard lock(launch.mutex);
      --launch.starting;
      throw Error(std::string("no thread for its connection: ") + error.what());
    }
  }
  std::mutex known_hosts;  ///< held while the file of known hosts is used

 private:
  std::mutex mutex_;  ///< guards all_
  std::vector<std::shared_ptr<ssh::SshHost>> all_;
};

SshManager::SshManager(std::vector<Machine> machines, SshOptions options)
    : machines_(runtime::merged_machines(std::move(machines))),
      options_(std::move(options)),
      hosts_(std::make_unique<Hosts>()) {
  if (options_.max_parallel < 1) {
    throw std::invalid_argument("muster: SshOptions::max_parallel is " + std::to_string(options_.max_parallel) +
                                "; at least 1");
  }
  for (const std::string& fingerprint : options_.fingerprints) {
    if (fingerprint.find("SHA256:") != std::string::npos) continue;
    throw std::invalid_argument("muster: \"" + fingerprint +
                                "\" in SshOptions::fingerprints is none; SHA256:..., as ssh-keygen -lf shows it");
  }
  for (const Machine& machine : machines_) {
    if (!options_.tunnel || machine.bind_address.empty() || runtime::is_loopback(machine.bind_address)) continue;
    throw std::invalid_argument("muster: " + ssh::name_of(machine) + " has the bind address " + machine.bind_address +
                                ", but workers behind a tunnel listen on their host's loopback only");
  }
}

SshManager::~SshManager() = default;

std::string SshManager::to_string() const {
  std::string machines;
  for (const Machine& machine : machines_) {
    if (!machines.empty()) machines += ", ";
    if (machine.count.automatic())
      machines += "auto*";
    else if (machine.count.value() != 1)
      machines += std::to_string(machine.count.value()) + "*";
    machines += ssh::name_of(machine);
  }
  return "SshManager(" + machines + ")";
}

void SshManager::launch(LaunchContext& context) {
  OwnCommand command(context, options_);
  ssh::SshLaunch launch{.context = command,
                        .options = merged(options_, context.options()),
                        .own_program = context.options().exename.empty() && options_.exename.empty(),
                        .deadline = deadline_of(context.options().launch_timeout),
                        .known_hosts = hosts_->known_hosts,
                        .continue_elsewhere = {}};
  launch.continue_elsewhere = [&](const Machine& machine, ssh::HostFacts facts, int first, int last) {
    hosts_->add(launch, machine, ssh::SshHost::Share{std::move(facts), first, last});
  };
  for (const Machine& machine : machines_) {
    try {
      hosts_->add(launch, machine, std::nullopt);
    } catch (const std::exception& error) {
      context.failed(ssh::name_of(machine), error.what());
    }
  }
  std::unique_lock lock(launch.mutex);
  launch.changed.wait(lock, [&] { return launch.starting == 0; });
}

void SshManager::manage(Pid /*pid*/, WorkerConfig& config, ManageOp op) {
  const auto worker = worker_of(config);
  const auto host = worker ? worker->host.lock() : nullptr;
  if (!host) return;
  if (op == ManageOp::Interrupt) host->interrupt(worker);
  if (op == ManageOp::Deregister) host->forget(worker);
}

void SshManager::kill(Pid /*pid*/, const WorkerConfig& config) {
  const auto worker = worker_of(config);
  if (const auto host = worker ? worker->host.lock() : nullptr) host->kill(worker);
}

}  // namespace muster
