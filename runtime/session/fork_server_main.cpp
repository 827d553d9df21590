// The server's side of runtime/base/fork_server.hpp.
//
// It runs as the program is loaded, before the initialisers of the program and of this library: only what the C library
// offers is used here.

#include "runtime/base/fork_server.hpp"
#include "runtime/session/worker_group_main.hpp"

#include <dirent.h>
#include <linux/sched.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstring>

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define MUSTER_THREAD_SANITIZER
#endif
#elif defined(__SANITIZE_THREAD__)
#define MUSTER_THREAD_SANITIZER
#endif

namespace muster::runtime {

namespace {

constexpr int control = STDIN_FILENO;

#ifdef MUSTER_THREAD_SANITIZER
constexpr bool can_fork_unseen = false;  // its records of threads would be those of another process
#else
constexpr bool can_fork_unseen = true;
#endif

bool has_flag(int argc, char** argv) {
  for (int i = 1; i < argc; ++i)
    if (argv[i] != nullptr && worker_flag == argv[i]) return true;
  return false;
}

/// Whether our parent greets a fork server. Reads nothing of anything else that standard input may be.
bool is_greeted() {
  int domain = 0;
  socklen_t size = sizeof domain;
  if (::getsockopt(control, SOL_SOCKET, SO_DOMAIN, &domain, &size) != 0 || domain != AF_UNIX) return false;
  ucred peer{};
  size = sizeof peer;
  if (::getsockopt(control, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0 || peer.pid != ::getppid()) return false;
  std::array<char, fork_server_greeting.size()> said{};
  if (::recv(control, said.data(), said.size(), MSG_PEEK | MSG_WAITALL) != static_cast<ssize_t>(said.size()) ||
      said != fork_server_greeting)
    return false;
  return ::recv(control, said.data(), said.size(), MSG_WAITALL) == static_cast<ssize_t>(said.size());
}

/// A preloaded library may have started some, which would be missing in children.
bool has_other_threads() {
  DIR* const threads = ::opendir("/proc/self/task");
  if (threads == nullptr) return true;
  int entries = 0;
  while (::readdir(threads) != nullptr) ++entries;
  ::closedir(threads);
  return entries != 3;  // "." and ".." are two
}

/// What a fork by hand needs to know of this thread, as the C library registered it.
struct ThreadRecords {
  int* id = nullptr;  ///< where its number is kept
  void* robust_list = nullptr;
  std::size_t robust_list_size = 0;

  bool find() {
    return ::prctl(PR_GET_TID_ADDRESS, &id) == 0 && id != nullptr && *id == ::getpid() &&
           ::syscall(SYS_get_robust_list, 0, &robust_list, &robust_list_size) == 0;
  }
};

/// As fork(), but the child is a child of our parent, which fork() can't say.
std::int32_t fork_sibling(const ThreadRecords& records) {
  const unsigned long flags = CLONE_PARENT | CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID | SIGCHLD;
#if defined(__x86_64__) || defined(__aarch64__)
#ifdef __x86_64__
  const long pid = ::syscall(SYS_clone, flags, nullptr, nullptr, records.id, nullptr);
#else
  const long pid = ::syscall(SYS_clone, flags, nullptr, nullptr, nullptr, records.id);
#endif
  if (pid == 0) ::syscall(SYS_set_robust_list, records.robust_list, records.robust_list_size);
  return static_cast<std::int32_t>(pid < 0 ? -errno : pid);
#else
  static_cast<void>(flags);
  static_cast<void>(records);
  return -ENOSYS;
#endif
}

using Descriptors = std::array<int, 3>;

/// Waits for the next child that is wanted. Ends this process where none will be.
Descriptors next_wanted() {
  char byte = 0;
  iovec content{&byte, 1};
  Descriptors descriptors{};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof descriptors)> space{};
  msghdr message{};
  message.msg_iov = &content;
  message.msg_iovlen = 1;
  message.msg_control = space.data();
  message.msg_controllen = space.size();
  ssize_t got;
  do got = ::recvmsg(control, &message, MSG_CMSG_CLOEXEC);
  while (got < 0 && errno == EINTR);
  const cmsghdr* const header = got == 1 ? CMSG_FIRSTHDR(&message) : nullptr;
  if (header == nullptr || header->cmsg_type != SCM_RIGHTS || header->cmsg_len != CMSG_LEN(sizeof descriptors))
    ::_exit(0);
  std::memcpy(descriptors.data(), CMSG_DATA(header), sizeof descriptors);
  return descriptors;
}

void say(const void* bytes, std::size_t size) {
  if (::send(control, bytes, size, MSG_NOSIGNAL) != static_cast<ssize_t>(size)) ::_exit(0);
}

/// In the child: what posix_spawn would have done.
void settle(const Descriptors& descriptors) {
  (void)::setsid();
  for (int i = 0; i < 3; ++i) {
    const int from = descriptors[static_cast<std::size_t>(i)];
    if (::dup2(from, i) < 0) ::_exit(127);
    ::close(from);
  }
}

/// Returns in the children.
void serve() {
  ThreadRecords records;
  const bool able = can_fork_unseen && !has_other_threads() && records.find();
  say(able ? &fork_server_ready : &fork_server_unable, 1);
  for (;;) {
    const Descriptors descriptors = next_wanted();
    const std::int32_t pid = fork_sibling(records);
    if (pid == 0) return settle(descriptors);
    for (const int fd : descriptors) ::close(fd);
    say(&pid, sizeof pid);
  }
}

/// The first priority there is: before all that has none, so before every C++ object of this library and the program.
[[gnu::constructor(101)]] void serve_if_asked(int argc, char** argv, char** /*environment*/) {
  if (!has_flag(argc, argv)) return;
  if (const std::size_t count = worker_group_asked(argc, argv); count > 0)
    lead_worker_group(count, argv, can_fork_unseen && !has_other_threads());
  else if (is_greeted())
    serve();
}

}  // namespace

}  // namespace muster::runtime
