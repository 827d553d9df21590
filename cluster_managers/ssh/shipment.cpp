#include "cluster_managers/ssh/shipment.hpp"

#include "cluster_managers/ssh/gzip.hpp"
#include "cluster_managers/ssh/remote_shell.hpp"
#include "runtime/base/log.hpp"
#include "runtime/base/progress.hpp"
#include "runtime/base/random.hpp"

#include <muster/errors.hpp>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <iterator>
#include <sstream>

namespace muster::runtime::ssh {

namespace {

struct Answer {
  std::vector<bool> usable;  ///< for each file, whether the host's own one at its path is as good
  std::string cache;         ///< the user's directory for what can be made again
};

Answer read_answer(const std::string& output, const std::vector<ProgramFile>& files) {
  const auto begin = output.find("\nmuster_files=\n");
  if (begin == std::string::npos) throw Error("its shell did not say which files it has: " + output.substr(0, 500));
  std::istringstream lines(output.substr(begin + 1));
  std::string line;
  std::getline(lines, line);
  Answer said;
  for (const ProgramFile& file : files) {
    if (file.of_system) std::getline(lines, line);
    said.usable.push_back(file.of_system && !line.empty());
  }
  std::getline(lines, line);
  said.cache = line.substr(std::min(line.size(), line.find('=') + 1));
  if (!said.cache.starts_with('/')) throw Error("there is no directory to copy the program to: the user has no home");
  const std::string beginnings(std::istreambuf_iterator<char>(lines), {});
  for (std::size_t i = 0; i < files.size(); ++i)
    if (!files[i].of_system && !files[i].build_id.empty())
      said.usable[i] = beginnings.find(note_of_build_id(files[i].build_id)) != std::string::npos;
  return said;
}

std::size_t size_of(const std::string& path) {
  std::error_code unknown;
  const auto size = std::filesystem::file_size(path, unknown);
  return unknown ? 0 : static_cast<std::size_t>(size);
}

/// One copying of files to a host: into a directory beside their place first, so that they are there whole or not at
/// all.
class Copying {
 public:
  Copying(SshConnection& connection, std::string target, Clock::time_point deadline)
      : connection_(connection),
        target_(std::move(target)),
        unfinished_(target_ + ".unfinished-" + random_token(8)),
        deadline_(deadline) {}

  void copy(const std::vector<ProgramFile>& files) {
    log::info("The program is being copied to " + connection_.name() +
              ", which does not have it: " + std::to_string(files.size()) + " files");
    try {
      const std::string said = run("umask 077 && mkdir -p " + quoted(unfinished_) + " && { " + remove_forgotten() +
                                   "; if : | gzip -c 2>/dev/null | gzip -dc >/dev/null 2>&1; then echo gzip; fi; }");
      compressed_ = said.find("gzip") != std::string::npos;
      std::size_t total = 0;
      for (const ProgramFile& file : files) total += size_of(file.source);
      ProgressReport progress("Copying the program to " + connection_.name(), total, ProgressOutput::standard_error(),
                              ProgressUnit::bytes);
      for (const ProgramFile& file : files) copy_file(file, progress);
      progress.finish();
      run("chmod u+x " + quoted(unfinished_) + "/* && { [ -d " + quoted(target_) + " ] || mv " + quoted(unfinished_) +
          " " + quoted(target_) + "; } && rm -rf " + quoted(unfinished_));
    } catch (const Error&) {
      remove_unfinished();
      throw;
    }
    log::info("The program was copied to " + connection_.name() + ": " + std::to_string(files.size()) + " files, " +
              kibibytes(bytes_) + (compressed_ ? ", " + kibibytes(sent_) + " compressed" : "") + ", in " + target_);
  }

 private:
  static std::string kibibytes(std::size_t bytes) { return std::to_string(bytes / 1024) + " KiB"; }

