#include "cluster_managers/ssh/ssh_host.hpp"

#include "runtime/base/log.hpp"

#include <muster/errors.hpp>

#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>

namespace muster::runtime::ssh {

namespace {

/// For a command that starts something and ends.
constexpr auto command_patience = std::chrono::seconds(5);
/// How often to look after workers whose end was told, but not that of their output.
constexpr int ending_interval_ms = 20;

/// No signal is for this thread; those of pipes that nobody reads show in errno.
void block_signals() {
  sigset_t all;
  sigfillset(&all);
  (void)pthread_sigmask(SIG_BLOCK, &all, nullptr);
}

}  // namespace

SshHost::SshHost(Machine machine, std::optional<Share> share)
    : machine_(std::move(machine)), share_(std::move(share)), wakeup_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  if (!wakeup_) throw Error(std::string("Cannot create an eventfd: ") + std::strerror(errno));
}

SshHost::~SshHost() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    if (connection_) connection_->abort();
  }
  wake();
  if (thread_.joinable()) thread_.join();
}

void SshHost::run(SshLaunch& launch) {
  thread_ = std::thread([this, &launch] {
    (void)pthread_setname_np(pthread_self(), "muster-ssh");
    block_signals();
    start_workers(launch);
    {
      const std::lock_guard lock(launch.mutex);
      --launch.starting;
      launch.changed.notify_all();  // under the lock: the launch may be gone after it
    }
    serve();
  });
}

bool SshHost::is_over() const {
  const std::lock_guard lock(mutex_);
  return over_;
}

void SshHost::serve() {
  try {
    while (serve_once()) {
    }
  } catch (const std::exception& error) {
    log::error("The SSH connection to " + name_of(machine_) + " is given up: " + error.what());
    for (WorkerChannel& channel : channels_) channel.lose(error.what());
  }
  channels_.clear();  // they end before their connection
  tunnels_.clear();
  std::unique_ptr<SshConnection> connection;
  const std::lock_guard lock(mutex_);
  connection = std::move(connection_);
  commands_.clear();
  over_ = true;
}

/// @returns false when nothing is left to do
bool SshHost::serve_once() {
  const std::uint64_t received = connection_ ? connection_->received() : 0;  // none where it was not let in
  run_commands();
  bool moved = false;
  for (auto& [worker, tunnel] : tunnels_) moved = tunnel.pump() || moved;
  for (WorkerChannel& channel : channels_) moved = channel.pump() || moved;
  std::erase_if(tunnels_, [](TunnelOf& each) { return each.worker->has_ended() && each.tunnel.close(); });
  std::erase_if(channels_, [](const WorkerChannel& channel) { return channel.is_over(); });
  {
    const std::lock_guard lock(mutex_);
    if (stopping_ || (channels_.empty() && tunnels_.empty())) return false;
  }
  if (ssh_is_connected(connection_->session()) == 0) {
    const std::string why = connection_->last_error().empty() ? "the host hung up" : connection_->last_error();
    log::warning("The SSH connection to " + name_of(machine_) + " is gone (" + why + "), and its workers with it");
    for (WorkerChannel& channel : channels_) channel.lose(why);
    return false;
  }
  // libssh reads for all channels, whichever is asked: only when it has nothing more for any.
  if (!moved && connection_->received() == received) wait();
  return true;
}

void SshHost::wait() {
  std::vector<pollfd> watched;
  const bool unsent = (ssh_get_poll_flags(connection_->session()) & SSH_WRITE_PENDING) != 0;
  watched.push_back({connection_->descriptor(), static_cast<short>(unsent ? POLLIN | POLLOUT : POLLIN), 0});
  watched.push_back({wakeup_.get(), POLLIN, 0});
  int patience = -1;
  for (const WorkerChannel& channel : channels_) {
    for (const auto& worker : channel.workers()) {
      if (worker->has_ended()) continue;
      for (const int fd : {worker->waiting(RemoteWorker::output), worker->waiting(RemoteWorker::errors)})
        if (fd >= 0) watched.push_back({fd, POLLOUT, 0});
      if (worker->is_ending()) patience = ending_interval_ms;
    }
  }
  for (const auto& [worker, tunnel] : tunnels_) tunnel.watch(watched);
  (void)::poll(watched.data(), watched.size(), patience);
  std::uint64_t wakeups = 0;
  (void)!::read(wakeup_.get(), &wakeups, sizeof wakeups);
}

void SshHost::wake() const {
  const std::uint64_t one = 1;
  (void)!::write(wakeup_.get(), &one, sizeof one);
}

void SshHost::post(std::function<void()> command) {
  {
    const std::lock_guard lock(mutex_);
    if (over_ || stopping_) return;
    commands_.push_back(std::move(command));
  }
  wake();
}

void SshHost::run_commands() {
  std::vector<std::function<void()>> commands;
  {
    const std::lock_guard lock(mutex_);
    commands.swap(commands_);
  }
  for (const auto& command : commands) command();
}

/// To be done with the channel of a worker that has not ended by then.
void SshHost::post_to(const std::shared_ptr<RemoteWorker>& worker, std::function<void(WorkerChannel&)> command) {
  post([this, worker, command = std::move(command)] {
    if (worker->has_ended()) return;
    for (WorkerChannel& channel : channels_)
      if (std::count(channel.workers().begin(), channel.workers().end(), worker) != 0) return command(channel);
  });
}

/// @param signal sent by the server where it runs no further command
void SshHost::run_quietly(const WorkerChannel& channel, const std::string& script, const char* signal) {
  ssh_set_blocking(connection_->session(), 1);
  try {
    (void)connection_->run(script, Clock::now() + command_patience);
  } catch (const Error& error) {
    log::debug("On " + name_of(machine_) + ": " + error.what());
    channel.signal(signal);
  }
  ssh_set_blocking(connection_->session(), 0);
}

void SshHost::kill(const std::shared_ptr<RemoteWorker>& worker) {
  post_to(worker, [this, worker](const WorkerChannel& channel) {
    if (channel.ask(*worker, GroupFrame::Kind::kill)) return;
    const std::string pid = std::to_string(worker->os_pid());
    if (worker->os_pid() <= 1) return worker->forget();  // its shell never came to start it
    // In the background, since this connection has others to serve.
    run_quietly(channel,
                "(kill -TERM " + pid + " || exit; i=0; while [ $i -lt 20 ]; do sleep 0.1; kill -0 " + pid +
                    " || exit; i=$((i+1)); done; kill -KILL " + pid + ") </dev/null >/dev/null 2>&1 &",
                "KILL");
  });
}

void SshHost::interrupt(const std::shared_ptr<RemoteWorker>& worker) {
  post_to(worker, [this, worker](const WorkerChannel& channel) {
    if (channel.ask(*worker, GroupFrame::Kind::interrupt)) return;
    if (worker->os_pid() > 1) run_quietly(channel, "kill -INT " + std::to_string(worker->os_pid()), "INT");
  });
}

void SshHost::forget(const std::shared_ptr<RemoteWorker>& worker) {
  post([worker] { worker->forget(); });
}

}  // namespace muster::runtime::ssh
