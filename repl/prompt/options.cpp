#include "repl/prompt/options.hpp"

#include <stdexcept>
#include <string_view>

namespace muster::repl {

namespace {

/// Goes through the words, and keeps those that are the session's.
class Reader {
 public:
  explicit Reader(std::vector<std::string>& words) : words_(words) {}

  Options read() {
    if (!words_.empty()) kept_.push_back(words_[0]);
    for (at_ = 1; at_ < words_.size(); ++at_) {
      const std::string& word = words_[at_];
      if (word.starts_with("--muster-")) {
        kept_.push_back(word);
        if (word.find('=') == std::string::npos && word != "--muster-help" && word != "--muster-worker")
          kept_.push_back(value(word));
      } else if (word.starts_with('-') && word != "-") {
        option(word);
      } else {
        options_.script = word;
        options_.arguments.assign(words_.begin() + static_cast<std::ptrdiff_t>(at_), words_.end());
        break;
      }
    }
    words_ = kept_;
    return options_;
  }

 private:
  std::string value(const std::string& name) {
    if (at_ + 1 >= words_.size()) throw std::invalid_argument(name + " needs a value; muster --help tells more");
    return words_[++at_];
  }

  void option(const std::string& word) {
    if (word == "-p" || word == "--procs") {
      kept_.push_back("--muster-procs=" + value(word));
    } else if (word == "--machine-file") {
      kept_.push_back("--muster-machine-file=" + value(word));
    } else if (word == "-e" || word == "--eval") {
      options_.expressions.push_back(value(word));
    } else if (word == "-i") {
      options_.interactive = true;
    } else if (word == "-q" || word == "--quiet") {
      options_.quiet = true;
    } else if (word == "-h" || word == "--help") {
      options_.help = true;
    } else if (word == "--version") {
      options_.version = true;
    } else if (word == "--front-end") {
      options_.front_end = value(word);
    } else if (word == "-I" || word == "-D") {
      options_.flags.push_back(word + value(word));
    } else if (word.starts_with("-I") || word.starts_with("-D") || word.starts_with("-U")) {
      options_.flags.push_back(word);
    } else if (word.starts_with("-p") && word.size() > 2) {
      kept_.push_back("--muster-procs=" + word.substr(2));
    } else {
      throw std::invalid_argument("there is no option " + word + "; muster --help lists them");
    }
  }

  std::vector<std::string>& words_;
  std::vector<std::string> kept_;
  std::size_t at_ = 0;
  Options options_;
};

}  // namespace

Options read_options(std::vector<std::string>& words) { return Reader(words).read(); }

std::string usage() {
  return "usage: muster [OPTION]... [FILE [ARGUMENT]...]\n"
         "C++ at a prompt, whose functions run on every worker. With FILE: runs it statement by statement.\n\n"
         "  -p N, --procs N       start N workers on this host (auto: one per hardware thread)\n"
         "  --machine-file FILE   start workers on the machines that it lists\n"
         "  -e CODE               run it, and print its value; may be repeated\n"
         "  -i                    a prompt after FILE or -e\n"
         "  -I DIRECTORY, -D NAME[=VALUE]   for the compiler\n"
         "  --front-end clang|g++ which compiler turns inputs into code; otherwise clang where it is installed\n"
         "  -q                    no greeting\n"
         "  --muster-help         the flags of every muster program\n"
         "  --version, -h\n\n"
         "At the prompt, %help lists its commands.\n";
}

}  // namespace muster::repl
