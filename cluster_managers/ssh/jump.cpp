#include "cluster_managers/ssh/jump.hpp"

#include <muster/errors.hpp>

#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstring>
#include <sstream>

namespace muster::runtime::ssh {

std::optional<Machine> jump_host(const std::string& proxy_command) {
  std::istringstream words(proxy_command);
  std::string word, user, port, host;
  if (!(words >> word) || word != "ssh") return std::nullopt;
  bool forwards = false;
  while (words >> word) {
    if (word == "-l" && user.empty())
      words >> user;
    else if (word == "-p" && port.empty())
      words >> port;
    else if (word == "-W" && !forwards)
      forwards = static_cast<bool>(words >> word) && word == "'[%h]:%p'";
    else if (word.starts_with('-') || !host.empty())
      return std::nullopt;
    else
      host = word;
  }
  if (!forwards || host.empty()) return std::nullopt;
  Machine machine("host");
  machine.host = host;
  machine.user = user;
  std::from_chars(port.data(), port.data() + port.size(), machine.port);
  return machine;
}

Jump::Jump(const Machine& between, const SshOptions& options, Clock::time_point deadline, std::stop_token stop,
           std::mutex& known_hosts, const std::string& host, int port)
    : connection_(between, options, deadline, std::move(stop), known_hosts), tunnel_(connection_, host, port) {
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends.data()) != 0)
    throw Error(std::string("no socket for the way through ") + connection_.name() + ": " + std::strerror(errno));
  near_.reset(ends[0]);
  if (!tunnel_.carry(UniqueFd(ends[1])))
    throw Error("no way through " + connection_.name() + ": " + connection_.last_error());
  thread_ = std::thread([this] { carry(); });
  (void)pthread_setname_np(thread_.native_handle(), "muster-ssh-jump");
}

Jump::~Jump() {
  connection_.abort();
  thread_.join();
}

/// Until either side hangs up.
void Jump::carry() {
  sigset_t all;
  sigfillset(&all);
  (void)pthread_sigmask(SIG_BLOCK, &all, nullptr);
  ssh_set_blocking(connection_.session(), 0);
  while (ssh_is_connected(connection_.session()) != 0 && !tunnel_.close()) {
    const std::uint64_t received = connection_.received();
    if (tunnel_.pump() || connection_.received() != received) continue;  // its window may be open again
    std::vector<pollfd> watched;
    const bool unsent = (ssh_get_poll_flags(connection_.session()) & SSH_WRITE_PENDING) != 0;
    watched.push_back({connection_.descriptor(), static_cast<short>(unsent ? POLLIN | POLLOUT : POLLIN), 0});
    tunnel_.watch(watched);
    (void)::poll(watched.data(), watched.size(), -1);
  }
  tunnel_.end();
}

}  // namespace muster::runtime::ssh
