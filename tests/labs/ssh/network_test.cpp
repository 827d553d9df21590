// What a network between hosts carries, and what this host opens to it.
#include "ssh_workers.hpp"

#include <net/if.h>
#include <netinet/in.h>
#include <netpacket/packet.h>
#include <sys/socket.h>

namespace muster::test {
namespace {

/// Whether that text ever passes the lab's bridge while this lives.
class Capture {
 public:
  explicit Capture(const std::string& bridge) : socket_(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(0x0003))) {
    sockaddr_ll place{};
    place.sll_family = AF_PACKET;
    place.sll_protocol = htons(0x0003);  // every protocol
    place.sll_ifindex = static_cast<int>(::if_nametoindex(bridge.c_str()));
    EXPECT_EQ(::bind(socket_, reinterpret_cast<sockaddr*>(&place), sizeof place), 0) << std::strerror(errno);
    const timeval patience_of_one{0, 20'000};
    ::setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &patience_of_one, sizeof patience_of_one);
    thread_ = std::thread([this] {
      std::vector<char> packet(1U << 17);
      while (!done_) {
        const auto got = ::recv(socket_, packet.data(), packet.size(), 0);
        if (got > 0) heard_.append(packet.data(), static_cast<std::size_t>(got));
      }
    });
  }
  ~Capture() {
    if (thread_.joinable()) (void)heard();
    ::close(socket_);
  }
  Capture(const Capture&) = delete;
  Capture& operator=(const Capture&) = delete;
  const std::string& heard() {
    done_ = true;
    thread_.join();
    return heard_;
  }

 private:
  int socket_;
  std::atomic<bool> done_{false};
  std::string heard_;  ///< the thread's
  std::thread thread_;
};

TEST(Ssh, NothingOfThisHostIsOpenedToTheNetwork) {
  const SshWorkers one({"h1"});
  int listening = 0;
  for (int fd = 0; fd < 1024; ++fd) {
    int listens = 0;
    socklen_t size = sizeof listens;
    if (::getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) != 0 || listens == 0) continue;
    sockaddr_in address{};
    size = sizeof address;
    ASSERT_EQ(::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size), 0);
    if (address.sin_family == AF_UNIX) continue;
    ++listening;
    EXPECT_EQ(address.sin_family, AF_INET);
    EXPECT_EQ(ntohl(address.sin_addr.s_addr) >> 24U, 127U);
  }
  EXPECT_EQ(listening, 1);
}

TEST(Ssh, TheNetworkCarriesNoPlainText) {
  const std::string text = "the known plain text of an argument and of a result";
  Capture capture(lab->network("bridge"));
  {
    const SshWorkers two({"h1", "h2"});
    const auto echo = [](const std::string& word) { return word; };
    EXPECT_EQ(remotecall_fetch(echo, two[0], text), text);
    const auto pass_on = [](Pid other, const std::string& word) {
      return remotecall_fetch([](const std::string& again) { return again; }, other, word);
    };
    EXPECT_EQ(remotecall_fetch(pass_on, two[0], two[1], text), text);
  }
  const std::string& heard = capture.heard();
  EXPECT_NE(heard.find("SSH-2.0-"), std::string::npos) << "the capture hears nothing";
  EXPECT_EQ(heard.find(text), std::string::npos);
}

}  // namespace
}  // namespace muster::test
