// What must not hurt: strangers at the ports, launches that can't work, limits, messages that can't be.

#include "child_program.hpp"
#include "values.hpp"

#include <muster/cluster_manager.hpp>
#include <muster/muster.hpp>

#include <gmock/gmock.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <random>
#include <sstream>

namespace muster::testing {
namespace {

using test::Unreadable;
using test::Unwritable;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr std::uint64_t small_limit = 1 << 20;

class BadInput : public ::testing::Test {
 protected:
  void SetUp() override { start({}); }
  void start(SessionOptions options) {
    static char name[] = "bad_input_test";
    static char* arguments[] = {name, nullptr};
    int count = 1;
    char** values = arguments;
    session_.reset();
    session_.emplace(count, values, std::move(options));
  }
  /// Fails with this cause; what else is known of it.
  static LaunchFailure failure_of(AddprocsOptions options, LaunchCause cause) {
    try {
      (void)addprocs(1, std::move(options));
      ADD_FAILURE() << "nothing was thrown";
      return {};
    } catch (const LaunchError& error) {
      EXPECT_EQ(error.failures().size(), 1U);
      EXPECT_EQ(error.failures()[0].cause, cause) << error.what();
      EXPECT_TRUE(error.joined().empty());
      EXPECT_EQ(nprocs(), 1);
      return error.failures()[0];
    }
  }
  template <class E>
  static std::string text_of(const LaunchFailure& failure) {
    try {
      std::rethrow_exception(failure.error);
    } catch (const E& error) {
      return error.what();
    } catch (const std::exception& error) {
      ADD_FAILURE() << "another exception: " << error.what();
    }
    return {};
  }
  std::optional<Session> session_;
};

pid_t os_pid() { return ::getpid(); }
std::string this_program() { return std::filesystem::read_symlink("/proc/self/exe"); }

// -- strangers --------------------------------------------------------------------------------------------------------

/// TCP ports that a process of this host listens on.
std::vector<int> ports_of(pid_t process) {
  const auto directory = "/proc/" + std::to_string(process);
  std::set<std::string> sockets;
  for (const auto& name : names_in(directory + "/fd")) {
    std::error_code gone;
    const auto target = std::filesystem::read_symlink(directory + "/fd/" + name, gone).string();
    if (target.starts_with("socket:[")) sockets.insert(target.substr(8, target.size() - 9));
  }
  std::vector<int> ports;
  std::ifstream table(directory + "/net/tcp");
  for (std::string line; std::getline(table, line);) {
    std::istringstream words(line);
    std::string number, local, remote, state, queues, timer, retransmits, user, timeout, inode;
    words >> number >> local >> remote >> state >> queues >> timer >> retransmits >> user >> timeout >> inode;
    if (state == "0A" && sockets.contains(inode))
      ports.push_back(std::stoi(local.substr(local.find(':') + 1), nullptr, 16));
  }
  return ports;
}

/// A connection to a port of this host.
class Stranger {
 public:
  explicit Stranger(int port) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (::connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
      throw std::runtime_error("nobody listens at port " + std::to_string(port));
  }
  ~Stranger() { ::close(fd_); }
  Stranger(const Stranger&) = delete;
  Stranger& operator=(const Stranger&) = delete;

  void send(const std::string& bytes) const { (void)::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL); }
  /// Becomes a ZeroMQ peer.
  void shake_hands(const std::string& identity) const {
    std::string greeting = std::string("\xff\0\0\0\0\0\0\0\1\x7f\3\0NULL", 16);
    greeting.resize(64, '\0');
    send(greeting);
    const auto property = [](const std::string& name, const std::string& value) {
      return static_cast<char>(name.size()) + name + std::string("\0\0\0", 3) + static_cast<char>(value.size()) + value;
    };
    const std::string ready =
        std::string("\5READY") + property("Socket-Type", "DEALER") + property("Identity", identity);
    send(std::string("\4") + static_cast<char>(ready.size()) + ready);
  }
  /// One ZeroMQ frame.
  void send_frame(const std::string& content, bool more = false) const {
    std::string frame(1, static_cast<char>(2 | (more ? 1 : 0)));
    for (int shift = 56; shift >= 0; shift -= 8) frame += static_cast<char>(content.size() >> shift);
    send(frame + content);
  }
  bool closed_within(std::chrono::nanoseconds limit) const {
    const auto deadline = Clock::now() + limit;
    char buffer[256];
    for (;;) {
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
      pollfd readable{fd_, POLLIN, 0};
      if (left <= 0 || ::poll(&readable, 1, static_cast<int>(left)) <= 0) return false;
      if (::recv(fd_, buffer, sizeof buffer, 0) <= 0) return true;
    }
  }

