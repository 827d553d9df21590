#include "cluster_managers/ssh/worker_channel.hpp"

#include <algorithm>
#include <array>
#include <csignal>
#include <string_view>
#include <utility>

namespace muster::runtime::ssh {

namespace {

int wait_status_of_exit(int status) { return (status & 0xff) << 8; }

/// SSH names signals (RFC 4254, 6.10).
int wait_status_of_signal(std::string_view name) {
  static constexpr std::pair<std::string_view, int> signals[] = {
      {"ABRT", SIGABRT}, {"ALRM", SIGALRM}, {"FPE", SIGFPE},   {"HUP", SIGHUP},   {"ILL", SIGILL},
      {"INT", SIGINT},   {"KILL", SIGKILL}, {"PIPE", SIGPIPE}, {"QUIT", SIGQUIT}, {"SEGV", SIGSEGV},
      {"TERM", SIGTERM}, {"USR1", SIGUSR1}, {"USR2", SIGUSR2}, {"BUS", SIGBUS},   {"XCPU", SIGXCPU}};
  for (const auto& [each, number] : signals)
    if (name.substr(0, name.find('@')) == each) return number;
  return -1;
}

}  // namespace

WorkerChannel::WorkerChannel(Channel channel, Kind kind, std::vector<std::shared_ptr<RemoteWorker>> workers)
    : channel_(std::move(channel)), workers_(std::move(workers)) {
  if (kind == Kind::group) group_output_.emplace(workers_);
  callbacks_.userdata = this;
  callbacks_.channel_exit_status_function = on_exit_status;
  callbacks_.channel_exit_signal_function = on_exit_signal;
  ssh_callbacks_init(&callbacks_);
  ssh_set_channel_callbacks(channel_.get(), &callbacks_);
}

WorkerChannel::~WorkerChannel() {
  for (const auto& worker : workers_) worker->forget();
  end_if_all_have();
}

void WorkerChannel::on_exit_status(ssh_session /*session*/, ssh_channel /*channel*/, int status, void* self) {
  static_cast<WorkerChannel*>(self)->wait_status_ = wait_status_of_exit(status);
}

void WorkerChannel::on_exit_signal(ssh_session /*session*/, ssh_channel /*channel*/, const char* signal, int /*core*/,
                                   const char* /*text*/, const char* /*language*/, void* self) {
  static_cast<WorkerChannel*>(self)->wait_status_ = wait_status_of_signal(signal);
}

bool WorkerChannel::pump() {
  if (is_over()) return false;
  // Asking makes libssh look at what came, which it would not where a stream has ended, or its reader is slow. The
  // answer is none where the callbacks told it; it is one where it came before they were set.
  if (!wait_status_) {
    const int status = ssh_channel_get_exit_status(channel_.get());
    if (!wait_status_ && status >= 0) wait_status_ = wait_status_of_exit(status);
  }
  bool moved = false;
  for (const Stream which : {Stream::output, Stream::errors}) moved = read(which) || moved;
  if (!wait_status_ && ssh_is_connected(ssh_channel_get_session(channel_.get())) == 0) return moved;  // see lose
  if (!wait_status_ && stream_ended_[Stream::output] && stream_ended_[Stream::errors] &&
      ssh_channel_is_closed(channel_.get()) != 0)
    wait_status_ = -1;
  // How the workers of a group ended comes before the end of what their leader says.
  const bool is_known = wait_status_ && (!group_output_ || stream_ended_[Stream::output]);
  for (const auto& worker : workers_) {
    if (is_known) worker->exited(*wait_status_);
    moved = worker->flush() || moved;
  }
  end_if_all_have();
  return moved;
}

/// From a group's leader nothing is taken for one worker before there is room for all.
bool WorkerChannel::read(Stream which) {
  const bool has_room = std::all_of(workers_.begin(), workers_.end(), [&](const auto& worker) {
    return worker->has_ended() || (worker->has_room(which) && (!group_output_ || worker->has_room(Stream::errors)));
  });
  if (stream_ended_[which] || !has_room) return false;
  const bool from_leader = group_output_ && which == Stream::output;
  std::array<char, 32768> part{};
  const int got = ssh_channel_read_nonblocking(channel_.get(), part.data(), part.size(), which == Stream::errors);
  if (got > 0) {
    const std::string_view text(part.data(), static_cast<std::size_t>(got));
    if (from_leader)
      group_output_->take(text);
    else
      for (const auto& worker : workers_) worker->take(which, text);
    return true;
  }
  if (got != SSH_ERROR && ssh_channel_is_eof(channel_.get()) == 0) return false;
  stream_ended_[which] = true;
  if (from_leader) group_output_->end();
  for (const auto& worker : workers_) worker->close(which);
  return true;
}

void WorkerChannel::lose(const std::string& why) {
  for (const auto& worker : workers_) worker->lose(why);
  end_if_all_have();
}

bool WorkerChannel::ask(const RemoteWorker& worker, GroupFrame::Kind what) const {
  if (!group_output_ || is_over()) return false;
  const auto found =
      std::find_if(workers_.begin(), workers_.end(), [&](const auto& each) { return each.get() == &worker; });
  const GroupFrame frame{.kind = what, .worker = static_cast<std::uint16_t>(found - workers_.begin())};
  (void)ssh_channel_write(channel_.get(), &frame, sizeof frame);
  return true;
}

void WorkerChannel::signal(const char* name) const {
  if (!group_output_ && !is_over()) (void)ssh_channel_request_send_signal(channel_.get(), name);
}

void WorkerChannel::end_if_all_have() {
  if (is_over() || std::any_of(workers_.begin(), workers_.end(), [](const auto& each) { return !each->has_ended(); }))
    return;
  ssh_remove_channel_callbacks(channel_.get(), &callbacks_);
  channel_.reset();
}

}  // namespace muster::runtime::ssh