  std::string run(const std::string& script, std::string_view input = {},
                  const std::function<void(std::size_t)>& sent = {}) {
    const CommandResult result = connection_.run(script_of(script), deadline_, input, sent);
    if (result.status == 0) return result.output;
    std::string text = "the program can't be copied to " + target_ +
                       " there: " + (result.errors.empty() ? "no reason given" : result.errors);
    while (text.ends_with('\n')) text.pop_back();
    throw Error(text +
                ". See that the user may write there, and that there is room (df, quota); another place is that "
                "of XDG_CACHE_HOME in the environment there.");
  }

  /// Progress is counted in bytes of the file, of which so many compressed ones are a part.
  void copy_file(const ProgramFile& file, ProgressReport& progress) {
    const std::string contents = contents_of(file.source);
    const std::string small = compressed_ ? gzipped(contents) : std::string();
    const std::string_view sent = compressed_ ? std::string_view(small) : contents;
    run("umask 077 && " + std::string(compressed_ ? "gzip -dc" : "cat") + " > " +
            quoted(unfinished_ + "/" + name_of_file(file.path)),
        sent, [&, told = std::size_t{0}, taken = std::size_t{0}](std::size_t more) mutable {
          taken += more;
          const auto part = static_cast<double>(taken) / static_cast<double>(sent.size());
          const auto done = static_cast<std::size_t>(part * static_cast<double>(contents.size()));
          progress.advance(done - told);
          told = done;
        });
    bytes_ += contents.size();
    sent_ += sent.size();
    log::debug("Copied " + file.path + " to " + connection_.name());
  }

  /// Copies in part by who was killed a day ago or more.
  std::string remove_forgotten() const {
    const std::string cache = std::filesystem::path(target_).parent_path();
    return "find " + quoted(cache + "/.") +
           " ! -name . -prune -name '*.unfinished-*' -mtime +0 -exec rm -rf {} + 2>/dev/null";
  }

  /// A full disk stays full otherwise.
  void remove_unfinished() {
    try {
      (void)connection_.run(script_of("rm -rf " + quoted(unfinished_)), deadline_);
    } catch (const Error& error) {
      log::debug("An unfinished copy is left on " + connection_.name() + ", " + unfinished_ + ": " + error.what());
    }
  }

  SshConnection& connection_;
  const std::string target_, unfinished_;
  const Clock::time_point deadline_;
  bool compressed_ = false;
  std::size_t bytes_ = 0, sent_ = 0;
};

}  // namespace

// Of the system's own files, of which there are many, whether they are there, in a line each: that is said by the shell
// itself. Then the beginnings of the others, in one: a build-id is found in it whichever of them has it, and a program
// for each would cost the host more than this one does.
std::string ship_question(const std::vector<ProgramFile>& files) {
  std::string commands = "echo; echo muster_files=; ", own;
  for (const ProgramFile& file : files) {
    if (file.of_system)
      commands += "[ -s " + quoted(file.path) + " ] && echo yes || echo; ";
    else
      own += " " + quoted(file.path);
  }
  return commands + R"(echo "cache=${XDG_CACHE_HOME:-$HOME/.cache}"; head -q -c )" + std::to_string(build_id_reach) +
         " --" + own + " 2>/dev/null";
}

ShippedProgram ship(SshConnection& connection, const std::vector<ProgramFile>& files, Ship policy,
                    const std::string& system, const std::string& answer, Clock::time_point deadline) {
  if (system != system_here()) throw Error(other_system(system, system_here()));
  const std::string& program = files.front().path;
  const Answer said = read_answer(answer, files);
  std::vector<ProgramFile> needed{files.front()};
  for (std::size_t i = 1; i < files.size(); ++i)
    if (!said.usable[i] || (policy == Ship::Always && !files[i].of_system)) needed.push_back(files[i]);
  if (policy != Ship::Always && needed.size() == 1 && said.usable.front()) return {program, {}};
  const std::string target = said.cache + "/muster/" + name_of_copy(needed);
  const CommandResult there = connection.run(script_of("[ -d " + quoted(target) + " ]"), deadline);
  if (there.status != 0) Copying(connection, target, deadline).copy(needed);
  return {target + "/" + name_of_file(program), needed.size() == 1 ? "" : target};
}

}  // namespace muster::runtime::ssh