 private:
  int fd_;
};

std::string random_text(std::size_t size, std::mt19937& random) {
  std::string text(size, '\0');
  for (char& c : text) c = static_cast<char>(random());
  return text;
}

// catalogue: 26, 169
TEST_F(BadInput, StrangersAreClosedAndDisturbNobody) {
  const auto pids = addprocs(2);
  const auto ports = [](Pid pid) { return ports_of(pid == 1 ? ::getpid() : fetchfrom(pid, os_pid)); };
  std::mt19937 random(1);  // NOLINT: the same each time
  ::testing::internal::CaptureStderr();
  std::size_t tried = 0;
  for (const Pid pid : {Pid{1}, pids[0]}) {
    for (const int port : ports(pid)) {
      ++tried;
      {
        const Stranger noise(port);
        noise.send(random_text(32, random));
        EXPECT_TRUE(noise.closed_within(10s));
      }
      for (const std::size_t size :
           {std::size_t{0}, std::size_t{1}, std::size_t{5}, std::size_t{32}, std::size_t{4000}}) {
        const Stranger peer(port);
        peer.shake_hands("stranger" + std::to_string(size));
        peer.send_frame(random_text(size, random), size == 32);
        if (size == 32) peer.send_frame(random_text(100, random));
        EXPECT_TRUE(peer.closed_within(10s)) << "a message of " << size << " bytes";
      }
      for (int kind = 0; kind < 256; kind += 3) {  // every kind of message, with nothing in it
        const Stranger peer(port);
        peer.shake_hands("kind" + std::to_string(kind));
        std::string message(64, '\0');
        message[0] = static_cast<char>(kind);
        peer.send_frame(message);
        EXPECT_TRUE(peer.closed_within(10s)) << "kind " << kind;
      }
      {
        const Stranger peer(port);
        peer.shake_hands("endless");
        peer.send(std::string("\2\0\0\1\0\0\0\0\0", 9) + "and so on");  // a frame of 2^40 bytes
        EXPECT_TRUE(peer.closed_within(10s));
      }
      const Stranger silent(port);
    }
  }
  for (const Pid pid : pids) EXPECT_EQ(fetchfrom(pid, [] { return nprocs(); }), 3);
  EXPECT_EQ(fetchfrom(pids[0], [](Pid other) { return fetchfrom(other, [] { return myid(); }); }, pids[1]), pids[1]);
  EXPECT_THAT(procs(), ElementsAre(1, pids[0], pids[1]));
  session_.reset();  // all that was said by then
  const auto said = ::testing::internal::GetCapturedStderr();
  if (tried == 0) GTEST_SKIP() << "NOBODY LISTENS ON A TCP PORT: strangers were not tried";
  EXPECT_THAT(said, AllOf(HasSubstr("warning"), HasSubstr("closed")));
}

// -- launches ---------------------------------------------------------------------------------------------------------

/// A manager that starts workers whose start record was tampered with.
class TamperingManager : public ClusterManager {
 public:
  explicit TamperingManager(std::function<std::string(std::string)> tamper) : tamper_(std::move(tamper)) {}
  void launch(LaunchContext& context) override {
    const auto started = start_worker(context, tamper_(context.start_record()));
    WorkerConfig config;
    config.os_pid = started.os_pid;
    config.output_fd = started.output_fd;
    context.launched(std::move(config));
  }

 private:
  std::function<std::string(std::string)> tamper_;
};

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  const auto at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return at == std::string::npos ? text : text.replace(at, from.size(), to);
}

