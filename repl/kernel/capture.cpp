#include "repl/kernel/capture.hpp"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <iostream>
#include <stdexcept>
#include <utility>

namespace muster::repl {

namespace {

using namespace std::chrono_literals;

/// Text is passed on in portions: what is printed line by line makes no message for each line.
constexpr auto portion = 20ms;

/// How many bytes at the end begin a character of UTF-8 and do not end it.
std::size_t unfinished(const std::string& text) {
  for (std::size_t back = 1; back <= 3 && back <= text.size(); ++back) {
    const auto byte = static_cast<unsigned char>(text[text.size() - back]);
    if ((byte & 0xc0U) == 0x80U) continue;
    const std::size_t length = byte >= 0xf0U ? 4 : byte >= 0xe0U ? 3 : byte >= 0xc0U ? 2 : 1;
    return length > back ? back : 0;
  }
  return 0;
}

}  // namespace

KernelLog::KernelLog() : fd_(::fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3)) {}
KernelLog::~KernelLog() { ::close(fd_); }

void KernelLog::write(const std::string& text) const {
  const std::string line = "muster-kernel: " + text + "\n";
  (void)!::write(fd_, line.data(), line.size());
}

OutputCapture::OutputCapture(std::function<void(const char*, std::string)> sink)
    : sink_(std::move(sink)), end_(::eventfd(0, EFD_CLOEXEC)) {
  (void)std::setvbuf(stdout, nullptr, _IOLBF, BUFSIZ);  // as in a terminal
  for (Stream& stream : streams_) {
    int ends[2];
    stream.original = ::fcntl(stream.target, F_DUPFD_CLOEXEC, 3);
    if (::pipe2(ends, O_CLOEXEC) != 0 || ::dup2(ends[1], stream.target) < 0)
      throw std::runtime_error("no descriptors left for the output");
    ::close(ends[1]);
    stream.pipe = ends[0];
    (void)::fcntl(stream.pipe, F_SETFL, O_NONBLOCK);
  }
  thread_ = std::thread([this] { watch(); });
}

OutputCapture::~OutputCapture() {
  std::cout << std::flush;
  (void)std::fflush(stdout);
  const std::uint64_t one = 1;
  (void)!::write(end_, &one, sizeof one);
  thread_.join();
  drain();
  for (const Stream& stream : streams_) {
    (void)::dup2(stream.original, stream.target);
    ::close(stream.original);
    ::close(stream.pipe);
  }
  ::close(end_);
}

void OutputCapture::watch() {
  (void)pthread_setname_np(pthread_self(), "muster-output");
  for (;;) {
    pollfd all[3] = {{end_, POLLIN, 0}, {streams_[0].pipe, POLLIN, 0}, {streams_[1].pipe, POLLIN, 0}};
    if (::poll(all, 3, -1) < 0 && errno != EINTR) return;
    pollfd end{end_, POLLIN, 0};
    if (::poll(&end, 1, static_cast<int>(portion.count())) > 0) return;
    const std::lock_guard lock(mutex_);
    read_all();
  }
}

void OutputCapture::read_all() {
  constexpr std::size_t most = std::size_t{1} << 20U;  // a message; who prints without end is not waited for
  for (Stream& stream : streams_) {
    std::string text = std::exchange(stream.rest, {});
    const std::size_t before = text.size();
    char buffer[65536];
    while (text.size() < most) {
      const ssize_t count = ::read(stream.pipe, buffer, sizeof buffer);
      if (count < 0 && errno == EINTR) continue;
      if (count <= 0) break;
      text.append(buffer, static_cast<std::size_t>(count));
    }
    const std::size_t open = text.size() > before ? unfinished(text) : 0;  // whose end does not come is passed on
    stream.rest = text.substr(text.size() - open);
    text.resize(text.size() - open);
    if (!text.empty()) sink_(stream.name, std::move(text));
  }
}

bool OutputCapture::wait(std::chrono::milliseconds limit) const {
  pollfd both[2] = {{streams_[0].pipe, POLLIN, 0}, {streams_[1].pipe, POLLIN, 0}};
  return ::poll(both, 2, static_cast<int>(limit.count())) > 0;
}

void OutputCapture::drain() {
  const std::lock_guard lock(mutex_);
  read_all();  // more than a pipe holds
}

void OutputCapture::settle(std::chrono::milliseconds quiet) {
  const auto deadline = std::chrono::steady_clock::now() + 10 * quiet;
  const std::lock_guard lock(mutex_);
  do {
    read_all();
  } while (std::chrono::steady_clock::now() < deadline && wait(quiet));
  read_all();
}

}  // namespace muster::repl
