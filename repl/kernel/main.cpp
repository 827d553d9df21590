/// @file
/// `muster-kernel`: C++ in Jupyter notebooks. It holds no compiler; as a worker it is this same program.
#include "repl/kernel/install.hpp"
#include "repl/kernel/kernel.hpp"
#include "repl/prompt/front_ends.hpp"
#include "repl/prompt/hooks.hpp"
#include "repl/prompt/options.hpp"

#include <muster/session.hpp>

#include <sodium.h>

#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <stdexcept>

namespace muster::repl {

namespace {

constexpr const char* usage_text =
    "usage: muster-kernel install [--user | --sys-prefix | --prefix=FOLDER] [--name=NAME] [--display-name=TITLE] "
    "[OPTION]...\n"
    "       muster-kernel -f CONNECTION_FILE [OPTION]...\n"
    "C++ in Jupyter notebooks, whose functions run on every worker. The first tells Jupyter of it, for all users of "
    "this\n"
    "machine, for you (--user), for a Python environment, or below FOLDER; the second is what Jupyter calls.\n\n"
    "  -p N, --procs N       each notebook starts N workers on this host\n"
    "  --machine-file FILE   and workers on the machines that it lists\n"
    "  -I DIRECTORY, -D NAME[=VALUE], --front-end clang|g++   as with muster\n"
    "  --muster-help         the flags of every muster program\n"
    "  --version, -h\n";

/// Takes the connection file out of the words. @returns nothing where there is none
std::optional<std::string> take_connection_file(std::vector<std::string>& words) {
  for (std::size_t i = 1; i < words.size(); ++i) {
    if (words[i] != "-f") continue;
    if (i + 1 == words.size()) throw std::invalid_argument("-f needs the connection file's name");
    std::string path = words[i + 1];
    words.erase(words.begin() + static_cast<std::ptrdiff_t>(i), words.begin() + static_cast<std::ptrdiff_t>(i) + 2);
    return path;
  }
  return std::nullopt;
}

/// The words as main gets them.
class Arguments {
 public:
  explicit Arguments(std::vector<std::string>& words) : count_(static_cast<int>(words.size())) {
    for (std::string& word : words) pointers_.push_back(word.data());
    pointers_.push_back(nullptr);
    values_ = pointers_.data();
  }
  int& count() { return count_; }
  char**& values() { return values_; }

 private:
  std::vector<char*> pointers_;
  int count_;
  char** values_ = nullptr;
};

/// Code that reads finds an end: what stands at our standard input is Jupyter's.
void close_standard_input() {
  const int nothing = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (nothing < 0) return;
  (void)::dup2(nothing, STDIN_FILENO);
  ::close(nothing);
}

void serve(const std::string& connection_file, const Options& options, Arguments& arguments) {
  if (::sodium_init() < 0) throw std::runtime_error("libsodium does not start");
  close_standard_input();
  const KernelLog log;
  Channels channels(read_connection(connection_file), [&](const std::string& text) { log.write(text); });
  OutputCapture capture([&](const char* stream, std::string text) {
    channels.publish("stream", {{"name", stream}, {"text", std::move(text)}});
  });
  const CellFolder folder;
  std::unique_ptr<FrontEnd> front_end = make_front_end(options, folder.path(), true);  // starts while the workers do
  const Session session(arguments.count(), arguments.values());
  Interrupts interrupts;
  NotebookDisplay display(channels, capture);
  Evaluator evaluator(std::move(front_end), interrupts, display);
  const Hooks hooks(evaluator, {"notebook"});
  Ending ending;
  const Control control(channels, ending, about_kernel(), [&] {
    log.write("code goes on running long after the end was asked for: ended without it");
    std::error_code ignored;
    std::filesystem::remove_all(folder.path(), ignored);
    ::_exit(1);
  });
  Kernel(channels, capture, display, evaluator, ending).run();
}

int run(int argc, char** argv) {
  std::vector<std::string> words(argv, argv + argc);
  for (const std::string& word : words) {
    if (word != "--muster-worker") continue;
    Arguments arguments(words);
    const Session session(arguments.count(), arguments.values());  // does not return
  }
  if (words.size() > 1 && words[1] == "install") {
    const std::string folder = install_kernelspec({words.begin() + 2, words.end()});
    std::printf("Jupyter finds the kernel in %s\n", folder.c_str());
    return 0;
  }
  const std::optional<std::string> file = take_connection_file(words);
  const Options options = read_options(words);
  if (options.help || options.version) {
    (void)std::fputs(options.help ? usage_text : "muster-kernel " MUSTER_VERSION "\n", stdout);
    return 0;
  }
  if (!options.script.empty() || !options.expressions.empty() || options.interactive)
    throw std::invalid_argument("takes no scripts or expressions; muster does");
  if (!file)
    throw std::invalid_argument(
        "is called by Jupyter, with -f CONNECTION_FILE; muster-kernel install tells Jupyter of it");
  Arguments arguments(words);
  serve(*file, options, arguments);
  return 0;
}

}  // namespace

}  // namespace muster::repl

int main(int argc, char** argv) {
  try {
    return muster::repl::run(argc, argv);
  } catch (const std::invalid_argument& error) {
    std::fprintf(stderr, "muster-kernel: %s\n", error.what());
    return 2;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "muster-kernel: %s\n", error.what());
    return 1;
  }
}
