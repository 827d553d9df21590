#include "cluster_managers/ssh/remote_worker.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <string_view>

namespace muster::runtime::ssh {

namespace {

/// No more than this is read ahead of whoever reads the pipe; the server then waits.
constexpr std::size_t most_pending = std::size_t{256} * 1024;
/// The server may tell of the end before it sends what the process wrote last.
constexpr auto output_patience = std::chrono::milliseconds(250);

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

RemoteWorker::RemoteWorker(Channel channel, UniqueFd output, UniqueFd errors)
    : channel_(std::move(channel)), out_{std::move(output)}, err_{std::move(errors)} {
  for (const int fd : {out_.pipe.get(), err_.pipe.get()}) (void)::fcntl(fd, F_SETFL, O_WRONLY | O_NONBLOCK);
  callbacks_.userdata = this;
  callbacks_.channel_exit_status_function = on_exit_status;
  callbacks_.channel_exit_signal_function = on_exit_signal;
  ssh_callbacks_init(&callbacks_);
  ssh_set_channel_callbacks(channel_.get(), &callbacks_);
}

RemoteWorker::~RemoteWorker() {
  if (channel_) ssh_remove_channel_callbacks(channel_.get(), &callbacks_);
}

void RemoteWorker::on_exit_status(ssh_session /*session*/, ssh_channel /*channel*/, int status, void* self) {
  auto& worker = *static_cast<RemoteWorker*>(self);
  worker.wait_status_ = wait_status_of_exit(status);
  worker.exited_at_ = Clock::now();
}

void RemoteWorker::on_exit_signal(ssh_session /*session*/, ssh_channel /*channel*/, const char* signal, int /*core*/,
                                  const char* /*text*/, const char* /*language*/, void* self) {
  auto& worker = *static_cast<RemoteWorker*>(self);
  worker.wait_status_ = wait_status_of_signal(signal);
  worker.exited_at_ = Clock::now();
}

void RemoteWorker::when_ended(std::function<void(int)> f) {
  std::unique_lock lock(mutex_);
  if (!told_) {
    tell_ = std::move(f);
    return;
  }
  const int wait_status = *told_;
  lock.unlock();
  f(wait_status);
}

long RemoteWorker::os_pid() const {
  const std::lock_guard lock(mutex_);
  return os_pid_;
}

bool RemoteWorker::pump() {
  if (ended_) return false;
  // Makes libssh look at what came, which it would not where a stream has ended, or its reader is slow.
  if (!wait_status_) (void)ssh_channel_get_exit_status(channel_.get());
  const bool moved_output = move(out_, false);
  const bool moved_errors = move(err_, true);
  if (!wait_status_ && ssh_is_connected(ssh_channel_get_session(channel_.get())) == 0) return false;  // see lose
  const bool drained = out_.done() && err_.done();
  if (drained && (wait_status_ || ssh_channel_is_closed(channel_.get()) != 0)) {
    end(wait_status_.value_or(-1));
  } else if (wait_status_ && Clock::now() > exited_at_ + output_patience) {
    end(*wait_status_);  // something that it started may hold its output open for ever
  }
  return moved_output || moved_errors;
}

bool RemoteWorker::move(Stream& stream, bool of_errors) {
  bool moved = false;
  if (!stream.ended && stream.pending.size() < most_pending) {
    std::array<char, 32768> part{};
    const int got = ssh_channel_read_nonblocking(channel_.get(), part.data(), part.size(), of_errors ? 1 : 0);
    if (got > 0) {
      stream.pending.append(part.data(), static_cast<std::size_t>(got));
      moved = true;
    } else if (got == SSH_ERROR || ssh_channel_is_eof(channel_.get()) != 0) {
      stream.ended = true;
      moved = true;
    }
  }
  if (!of_errors && !pid_found_) find_pid();
  if (!of_errors && pid_found_ && replace_) find_address();
  return flush(stream) || moved;
}

/// Takes the line of the shell's out. Login shells may have said something before.
void RemoteWorker::find_pid() {
  std::string& text = out_.pending;
  const auto at = text.find(tag);
  const auto end = at == std::string::npos ? at : text.find('\n', at);
  if (end == std::string::npos) return;
  pid_found_ = true;
  const std::lock_guard lock(mutex_);
  std::from_chars(text.data() + at + std::string_view(tag).size(), text.data() + end, os_pid_);
  text.erase(at, end + 1 - at);
}

/// It is the only one of its form, as others would be taken for it too.
void RemoteWorker::find_address() {
  std::string& text = out_.pending;
  for (std::size_t first = 0, end = 0; (end = text.find('\n', first)) != std::string::npos; first = end + 1) {
    StartupOutput startup;
    startup.line(std::string_view(text).substr(first, end - first));
    if (startup.outcome() != StartupOutput::Outcome::address_found) continue;
    const WorkerAddress address = std::exchange(replace_, nullptr)(startup.address());
    text.replace(first, end - first, "muster_worker:" + std::to_string(address.port) + "#" + address.host);
    return;
  }
}

/// Whole lines only until what is looked for was found, or can't come any more.
bool RemoteWorker::flush(Stream& stream) {
  const bool whole_lines =
      &stream == &out_ && (!pid_found_ || replace_) && !stream.ended && stream.pending.size() < most_pending;
  bool moved = false;
  for (;;) {
    const std::size_t size = whole_lines ? stream.pending.rfind('\n') + 1 : stream.pending.size();
    if (size == 0) break;
    const auto written = ::write(stream.pipe.get(), stream.pending.data(), size);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0 && errno == EAGAIN) break;
    if (written < 0)
      stream.pending.clear();  // nobody reads it any more
    else
      stream.pending.erase(0, static_cast<std::size_t>(written));
    moved = true;
  }
  return moved;
}

void RemoteWorker::lose(const std::string& why) {
  if (ended_) return;
  err_.pending += "muster: the SSH connection is gone: " + why + "\n";
  pid_found_ = true;
  replace_ = nullptr;
  (void)flush(out_);
  (void)flush(err_);
  end(wait_status_.value_or(-1));
}

void RemoteWorker::end(int wait_status) {
  if (std::exchange(ended_, true)) return;
  out_.pipe.reset();
  err_.pipe.reset();
  ssh_remove_channel_callbacks(channel_.get(), &callbacks_);
  channel_.reset();
  std::function<void(int)> tell;
  {
    const std::lock_guard lock(mutex_);
    told_ = wait_status;
    tell = std::move(tell_);
  }
  if (tell) tell(wait_status);
}

}  // namespace muster::runtime::ssh
