/// @file
/// The front end whose compiler is another process.
#include "repl/front_end/frames.hpp"
#include "repl/front_end/front_end.hpp"

#include <fcntl.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <utility>

namespace muster::repl {

namespace {

class ClangClient : public FrontEnd {
 public:
  ClangClient(const std::string& program, const FrontEndOptions& options) : program_(program), options_(options) {
    start();
  }
  ~ClangClient() override { stop(); }

  Compiled compile(const Input& input) override {
    const Frame frame = ask({"compile", std::to_string(input.number), input.show ? "show" : "", input.file,
                             std::to_string(input.line), input.text});
    Compiled result;
    result.declares = frame.at(1) == "declares";
    result.source = frame.at(2);
    result.warnings = frame.at(3);
    for (std::size_t i = 4; i + 1 < frame.size(); i += 2) result.cells.push_back({frame[i], frame[i + 1]});
    return result;
  }

  void forget() override { (void)ask({"forget"}); }

  std::vector<std::string> complete(const std::string& text) override {
    const Frame frame = ask({"complete", text});
    return {frame.begin() + 1, frame.end()};
  }

  std::vector<std::string> explain(const std::string& text) override {
    const Frame frame = ask({"explain", text});
    return {frame.begin() + 1, frame.end()};
  }

  std::string describe() const override { return version_; }

 private:
  /// The process loads clang while whoever made this goes on: the first request waits for it.
  void start() {
    int sockets[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) != 0)
      throw std::runtime_error(std::string("no socket for the compiler's process: ") + std::strerror(errno));
    socket_ = sockets[0];
    constexpr int its_socket = 3;
    std::vector<std::string> words{program_, std::to_string(its_socket), options_.folder};
    words.insert(words.end(), options_.flags.begin(), options_.flags.end());
    std::vector<char*> arguments;
    for (std::string& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, sockets[1], its_socket);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    const auto before = std::signal(SIGINT, SIG_IGN);  // it inherits that: Ctrl-C is not meant for it, not even now
    const int error = ::posix_spawn(&process_, program_.c_str(), &actions, nullptr, arguments.data(), environ);
    (void)std::signal(SIGINT, before);
    posix_spawn_file_actions_destroy(&actions);
    ::close(sockets[1]);
    if (error != 0) {
      ::close(socket_);
      throw std::runtime_error("can't start " + program_ + ": " + std::strerror(error));
    }
    if (options_.warm) (void)send_frame(socket_, {"warm up"});  // has no answer
  }

  void stop() {
    ::close(socket_);
    while (::waitpid(process_, nullptr, 0) < 0 && errno == EINTR) {
    }
  }

  void await_ready() {
    if (!version_.empty()) return;
    const std::optional<Frame> ready = receive_frame(socket_);
    if (!ready) throw CompileError("error: the compiler's process (" + program_ + ") ended before it was ready");
    if (ready->at(0) != "ready") throw CompileError("error: the compiler did not start: " + ready->at(1));
    version_ = ready->at(1);
  }

  Frame ask(const Frame& request) {
    await_ready();
    std::optional<Frame> answer;
    if (send_frame(socket_, request)) answer = receive_frame(socket_);
    if (!answer || answer->empty())
      throw CompileError("error: the compiler's process is gone; leave with %quit and start again");
    if (answer->at(0) != "ok") throw CompileError(answer->at(1));
    return std::move(*answer);
  }

  std::string program_;
  FrontEndOptions options_;
  int socket_ = -1;
  pid_t process_ = -1;
  std::string version_;
};

}  // namespace

std::unique_ptr<FrontEnd> make_clang_front_end(const std::string& program, const FrontEndOptions& options) {
  return std::make_unique<ClangClient>(program, options);
}

}  // namespace muster::repl
