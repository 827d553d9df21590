#include "repl/kernel/control.hpp"

#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <stdexcept>
#include <utility>

namespace muster::repl {

namespace {

using Clock = std::chrono::steady_clock;

/// For code to end after it was interrupted. Jupyter's own patience is 2.5 s.
constexpr auto patience_at_end = std::chrono::seconds(2);

/// A descriptor that is readable when the server that started this kernel is gone; -1 where there is none.
int watch_parent() {
  const char* told = std::getenv("JPY_PARENT_PID");
  const pid_t parent = ::getppid();
  if (told == nullptr || std::atoi(told) != parent || parent <= 1) return -1;
  return static_cast<int>(::syscall(SYS_pidfd_open, parent, 0));
}

}  // namespace

Ending::Ending() : fd_(::eventfd(0, EFD_CLOEXEC)) {
  if (fd_ < 0) throw std::runtime_error("no descriptors left");
}
Ending::~Ending() { ::close(fd_); }

void Ending::request() {
  requested_ = true;
  const std::uint64_t one = 1;
  (void)!::write(fd_, &one, sizeof one);
}

void interrupt_this_process() {
  // Jupyter makes a kernel leader of a group. Where it is none, the others are not its own.
  const bool leads = ::getpgrp() == ::getpid();
  (void)::kill(leads ? 0 : ::getpid(), SIGINT);
}

Control::Control(Channels& channels, Ending& ending, Json about, std::function<void()> abandon)
    : channels_(channels),
      ending_(ending),
      about_(std::move(about)),
      abandon_(std::move(abandon)),
      parent_(watch_parent()),
      thread_([this] { serve(); }) {}

Control::~Control() {
  done_.request();
  thread_.join();
  if (parent_ >= 0) ::close(parent_);
}

void Control::serve() {
  (void)pthread_setname_np(pthread_self(), "muster-control");
  std::optional<Clock::time_point> deadline;
  const auto end = [&] {
    deadline = Clock::now() + patience_at_end;
    ending_.request();
    interrupt_this_process();
  };
  bool watched = parent_ >= 0;
  while (!done_.requested()) {
    const std::array<zmq::pollitem_t, 4> all{{{channels_.control().handle(), 0, ZMQ_POLLIN, 0},
                                              {channels_.heartbeat().handle(), 0, ZMQ_POLLIN, 0},
                                              {nullptr, done_.fd(), ZMQ_POLLIN, 0},
                                              {nullptr, parent_, ZMQ_POLLIN, 0}}};
    auto items = all;
    const auto left =
        deadline ? std::chrono::duration_cast<std::chrono::milliseconds>(*deadline - Clock::now()).count() + 1 : -1;
    if (deadline && left <= 0) return abandon_();
    if (::zmq_poll(items.data(), watched ? 4 : 3, left) < 0) continue;  // a signal
    if (items[0].revents != 0) {
      if (const auto request = channels_.receive(channels_.control(), "control")) {
        handle(*request);
        if (ending_.requested() && !deadline) end();
      }
    }
    if (items[1].revents != 0) channels_.echo_heartbeat();
    if (watched && items[3].revents != 0) {
      watched = false;
      if (!deadline) end();
    }
  }
}

void Control::handle(const Message& request) {
  const std::string type = request.type();
  channels_.publish(request.header, "status", {{"execution_state", "busy"}});
  if (type == "interrupt_request") {
    interrupt_this_process();
    channels_.reply(channels_.control(), request, "interrupt_reply", {{"status", "ok"}});
  } else if (type == "shutdown_request") {
    const Json content{{"status", "ok"}, {"restart", request.content.value("restart", Json(false))}};
    channels_.reply(channels_.control(), request, "shutdown_reply", content);
    channels_.publish(request.header, "shutdown_reply", content);
    ending_.request();
  } else if (type == "kernel_info_request") {
    channels_.reply(channels_.control(), request, "kernel_info_reply", about_);
  } else {
    channels_.log("does not know " + type + " on the control channel");
  }
  channels_.publish(request.header, "status", {{"execution_state", "idle"}});
}

}  // namespace muster::repl