// catalogue: 25
TEST_F(BadInput, AnotherCookieIsRefusedAtOnce) {
  const auto begin = Clock::now();
  try {
    (void)addprocs(std::make_shared<TamperingManager>(
        [](const std::string& record) { return replaced(record, "\"cookie\":\"", "\"cookie\":\"x"); }));
    ADD_FAILURE() << "nothing was thrown";
  } catch (const LaunchError& error) {
    ASSERT_EQ(error.failures().size(), 1U);
    EXPECT_EQ(error.failures()[0].cause, LaunchCause::handshake);
    EXPECT_THAT(text_of<AuthError>(error.failures()[0]), HasSubstr("invalid connection credentials"));
  }
  EXPECT_LT(Clock::now() - begin, 10s);
  EXPECT_EQ(addprocs(1).size(), 1U);
}

// catalogue: 303
TEST_F(BadInput, AStartRecordThatIsNoneEndsTheWorker) {
  for (const std::string record :
       {"", "nonsense", "{}", "[1]", "{\"muster\":99}", "\"\\", "{\"muster\":1,\"cookie\":7}"}) {
    try {
      (void)addprocs(std::make_shared<TamperingManager>([record](const std::string&) { return record; }));
      ADD_FAILURE() << "nothing was thrown for " << record;
    } catch (const LaunchError& error) {
      EXPECT_EQ(error.failures()[0].cause, LaunchCause::exited) << record;
      EXPECT_EQ(error.failures()[0].exit_status, 1);
      EXPECT_THAT(error.failures()[0].output, HasSubstr("start record"));
    }
  }
}

