/// @file
/// What workers print, shown by the master.
#include "runtime/cluster/worker_output.hpp"

#include "runtime/base/line_reader.hpp"
#include "runtime/base/log.hpp"

#include <muster/cluster_manager.hpp>

#include <poll.h>
#include <unistd.h>

#include <any>
#include <array>
#include <cerrno>
#include <deque>
#include <exception>
#include <future>
#include <utility>

namespace muster::runtime {

namespace {

/// Read at once, so that a worker that prints without end leaves room for the others.
constexpr std::size_t bytes_at_once = std::size_t{64} * 1024;
/// Read after a process's end: what a pipe can hold unless somebody goes on writing.
constexpr std::size_t most_bytes_after_end = std::size_t{1024} * 1024;

/// Start of a line that a worker has printed for a worker of its own.
constexpr std::string_view relayed = "      From worker ";

/// Writes all of `text`; gives up where nobody can read it any more.
void write_fully(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(fd, text.data(), text.size());
    if (written >= 0) {
      text.remove_prefix(static_cast<std::size_t>(written));
    } else if (errno == EAGAIN) {  // somebody made our standard output non-blocking
      pollfd writable{fd, POLLOUT, 0};
      ::poll(&writable, 1, -1);
    } else if (errno != EINTR) {
      return;
    }
  }
}

}  // namespace

UniqueFd take_standard_error(WorkerConfig& config) {
  const auto* error = std::any_cast<StandardError>(&config.userdata);
  if (const auto* elsewhere = std::any_cast<ProcessElsewhere>(&config.userdata)) error = &elsewhere->standard_error;
  return error != nullptr && error->fd ? std::move(*error->fd) : UniqueFd();
}

OutputPrinter::OutputPrinter(Hook hook, int output_fd, int error_fd)
    : hook_(std::move(hook)), output_fd_(output_fd), error_fd_(error_fd) {}

void OutputPrinter::print(std::optional<Pid> pid, Stream stream, std::string_view line) {
  std::string text = composed(pid, line);
  if (text.empty()) return;
  if (text.back() != '\n') text += '\n';
  const std::unique_lock lock(mutex_);
  write_fully(stream == Stream::output ? output_fd_ : error_fd_, text);
}

std::string OutputPrinter::composed(std::optional<Pid> pid, std::string_view line) const {
  if (!pid) return "\tFrom worker startup:\t" + std::string(line) + "\n";
  if (hook_) {
    try {
      return hook_(*pid, line);
    } catch (const std::exception& error) {
      log::warning(std::string("SessionOptions::worker_output threw: ") + error.what());
    } catch (...) {
      log::warning("SessionOptions::worker_output threw something that is no std::exception");
    }
  }
  if (line.starts_with(relayed)) return std::string(line) + "\n";
  return std::string(relayed) + std::to_string(*pid) + ":\t" + std::string(line) + "\n";
}

/// Streams are read on the steward only. Shared with the steward's callbacks, so that a callback may destroy the
/// WorkerOutput.
class WorkerOutput::State : public std::enable_shared_from_this<State> {
 public:
  State(Steward& steward, std::shared_ptr<OutputPrinter> printer, UniqueFd output, UniqueFd error, Callbacks callbacks)
      : steward_(steward),
        printer_(std::move(printer)),
        finds_address_(callbacks.started != nullptr),
        callbacks_(std::move(callbacks)) {
    streams_[0].fd = std::move(output);
    streams_[1].fd = std::move(error);
    streams_[1].kind = OutputPrinter::Stream::error;
  }

  void start();
  void stop();
  void finish(const std::function<void()>& done);
  void set_pid(Pid pid) {
    const std::unique_lock lock(mutex_);
    pid_ = pid;
  }
  std::string last_output() const;
  Steward& steward() { return steward_; }

 private:
  struct Stream {
    UniqueFd fd;
    OutputPrinter::Stream kind = OutputPrinter::Stream::output;
    LineReader lines;
    bool ended = false;
    WatchId watch{};  ///< guarded by mutex_
  };

  std::size_t read_once(Stream& stream);
  void drain(Stream& stream);
  void end(Stream& stream);
  void line(const Stream& stream, std::string_view text);
  void remember(std::string_view text);
  void report_start();
  void report_end();
  bool stopped() const {
    const std::unique_lock lock(mutex_);
    return stopped_;
  }

  Steward& steward_;
  const std::shared_ptr<OutputPrinter> printer_;
  const bool finds_address_;
  // On the steward only:
  Callbacks callbacks_;
  std::array<Stream, 2> streams_;
  StartupOutput startup_;

  mutable std::mutex mutex_;  ///< guards all below
  std::optional<Pid> pid_;
  std::deque<std::string> last_lines_;
  std::size_t last_bytes_ = 0;  ///< of last_lines_, newlines included
  bool stopped_ = false;
};

void WorkerOutput::State::start() {
  const auto self = shared_from_this();
  for (Stream& stream : streams_) {
    if (!stream.fd) continue;
    const WatchId watch = steward_.watch_readable(stream.fd.get(), [self, &stream] {
      if (self->stopped() || stream.ended) return false;
      if (self->read_once(stream) == 0) self->end(stream);
      return !stream.ended;
    });
    const std::unique_lock lock(mutex_);
    stream.watch = watch;
  }
  steward_.post([self] {  // a stream that is none has ended from the beginning
    for (Stream& stream : self->streams_) {
      if (!stream.fd && !self->stopped()) self->end(stream);
    }
  });
}

