#include "repl/clang/server.hpp"

#include "repl/clang/completion.hpp"
#include "repl/clang/transform.hpp"
#include "repl/front_end/frames.hpp"

#include <clang/Basic/Version.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstring>
#include <iterator>
#include <optional>
#include <stdexcept>
#include <utility>

namespace muster::repl {

namespace {

/// How many inputs can be taken back.
constexpr std::size_t kept_states = 16;

/// How a process of the row ends, for the one before it.
enum Ending : int { over = 0, refused = 11, taken_back = 12 };
/// The signal that ends a state which nobody can go back to any more.
constexpr int too_old = SIGTERM;

std::string describe(int status) {
  if (WIFSIGNALED(status) && WTERMSIG(status) == SIGINT) return "interrupted";
  const std::string how = WIFSIGNALED(status)
                              ? "signal " + std::to_string(WTERMSIG(status)) + ", " + strsignal(WTERMSIG(status))
                              : "status " + std::to_string(WEXITSTATUS(status));
  return "error: the compiler crashed on this input (" + how + "). The session is as it was before.";
}

int wait_for(pid_t child) {
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return status;
}

std::string preamble() {
  return "#include <muster/prompt.hpp>\nusing namespace muster;\nusing namespace std::chrono_literals;\n";
}

/// What most sessions do first, in the order in which they do; each part costs a process that stays. It is compiled,
/// and never called.
constexpr const char* warm_sources[] = {
    "(muster::addprocs(2), Shown{});\n"
    "(muster::fetch(muster::spawn([] { return 1; })), Shown{});",
    "(muster::spawn([n] { return n; }), Shown{});\n"
    "(muster::fetchfrom(2, [](int x) { return x; }, 1), Shown{});\n"
    "(muster::fetch(muster::spawnat(2, [](double x) { return x; }, 1.0)), Shown{});\n"
    "(muster::pmap([n](int x) { return n * x; }, std::vector<int>{}), Shown{});\n"
    "(std::string(), Shown{});",
};

std::string warm_up_function(std::size_t part) {
  return "void muster_warm_up_" + std::to_string(part) +
         "() {\n  using muster::prompt::Shown;\n  [[maybe_unused]] const int n = 1;\n" + warm_sources[part] + "\n}\n";
}

/// An input that breaks off, as the end of a translation unit: statements in a function, what else it has outside.
std::string cut_off_unit(const std::string& text) {
  const auto items = items_of(text, false);
  std::string outside, inside;
  for (std::size_t i = 0; i + 1 < items.size(); ++i)
    (items[i].kind == Item::Kind::statement ? inside : outside) += items[i].text + "\n";
  const std::string last = items.empty() ? text : text.substr(items.back().offset);
  const bool in_declaration = !items.empty() && items.back().kind != Item::Kind::statement;
  const std::string head = "inline namespace prompt {\n" + outside;
  return head + (in_declaration ? last : "void muster_completed() {\n" + inside + last);
}

}  // namespace

Server::Server(int socket, const FrontEndOptions& options) : socket_(socket), options_(options), parser_(options) {
  void* shared = ::mmap(nullptr, sizeof(Row), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED) throw std::runtime_error("no shared memory");
  row_ = new (shared) Row;
  parser_.emitter().begin("0");
  parser_.begin(preamble());
}

void Server::answer(const std::vector<std::string>& frame) const {
  row_->busy = false;
  if (!send_frame(socket_, frame)) ::_exit(over);
}

void Server::serve() {
  answer({"ready", clang::getClangFullVersion()});
  for (;;) {
    while (warmed_ < warm_parts_ && !asked()) warm_up();
    const std::optional<Frame> request = receive_frame(socket_);
    if (!request || request->empty()) ::_exit(over);
    row_->busy = true;
    const Frame& frame = *request;
    if (frame[0] == "compile" && frame.size() == 6) {
      compile(
          {frame[5], std::stoi(frame[1]), frame[2] == "show", frame[3], static_cast<unsigned>(std::stoul(frame[4]))});
    } else if ((frame[0] == "complete" || frame[0] == "explain") && frame.size() == 2) {
      say_what_ends(frame[1], frame[0] == "explain");
    } else if (frame[0] == "warm up") {
      row_->busy = false;
      warm_parts_ = std::size(warm_sources);
    } else if (frame[0] == "forget") {
      if (before_.size() > row_->oldest) ::_exit(taken_back);  // whoever sleeps behind answers
      answer({"error", "nothing is left to take back"});
    } else {
      answer({"error", "a request that this version of the compiler's process does not know"});
    }
  }
}

/// Does the work in a forked process, and brings its result here.
std::optional<std::vector<std::string>> Server::in_child(const std::function<std::vector<std::string>()>& work,
                                                         std::string& how_it_ended) const {
  int pipe[2];
  if (::pipe2(pipe, O_CLOEXEC) != 0) throw std::runtime_error("no pipe");
  const pid_t child = ::fork();
  if (child == 0) {
    (void)std::signal(SIGINT, SIG_DFL);  // Ctrl-C ends an endless compilation
    (void)send_frame(pipe[1], work());
    ::_exit(over);
  }
  ::close(pipe[1]);
  std::optional<Frame> result = child > 0 ? receive_frame(pipe[0]) : std::nullopt;
  ::close(pipe[0]);
  if (child < 0) {
    how_it_ended = std::string("error: can't start a process for the compiler: ") + std::strerror(errno);
    return std::nullopt;
  }
  how_it_ended = describe(wait_for(child));
  return result;
}

/// What the input becomes, or what is wrong with it, as a frame.
std::optional<std::vector<std::string>> Server::prepare(const Input& input, Transformer::Loops loops,
                                                        std::string& how_it_ended) {
  const auto work = [&]() -> Frame {
    try {
      const Prepared prepared = Transformer(parser_, input, used_, loops).prepare();
      Frame frame{"good", std::to_string(prepared.names.size())};
      frame.insert(frame.end(), prepared.names.begin(), prepared.names.end());
      for (const Piece& piece : prepared.pieces) {
        frame.push_back(piece.source);
        frame.push_back(std::to_string(piece.hide.size()));
        for (const auto& [name, address] : piece.hide) {
          frame.push_back(name);
          frame.push_back(std::to_string(address));
        }
      }
      return frame;
    } catch (const std::exception& error) {
      return {"bad", error.what()};
    }
  };
  return in_child(work, how_it_ended);
}

/// What is wrong with an input, in words that show it as it was typed.
std::string Server::without_loop_checks(const Input& input, const std::string& message) {
  if (message.find(loop_check) == std::string::npos) return message;
  std::string how_it_ended;
  const auto as_typed = prepare(input, Transformer::Loops::as_typed, how_it_ended);
  const auto first_complaint = [](const std::string& text) {
    const std::size_t from = std::min(text.find("error:"), text.size());
    return text.substr(from, text.find('\n', from) - from);
  };
  const bool is_the_same =
      as_typed && as_typed->at(0) == "bad" && first_complaint(as_typed->at(1)) == first_complaint(message);
  return is_the_same ? as_typed->at(1) : message;
}

void Server::compile(const Input& input) {
  std::string how_it_ended;
  const auto tried = prepare(input, Transformer::Loops::checked, how_it_ended);
  if (!tried) return answer({"error", how_it_ended});
  if (tried->at(0) == "bad") return answer({"error", without_loop_checks(input, tried->at(1))});
  std::size_t at = 1;
  const auto next_number = [&] { return std::stoull(tried->at(at++)); };
  std::vector<std::string> names(next_number());
  for (std::string& name : names) name = tried->at(at++);
  std::vector<Piece> pieces;
  while (at < tried->size()) {
    Piece& piece = pieces.emplace_back();
    piece.source = tried->at(at++);
    piece.hide.resize(next_number());
    for (Hidden& hidden : piece.hide) {
      hidden.first = tried->at(at++);
      hidden.second = next_number();
    }
  }
  const bool declares = !names.empty();
  used_.insert(names.begin(), names.end());
  const pid_t self = ::getpid(), child = ::fork();
  if (child < 0)
    return answer({"error", std::string("error: can't start a process for the compiler: ") + std::strerror(errno)});
  if (child > 0) return sleep_behind(child);
  before_.push_back(self);
  if (before_.size() - row_->oldest > kept_states) ::kill(before_[row_->oldest++], too_old);
  (void)std::signal(SIGINT, SIG_DFL);  // Ctrl-C ends an endless compilation
  become(input, pieces);
  (void)std::signal(SIGINT, SIG_IGN);
  Frame frame{"ok", declares ? "declares" : "", ""};
  for (const Piece& piece : pieces) {
    sources_.push_back(piece.source);
    frame[2] += piece.source + "\n";
  }
  frame.push_back(last_warnings_);
  const std::vector<Cell> earlier = std::exchange(warm_, {});
  for (const std::vector<Cell>& cells : {earlier, parser_.emitter().cells()}) {
    for (const Cell& cell : cells) {
      frame.push_back(cell.path);
      frame.push_back(cell.start);
    }
  }
  answer(frame);
}

/// Whether a request is there.
bool Server::asked() const {
  pollfd event{socket_, POLLIN, 0};
  return ::poll(&event, 1, 0) != 0;
}

/// The first call of a session needs a lot of code that later ones share. A forked process compiles the next part of
/// it, and goes on as the server, unless somebody asks for something before it is done.
void Server::warm_up() {
  enum State : int { working, finished, abandoned };
  void* shared = ::mmap(nullptr, sizeof(std::atomic<int>), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  int ends[2];
  if (shared == MAP_FAILED || ::pipe2(ends, O_CLOEXEC) != 0) {
    warm_parts_ = warmed_;
    return;
  }
  auto* state = new (shared) std::atomic<int>(working);
  int expected = working;
  const pid_t child = ::fork();
  if (child == 0) {
    ::close(ends[0]);
    // Of this process alone: another may have compiled the same part, and may do so after an input is taken back.
    parser_.emitter().begin("warm_" + std::to_string(::getpid()));
    try {
      (void)parser_.compile(warm_up_function(warmed_));
    } catch (const std::exception&) {
      ::_exit(refused);
    }
    const std::vector<Cell>& cells = parser_.emitter().cells();
    warm_.insert(warm_.end(), cells.begin(), cells.end());
    ++warmed_;
    if (!state->compare_exchange_strong(expected, finished)) ::_exit(refused);
    ::munmap(shared, sizeof(std::atomic<int>));
    ::close(ends[1]);
    return;
  }
  ::close(ends[1]);
  pollfd events[2] = {{socket_, POLLIN, 0}, {ends[0], POLLIN, 0}};
  while (child > 0 && ::poll(events, 2, -1) < 0 && errno == EINTR) {
  }
  ::close(ends[0]);
  const bool is_finished = child > 0 && !state->compare_exchange_strong(expected, abandoned);
  ::munmap(shared, sizeof(std::atomic<int>));
  if (is_finished) return stand_aside(child);
  if (child < 0 || events[0].revents == 0) warm_parts_ = warmed_;  // it can't be compiled
  if (child < 0) return;
  ::kill(child, SIGKILL);
  (void)wait_for(child);
}

/// Ends as the child does, which is the same state; where it crashed, goes on in its place.
void Server::stand_aside(pid_t child) {
  const int status = wait_for(child);
  if (WIFEXITED(status)) ::_exit(WEXITSTATUS(status));
  if (WTERMSIG(status) == too_old) ::_exit(over);
  if (row_->busy) answer({"error", describe(status)});
}

/// Makes this process the state after the input.
void Server::become(const Input& input, const std::vector<Piece>& pieces) {
  parser_.emitter().begin(std::to_string(input.number));
  last_warnings_.clear();
  try {
    for (const Piece& piece : pieces) {
      for (const auto& [name, address] : piece.hide) {
        for (clang::NamedDecl* one : parser_.find(name))
          if (reinterpret_cast<std::uintptr_t>(one) == address) parser_.hide(one);
      }
      last_warnings_ += parser_.compile(piece.source);
    }
  } catch (const std::exception& error) {
    answer({"error", without_loop_checks(input, error.what())});
    ::_exit(refused);
  }
}

/// Waits as the state before the input that `child` took.
void Server::sleep_behind(pid_t child) {
  const int status = wait_for(child);
  if (WIFEXITED(status) && WEXITSTATUS(status) == over) ::_exit(over);
  if (WIFEXITED(status) && WEXITSTATUS(status) == refused) return;
  if (WIFEXITED(status) && WEXITSTATUS(status) == taken_back) return answer({"ok"});
  if (row_->busy) answer({"error", describe(status)});
}

/// Completes or explains the word that ends the text.
void Server::say_what_ends(const std::string& text, bool explain) {
  std::string how_it_ended;
  auto found = in_child(
      [&] {
        std::string code = preamble();
        for (const std::string& source : sources_) code += source + "\n";
        std::vector<std::string> flags = options_.flags;  // and what the interpreter adds by itself
        flags.insert(flags.end(), {"-Xclang", "-fincremental-extensions"});
        code += cut_off_unit(text);
        return explain ? explanations(flags, code) : completions(flags, code);
      },
      how_it_ended);
  Frame frame{"ok"};
  if (found) frame.insert(frame.end(), found->begin(), found->end());
  answer(frame);
}

}  // namespace muster::repl