/// This program as another build: the same code under another build id.
class OtherBuild {
 public:
  OtherBuild() : path_(std::filesystem::temp_directory_path() / ("bad_input_test." + std::to_string(::getpid()))) {
    std::ifstream file(this_program(), std::ios::binary);
    std::string bytes(std::istreambuf_iterator<char>(file), {});
    const auto note = bytes.find(std::string("\4\0\0\0\x14\0\0\0\3\0\0\0GNU\0", 16));
    if (note == std::string::npos) throw std::runtime_error("no build id in " + this_program());
    bytes[note + 16] = static_cast<char>(~bytes[note + 16]);
    std::ofstream(path_, std::ios::binary) << bytes;
    std::filesystem::permissions(path_, std::filesystem::perms::owner_all);
  }
  ~OtherBuild() { std::filesystem::remove(path_); }
  OtherBuild(const OtherBuild&) = delete;
  OtherBuild& operator=(const OtherBuild&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

// catalogue: 164
TEST_F(BadInput, AnotherBuildIsRefusedAndBothAreNamed) {
  const OtherBuild other;
  const auto failure = failure_of({.exename = other.path()}, LaunchCause::handshake);
  EXPECT_THAT(text_of<CodeMismatch>(failure), AllOf(HasSubstr(other.path()), HasSubstr("build")));
  // Two build ids of 40 digits.
  const auto text = text_of<CodeMismatch>(failure);
  std::set<std::string> ids;
  for (std::size_t i = 0; i + 40 <= text.size(); ++i) {
    const auto word = text.substr(i, 40);
    if (word.find_first_not_of("0123456789abcdef") == std::string::npos) ids.insert(word);
  }
  EXPECT_EQ(ids.size(), 2U) << text;
}

AddprocsOptions script(const std::string& text, std::chrono::nanoseconds timeout = 60s) {
  return {.exename = "/bin/sh", .exeflags = {"-c", text}, .launch_timeout = timeout};
}

// catalogue: 27, 30, 303
TEST_F(BadInput, ACommandThatEnds) {
  ::testing::internal::CaptureStdout();
  const auto begin = Clock::now();
  const auto failure = failure_of(script("echo some words; exit 3"), LaunchCause::exited);
  EXPECT_LT(Clock::now() - begin, 10s);
  EXPECT_EQ(failure.exit_status, 3);
  EXPECT_EQ(failure.output, "some words\n");
  EXPECT_THAT(failure.message,
              HasSubstr("Unable to read host:port string from worker. Launch command exited with error?"));
  EXPECT_EQ(::testing::internal::GetCapturedStdout(), "\tFrom worker startup:\tsome words\n");
  EXPECT_EQ(failure_of(script("kill -9 $$"), LaunchCause::exited).signal, SIGKILL);
}

// catalogue: 29, 30
TEST_F(BadInput, ACommandThatIsSilent) {
  ::testing::internal::CaptureStdout();
  const auto begin = Clock::now();
  const auto failure = failure_of(script("echo $$; exec sleep 100", 300ms * slowness), LaunchCause::no_address_line);
  EXPECT_LT(Clock::now() - begin, 10s);
  EXPECT_THAT(text_of<TimeoutError>(failure), HasSubstr("Timed out waiting to read host:port string from worker"));
  const auto process = std::stoi(failure.output);
  EXPECT_TRUE(eventually([process] { return !runs(process); }));
  EXPECT_EQ(::testing::internal::GetCapturedStdout(), "\tFrom worker startup:\t" + failure.output);
}

TEST_F(BadInput, ACommandThatClosesItsOutput) {
  const auto begin = Clock::now();
  (void)failure_of(script("exec >&- 2>&-; exec sleep 100"), LaunchCause::exited);
  EXPECT_LT(Clock::now() - begin, 10s);
}

// catalogue: 28
TEST_F(BadInput, ACommandThatTalksTooMuch) {
  ::testing::internal::CaptureStdout();
  const auto failure = failure_of(script("i=0; while [ $i -lt 1001 ]; do echo line; i=$((i+1)); done; exec sleep 100"),
                                  LaunchCause::too_much_output);
  EXPECT_THAT(failure.message, HasSubstr("Unexpected output from worker launch command. Host:port string not found"));
  const auto shown = ::testing::internal::GetCapturedStdout();
  EXPECT_EQ(std::count(shown.begin(), shown.end(), '\n'), 1000);
}

// catalogue: 60
TEST_F(BadInput, ABannerDoesNoHarm) {
  ::testing::internal::CaptureStdout();
  const auto pid = addprocs(1, script("echo welcome; exec '" + this_program() + "' --muster-worker")).front();
  EXPECT_EQ(fetchfrom(pid, [] { return myid(); }), pid);
  EXPECT_EQ(::testing::internal::GetCapturedStdout(), "\tFrom worker startup:\twelcome\n");
}

TEST_F(BadInput, AnAddressWhereNobodyAnswers) {
  const auto begin = Clock::now();
  const auto failure = failure_of(script("echo 'muster_worker:1#127.0.0.1'; exec sleep 100"), LaunchCause::handshake);
  EXPECT_LT(Clock::now() - begin, 10s);
  EXPECT_THAT(failure.message, HasSubstr("127.0.0.1:1"));
}

TEST_F(BadInput, MissingProgramsAndDirectories) {
  EXPECT_THAT(failure_of({.exename = "/no/such/program"}, LaunchCause::not_started).message,
              HasSubstr("/no/such/program"));
  EXPECT_THAT(failure_of({.dir = "/no/such/directory"}, LaunchCause::not_started).message,
              HasSubstr("/no/such/directory"));
  EXPECT_THROW(std::rethrow_exception(failure_of({.exename = "/"}, LaunchCause::not_started).error), Error);
}

TEST_F(BadInput, AMillionWorkersAreRefusedBeforeTheFirst) {
  const auto begin = Clock::now();
  try {
    (void)addprocs(1'000'000);
    ADD_FAILURE() << "nothing was thrown";
  } catch (const LaunchError& error) {
    EXPECT_EQ(error.failures().size(), 1U);
    EXPECT_THAT(error.what(), AllOf(HasSubstr("1000000"), HasSubstr("limit")));
  }
  EXPECT_LT(Clock::now() - begin, 10s);
  EXPECT_EQ(nprocs(), 1);
  EXPECT_EQ(addprocs(1).front(), 2);
}

// -- limits -----------------------------------------------------------------------------------------------------------

int counts_descriptors(int& argc, char**& argv) {
  const int workers_wanted = std::stoi(argv[2]);
  try {
    const Session session(argc, argv);
    std::puts("started");
    try {
      (void)addprocs(workers_wanted);
    } catch (const LaunchError& error) {
      std::printf("%zu joined; %s\n", error.joined().size(), error.what());
    }
    everywhere([] {});
    std::puts("and all answer");
  } catch (const Error& error) {
    std::puts(error.what());
  }
  return 0;
}

TEST_F(BadInput, TooFewDescriptorsAreAClearError) {
  for (const rlim_t limit : {rlim_t{8}, rlim_t{14}, rlim_t{20}, rlim_t{30}}) {
    ChildProgram program({"role:descriptors", "1"}, {.open_files = limit});
    EXPECT_EQ(program.ends(), 0) << program.error();
    EXPECT_THAT(program.out(), AllOf(HasSubstr("file descriptors"), HasSubstr("ulimit -n"))) << limit;
  }
  ChildProgram refused({"role:descriptors", "40"}, {.open_files = 100});
  EXPECT_EQ(refused.ends(), 0) << refused.error();
  EXPECT_THAT(refused.out(),
              AllOf(HasSubstr("started"), HasSubstr("0 joined"), HasSubstr("ulimit -n"), HasSubstr("all answer")));
  for (const rlim_t limit : {rlim_t{44}, rlim_t{52}, rlim_t{60}}) {  // enough for some
    ChildProgram some({"role:descriptors", "11"}, {.open_files = limit});
    EXPECT_EQ(some.ends(60s), 0) << some.error();
    EXPECT_THAT(some.out(), AllOf(HasSubstr("started"), HasSubstr("all answer"))) << limit;
  }
}

// -- messages ---------------------------------------------------------------------------------------------------------

struct Strange {
  int number = 7;
};

template <class F>
std::string remote_failure_of(const F& f) {
  try {
    f();
  } catch (const RemoteException& error) {
    return error.what();
  } catch (const std::exception& error) {
    ADD_FAILURE() << "another exception: " << error.what();
  }
  return "nothing was thrown";
}

// catalogue: 100, 101, 163, 165, 200
TEST_F(BadInput, ValuesThatCannotTravel) {
  const Pid pid = addprocs(1).front();
  const auto answers = [pid] { return fetchfrom(pid, [] { return 1; }) == 1; };
  const auto take_it = [](Unwritable) { return 1; };
  EXPECT_THROW((void)spawnat(pid, take_it, Unwritable{}), std::exception);
  EXPECT_TRUE(answers());
  EXPECT_THAT(remote_failure_of([pid] { (void)fetchfrom(pid, [](Unreadable) { return 1; }, Unreadable{}); }),
              HasSubstr("this can't be read"));
  EXPECT_TRUE(answers());
  EXPECT_THAT(remote_failure_of([pid] { (void)fetchfrom(pid, [] { return Unwritable{}; }); }),
              HasSubstr("this can't be written"));
  EXPECT_TRUE(answers());
  EXPECT_THAT(remote_failure_of([pid] { (void)fetchfrom(pid, []() -> int { throw Strange{}; }); }),
              HasSubstr("Strange"));
  EXPECT_THAT(remote_failure_of([pid] { (void)fetchfrom(pid, []() -> int { throw 5; }); }), HasSubstr("int"));
  EXPECT_TRUE(answers());
}

TEST_F(BadInput, MessagesOverTheLimit) {
  start({.max_message = small_limit});
  const auto pids = addprocs(2);
  const Pid pid = pids[0];
  const auto answers = [pid] { return fetchfrom(pid, [] { return 1; }) == 1; };
  const std::vector<char> large(2 * small_limit);
  try {
    (void)spawnat(pid, [](const std::vector<char>& v) { return v.size(); }, large);
    ADD_FAILURE() << "nothing was thrown";
  } catch (const SerializationError& error) {
    EXPECT_THAT(error.what(), AllOf(HasSubstr(std::to_string(small_limit)), HasSubstr("max_message")));
  }
  EXPECT_TRUE(answers());
  const auto result =
      remote_failure_of([pid] { (void)fetchfrom(pid, [] { return std::vector<char>(2 * small_limit); }); });
  EXPECT_THAT(result, AllOf(HasSubstr(std::to_string(small_limit)), HasSubstr("max_message")));
  EXPECT_TRUE(answers());
  const auto between = remote_failure_of([&] {
    (void)fetchfrom(
        pid, [](Pid other) { return fetchfrom(other, [] { return std::vector<char>(2 * small_limit); }).size(); },
        pids[1]);
  });
  EXPECT_THAT(between, HasSubstr("max_message"));
  EXPECT_EQ(fetchfrom(
                pid, [](const std::vector<char>& v) { return v.size(); }, std::vector<char>(small_limit / 2)),
            small_limit / 2);
  EXPECT_EQ(nprocs(), 3);
}

}  // namespace
}  // namespace muster::testing

int main(int argc, char** argv) {
  return muster::testing::main_with_roles(argc, argv, {{"descriptors", muster::testing::counts_descriptors}});
}
