#include "cluster_managers/ssh/remote_worker.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <utility>

namespace muster::runtime::ssh {

namespace {

/// The server may tell of the end before it sends what the process wrote last.
constexpr auto output_patience = std::chrono::milliseconds(250);

}  // namespace

RemoteWorker::RemoteWorker(UniqueFd to_output, UniqueFd to_errors)
    : printed_{Printed{std::move(to_output)}, Printed{std::move(to_errors)}} {
  for (const Printed& each : printed_) (void)::fcntl(each.pipe.get(), F_SETFL, O_WRONLY | O_NONBLOCK);
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

void RemoteWorker::take(Stream which, std::string_view text) {
  if (ended_) return;
  of(which).pending += text;
  if (which != Stream::output) return;
  if (!pid_found_) find_pid();
  if (pid_found_ && replace_) find_address();
}

void RemoteWorker::exited(int wait_status) {
  if (wait_status_) return;
  wait_status_ = wait_status;
  exited_at_ = Clock::now();
}

bool RemoteWorker::flush() {
  if (ended_) return false;
  const bool moved_output = flush(Stream::output), moved_errors = flush(Stream::errors);
  const bool drained = of(Stream::output).done() && of(Stream::errors).done();
  // Something that it started may hold its output open for ever.
  if (wait_status_ && (drained || Clock::now() > exited_at_ + output_patience)) end();
  return moved_output || moved_errors;
}

/// Takes the line of the shell's out. Login shells may have said something before.
void RemoteWorker::find_pid() {
  std::string& text = of(Stream::output).pending;
  const auto at = text.find(tag);
  const auto end = at == std::string::npos ? at : text.find('\n', at);
  if (end == std::string::npos) return;
  pid_found_ = true;
  const std::lock_guard lock(mutex_);
  std::from_chars(text.data() + at + tag.size(), text.data() + end, os_pid_);
  text.erase(at, end + 1 - at);
}

/// It is the only one of its form, as others would be taken for it too.
void RemoteWorker::find_address() {
  std::string& text = of(Stream::output).pending;
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
bool RemoteWorker::flush(Stream which) {
  Printed& stream = of(which);
  const bool whole_lines =
      which == Stream::output && (!pid_found_ || replace_) && !stream.ended && stream.pending.size() < most_pending;
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
  of(Stream::errors).pending += "muster: the SSH connection is gone: " + why + "\n";
  pid_found_ = true;
  replace_ = nullptr;
  (void)flush(Stream::output);
  (void)flush(Stream::errors);
  end();
}

void RemoteWorker::end() {
  if (std::exchange(ended_, true)) return;
  for (Printed& each : printed_) each.pipe.reset();
  const int wait_status = wait_status_.value_or(-1);
  std::function<void(int)> tell;
  {
    const std::lock_guard lock(mutex_);
    told_ = wait_status;
    tell = std::move(tell_);
  }
  if (tell) tell(wait_status);
}

}  // namespace muster::runtime::ssh
