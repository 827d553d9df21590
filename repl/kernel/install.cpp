#include "repl/kernel/install.hpp"

#include "repl/prompt/options.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <stdexcept>

namespace muster::repl {

namespace {

namespace fs = std::filesystem;

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

/// Where Jupyter looks for what belongs to one user.
fs::path user_data() {
  if (const std::string path = variable("JUPYTER_DATA_DIR"); !path.empty()) return path;
  if (const std::string path = variable("XDG_DATA_HOME"); !path.empty()) return fs::path(path) / "jupyter";
  const std::string home = variable("HOME");
  if (home.empty()) throw std::runtime_error("--user: there is no HOME; say --prefix=FOLDER instead");
  return fs::path(home) / ".local" / "share" / "jupyter";
}

/// The environment that Python programs run in.
fs::path python_prefix() {
  for (const char* name : {"VIRTUAL_ENV", "CONDA_PREFIX"})
    if (const std::string path = variable(name); !path.empty()) return path;
  const std::unique_ptr<FILE, int (*)(FILE*)> python(::popen("python3 -c 'import sys; print(sys.prefix)'", "r"),
                                                     ::pclose);
  std::string path(4096, '\0');
  if (!python || std::fgets(path.data(), static_cast<int>(path.size()), python.get()) == nullptr)
    throw std::runtime_error("--sys-prefix: no python3 tells its prefix; say --prefix=FOLDER instead");
  path.resize(path.find_first_of("\n\0", 0, 2));
  return path;
}

struct Settings {
  fs::path data = "/usr/local/share/jupyter";
  std::string name = "muster", title = "C++20 (Muster)";
  std::vector<std::string> arguments = {};  ///< of the kernel, each time it is started
};

Settings read(const std::vector<std::string>& words) {
  Settings settings;
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::size_t equals = std::min(words[i].find('='), words[i].size());
    const std::string option = words[i].substr(0, equals);
    const auto value = [&] {
      if (equals < words[i].size()) return words[i].substr(equals + 1);
      if (i + 1 == words.size()) throw std::invalid_argument(option + " needs a value");
      return words[++i];
    };
    if (option == "--user") {
      settings.data = user_data();
    } else if (option == "--sys-prefix") {
      settings.data = python_prefix() / "share" / "jupyter";
    } else if (option == "--prefix") {
      settings.data = fs::absolute(value()) / "share" / "jupyter";
    } else if (option == "--name") {
      settings.name = value();
    } else if (option == "--display-name") {
      settings.title = value();
    } else {
      settings.arguments.assign(words.begin() + static_cast<std::ptrdiff_t>(i), words.end());
      if (words[i] == "--") settings.arguments.erase(settings.arguments.begin());
      break;
    }
  }
  const bool plain =
      !settings.name.empty() && std::all_of(settings.name.begin(), settings.name.end(), [](unsigned char c) {
        return std::isalnum(c) != 0 || c == '-' || c == '_' || c == '.';
      });
  if (!plain) throw std::invalid_argument("--name is of letters, digits, -, _ and . only");
  std::vector<std::string> kernel{"muster-kernel"};
  kernel.insert(kernel.end(), settings.arguments.begin(), settings.arguments.end());
  (void)read_options(kernel);  // a mistake is told now, and not when a notebook is opened
  return settings;
}

}  // namespace

std::string install_kernelspec(const std::vector<std::string>& words) {
  const Settings settings = read(words);
  const fs::path folder = settings.data / "kernels" / settings.name;
  nlohmann::json arguments{fs::read_symlink("/proc/self/exe").string(), "-f", "{connection_file}"};
  for (const std::string& word : settings.arguments) arguments.push_back(word);
  const nlohmann::json spec{{"argv", arguments},
                            {"display_name", settings.title},
                            {"language", "c++"},
                            {"interrupt_mode", "message"},
                            {"metadata", {{"debugger", false}}}};
  std::error_code error;
  fs::create_directories(folder, error);
  std::ofstream file(folder / "kernel.json");
  file << spec.dump(1) << '\n';
  file.close();
  if (!file)
    throw std::runtime_error("can't write " + (folder / "kernel.json").string() +
                             "; --user installs for this user, --prefix=FOLDER elsewhere");
  return folder.string();
}

}  // namespace muster::repl