void WorkerOutput::State::stop() {
  std::array<WatchId, 2> watches{};
  {
    const std::unique_lock lock(mutex_);
    stopped_ = true;
    for (std::size_t i = 0; i < 2; ++i) watches[i] = streams_[i].watch;
  }
  for (const WatchId watch : watches) steward_.unwatch(watch);
  if (!steward_.on_own_thread()) {  // what was posted sees stopped_, or has begun: let it end
    const auto passed = std::make_shared<std::promise<void>>();
    auto all_passed = passed->get_future();
    steward_.post([passed] { passed->set_value(); });
    all_passed.wait();
  }
  // The descriptors close with the last callback that shares this, and no watch names them now.
}

void WorkerOutput::State::finish(const std::function<void()>& done) {
  for (Stream& stream : streams_) {
    if (stream.ended || stopped()) continue;
    drain(stream);
    WatchId watch;
    {
      const std::unique_lock lock(mutex_);
      watch = stream.watch;
    }
    steward_.unwatch(watch);
    end(stream);
  }
  if (done && !stopped()) done();
}

/// @return bytes read; 0 at the end.
std::size_t WorkerOutput::State::read_once(Stream& stream) {
  std::array<char, bytes_at_once> buffer;
  const ssize_t count = ::read(stream.fd.get(), buffer.data(), buffer.size());
  if (count < 0 && (errno == EAGAIN || errno == EINTR)) return 1;  // nothing after all: wait for more
  if (count <= 0) return 0;                                        // a terminal ends with EIO
  const auto size = static_cast<std::size_t>(count);
  stream.lines.add({buffer.data(), size}, [&](std::string_view text) { line(stream, text); });
  return size;
}

void WorkerOutput::State::drain(Stream& stream) {
  for (std::size_t total = 0; total < most_bytes_after_end && stream.fd;) {
    pollfd readable{stream.fd.get(), POLLIN, 0};
    if (::poll(&readable, 1, 0) <= 0) return;
    const std::size_t count = read_once(stream);
    if (count == 0) return;
    total += count;
  }
}

void WorkerOutput::State::end(Stream& stream) {
  if (stream.ended) return;
  stream.lines.end([&](std::string_view text) { line(stream, text); });
  stream.ended = true;
  if (stream.kind == OutputPrinter::Stream::output) {
    startup_.end();
    report_start();
  }
  // The watch must be gone before its descriptor is closed; it ends when the callback that called this returns.
  if (stream.fd) {
    steward_.post([fd = std::make_shared<UniqueFd>(std::move(stream.fd))]() mutable { fd.reset(); });
  }
  report_end();
}

void WorkerOutput::State::line(const Stream& stream, std::string_view text) {
  if (stream.kind == OutputPrinter::Stream::output && finds_address_) {
    const bool shown = startup_.line(text);
    report_start();
    if (!shown) return;
  }
  remember(text);
  std::optional<Pid> pid;
  {
    const std::unique_lock lock(mutex_);
    pid = pid_;
  }
  printer_->print(pid, stream.kind, text);
}

void WorkerOutput::State::remember(std::string_view text) {
  if (text.size() >= most_last_bytes) text.remove_prefix(text.size() - most_last_bytes + 1);
  const std::unique_lock lock(mutex_);
  last_lines_.emplace_back(text);
  last_bytes_ += text.size() + 1;
  while (last_lines_.size() > most_last_lines || last_bytes_ > most_last_bytes) {
    last_bytes_ -= last_lines_.front().size() + 1;
    last_lines_.pop_front();
  }
}

std::string WorkerOutput::State::last_output() const {
  const std::unique_lock lock(mutex_);
  std::string text;
  for (const std::string& line : last_lines_) text += line + "\n";
  return text;
}

void WorkerOutput::State::report_start() {
  if (!callbacks_.started || stopped() || startup_.outcome() == StartupOutput::Outcome::waiting) return;
  std::exchange(callbacks_.started, nullptr)(startup_);
}

void WorkerOutput::State::report_end() {
  if (!streams_[0].ended || !streams_[1].ended || !callbacks_.ended || stopped()) return;
  std::exchange(callbacks_.ended, nullptr)();
}

WorkerOutput::WorkerOutput(Steward& steward, std::shared_ptr<OutputPrinter> printer, UniqueFd output, UniqueFd error,
                           Callbacks callbacks)
    : state_(std::make_shared<State>(steward, std::move(printer), std::move(output), std::move(error),
                                     std::move(callbacks))) {
  try {
    state_->start();
  } catch (...) {
    state_->stop();
    throw;
  }
}

WorkerOutput::~WorkerOutput() { state_->stop(); }

void WorkerOutput::finish(std::function<void()> done) {
  state_->steward().post([state = state_, done = std::move(done)] { state->finish(done); });
}

void WorkerOutput::set_pid(Pid pid) { state_->set_pid(pid); }

std::string WorkerOutput::last_output() const { return state_->last_output(); }

}  // namespace muster::runtime
