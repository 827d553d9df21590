#include "runtime/session/generic_worker.hpp"

#include "runtime/base/address.hpp"
#include "runtime/base/host_name.hpp"
#include "runtime/base/interfaces.hpp"
#include "runtime/base/log.hpp"
#include "runtime/base/progress.hpp"
#include "runtime/base/unique_fd.hpp"
#include "runtime/base/write_whole.hpp"
#include "runtime/cluster/gathering.hpp"
#include "runtime/cluster/host_identity.hpp"
#include "runtime/session/program_fetch.hpp"
#include "runtime/session/worker_main.hpp"
#include "runtime/transport/zmq/endpoints.hpp"
#include "runtime/transport/zmq/zmq_lane.hpp"

#include <muster/errors.hpp>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <memory>
#include <stdexcept>
#include <system_error>

namespace muster::runtime {

namespace {

namespace fs = std::filesystem;

/// For the master to answer: it may read a large program first. A wrong address is refused at once, mostly, or not
/// connected to within ten seconds.
constexpr std::chrono::milliseconds patience_with_master{60000};
/// For a person to paste the key.
constexpr auto typing_patience = std::chrono::minutes(10);

std::string words_of(int error) { return std::generic_category().message(error); }

[[noreturn]] void fail_to_copy(const std::string& path, int error) {
  throw Error("the master's program can't be written to " + path + ": " + words_of(error) +
              ". See that there is room (df, quota) and that you may write there; XDG_CACHE_HOME names another place.");
}

bool is_here(const ListedFile& listed, const std::string& path) {
  std::error_code none;
  if (fs::file_size(path, none) != listed.contents.size || none) return false;
  try {
    return hash_of_file(path) == listed.contents;
  } catch (const Error&) {  // not for us to read
    return false;
  }
}

/// Those that this host lacks, the program always among them; nothing where it lacks none.
std::vector<std::uint32_t> lacking(const ProgramList& list) {
  std::vector<std::uint32_t> needed{0};
  for (std::uint32_t i = 1; i < list.files.size(); ++i) {
    const ListedFile& listed = list.files[i];
    std::error_code none;
    const bool usable = listed.file.of_system ? fs::exists(listed.file.path, none) : is_here(listed, listed.file.path);
    if (!usable) needed.push_back(i);
  }
  if (needed.size() == 1 && is_here(list.files.front(), list.files.front().file.path)) needed.clear();
  return needed;
}

/// A copy of some of the program's files, in a directory of this user's cache.
class Copy {
 public:
  Copy(const ProgramList& list, std::vector<std::uint32_t> files) : list_(list), files_(std::move(files)) {
    std::vector<ProgramFile> named;
    named.reserve(files_.size());
    for (const std::uint32_t i : files_) named.push_back(list_.files[i].file);
    target_ = fs::path(cache_directory()) / name_of_copy(named);
    // One process fetches, others that want the same wait for it.
    lock_ = UniqueFd(::open((target_.string() + ".lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!lock_) fail_to_copy(target_.string() + ".lock", errno);
    while (::flock(lock_.get(), LOCK_EX) != 0)
      if (errno != EINTR) fail_to_copy(target_.string() + ".lock", errno);
  }

  std::string path_of(std::uint32_t file) const {
    return (target_ / name_of_file(list_.files[file].file.path)).string();
  }
  const fs::path& directory() const { return target_; }

  bool complete() const {
    return std::all_of(files_.begin(), files_.end(),
                       [this](std::uint32_t i) { return is_here(list_.files[i], path_of(i)); });
  }

  /// Beside its place first, so that it is there whole or not at all.
  void fetch(ProgramFetch& master) {
    std::uint64_t bytes = 0;
    for (const std::uint32_t i : files_) bytes += list_.files[i].contents.size;
    log::info("Fetching the master's program: " + std::to_string(files_.size()) + " files, " +
              std::to_string(bytes / 1024) + " KiB");
    ProgressReport progress("Fetching the program", bytes, ProgressOutput::standard_error(), ProgressUnit::bytes);
    std::error_code ignored;
    fs::remove_all(target_, ignored);  // incomplete or damaged
    const fs::path unfinished = target_.string() + ".unfinished-" + host_name();
    fs::remove_all(unfinished, ignored);  // of one that was killed: we have the lock, as far as this host sees it
    if (::mkdir(unfinished.c_str(), 0700) != 0) fail_to_copy(unfinished, errno);
    try {
      for (const std::uint32_t i : files_) fetch_file(master, i, unfinished, progress);
      if (::rename(unfinished.c_str(), target_.c_str()) != 0) fail_to_copy(target_, errno);
    } catch (...) {
      fs::remove_all(unfinished, ignored);
      throw;
    }
  }

 private:
  void fetch_file(ProgramFetch& master, std::uint32_t number, const fs::path& directory, ProgressReport& progress) {
    const ListedFile& listed = list_.files[number];
    const std::string path = directory / name_of_file(listed.file.path);
    const UniqueFd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0700));
    if (!file) fail_to_copy(path, errno);
    master.file(number, listed.contents.size, [&](std::uint64_t offset, std::span<const std::byte> part) {
      for (std::size_t done = 0; done < part.size();) {
        const auto wrote =
            ::pwrite(file.get(), part.data() + done, part.size() - done, static_cast<off_t>(offset + done));
        if (wrote < 0 && errno != EINTR) fail_to_copy(path, errno);
        if (wrote > 0) done += static_cast<std::size_t>(wrote);
      }
      progress.advance(part.size());
    });
    if (hash_of_file(path) != listed.contents) throw Error("the master's " + listed.file.path + " came damaged");
  }

  const ProgramList& list_;
  const std::vector<std::uint32_t> files_;
  fs::path target_;
  UniqueFd lock_;
};

/// A standard input that is that line, and then at its end.
void put_on_stdin(const std::string& line) {
  const UniqueFd memory(::memfd_create("muster-start-record", MFD_CLOEXEC));
  const auto error = memory ? write_whole(memory.get(), line) : std::error_code(errno, std::generic_category());
  if (error) throw Error("there is no memory for the worker's start record: " + error.message());
  if (::lseek(memory.get(), 0, SEEK_SET) != 0 || ::dup2(memory.get(), STDIN_FILENO) < 0)
    throw Error("the worker's start record can't become its standard input: " + words_of(errno));
}

[[noreturn]] void run(const ReadyProgram& ready, const ProgramList& list, const StartRecord& record,
                      const std::optional<std::string>& bind) {
  std::vector<std::string> words{ready.program};
  words.insert(words.end(), list.arguments.begin(), list.arguments.end());
  if (bind) words.insert(words.end(), {"--muster-bind", *bind});
  for (const auto& [name, value] : list.environment) ::setenv(name.c_str(), value.c_str(), 1);
  if (!ready.libraries.empty()) {
    const char* const others = std::getenv("LD_LIBRARY_PATH");
    const std::string paths = ready.libraries + (others != nullptr && *others != 0 ? std::string(":") + others : "");
    ::setenv("LD_LIBRARY_PATH", paths.c_str(), 1);
  }
  put_on_stdin(write_record(record) + "\n");
  std::vector<char*> arguments;
  arguments.reserve(words.size() + 1);
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  ::execv(ready.program.c_str(), arguments.data());
  throw Error("can't run " + ready.program + ": " + words_of(errno) +
              (errno == EACCES ? ". The directory may be mounted noexec: XDG_CACHE_HOME names another place." : ""));
}

/// The first master that answers.
struct Answering {
  std::unique_ptr<ZmqLane> lane;
  std::unique_ptr<ProgramFetch> master;
  ProgramList list;
};

Answering ask_for_program(const StartRecord& record, const std::vector<std::string>& endpoints) {
  std::string tried;
  for (const std::string& endpoint : endpoints) {
    if (address_towards(std::string(host_in(endpoint))).empty()) {
      tried += (tried.empty() ? "" : "; ") + endpoint + ": no route leads there";
      continue;
    }
    try {
      Answering answering;
      answering.lane = std::make_unique<ZmqLane>("127.0.0.1", 0, LinkSecurity{record.encryption, record.link_secret});
      answering.master = std::make_unique<ProgramFetch>(
          *answering.lane, ProgramSource{endpoint, record.cookie, record.call_back.ticket, patience_with_master});
      answering.list = answering.master->list();
      return answering;
    } catch (const HandshakeError&) {  // it is there, and says no
      throw;
    } catch (const Error& error) {
      tried += (tried.empty() ? "" : "; ") + endpoint + ": " + error.what();
    }
  }
  throw Error("The master could not be reached (" + tried +
              "). See that it runs, that a firewall lets this host connect there, and that the key is of this run.");
}

}  // namespace

std::string read_key(const std::optional<std::string>& file) {
  UniqueFd opened;
  int fd = STDIN_FILENO;
  if (file) {
    opened = UniqueFd(::open(file->c_str(), O_RDONLY | O_CLOEXEC));
    if (!opened) throw Error("can't read the key file " + *file + ": " + words_of(errno));
    fd = opened.get();
  }
  struct stat facts{};
  if (::fstat(fd, &facts) != 0) throw Error("there is no standard input, where the key is expected");
  const std::string name = file ? *file : "standard input";
  if (S_ISREG(facts.st_mode) && (facts.st_mode & 077U) != 0)
    throw Error("others may read the key in " + name +
                ". Let only its owner: chmod 600, and let the master make a new one, for somebody may have read it.");
  if (S_ISREG(facts.st_mode) && facts.st_uid != ::geteuid() && facts.st_uid != 0)
    throw Error("the key in " + name + " belongs to another user, who may have put his own there. Copy it yourself.");
  if (file && ::dup2(fd, STDIN_FILENO) < 0) throw Error("can't read " + name + ": " + words_of(errno));
  if (!file && ::isatty(STDIN_FILENO) == 1) log::info("Paste the line of the master's key file here, and press Enter:");
  std::string line = read_line_of_stdin(typing_patience);
  if (line.empty()) throw Error("there is no key in " + name);
  return line;
}

std::vector<std::string> endpoints_of(StartRecord& record, const std::optional<std::string>& connect) {
  CallBack& call = record.call_back;
  if (call.endpoints.empty())
    throw Error("This key is for a worker that its master connects to. ElasticManager::secret_file() names another.");
  const bool here = record.master_host == host_identity();
  if (connect) {
    std::string endpoint;
    try {
      endpoint = numeric_endpoint(*connect, 0);
    } catch (const Error& error) {
      throw Error("--connect " + *connect + ": " + error.what() + ". It is HOST:PORT, as the master says.");
    }
    if (!is_loopback(host_in(endpoint)))
      call.endpoints = {endpoint};
    else if (!here)
      throw Error(*connect + " is this host itself, where the master is not");
  }
  std::vector<std::string> endpoints = call.endpoints;
  if (here) endpoints.insert(endpoints.begin(), call.own_endpoint);
  return endpoints;
}

ReadyProgram make_ready(ProgramFetch& master, const ProgramList& list) {
  if (list.system != system_here()) throw Error(other_system(system_here(), list.system));
  const std::vector<std::uint32_t> needed = lacking(list);
  if (needed.empty()) return {list.files.front().file.path};
  Copy copy(list, needed);
  if (!copy.complete()) copy.fetch(master);
  return {copy.path_of(0), needed.size() == 1 ? "" : copy.directory().string()};
}

void become_worker(const GenericWorkerOptions& options) {
  StartRecord record = read_record(read_key(options.key_file));
  const std::vector<std::string> endpoints = endpoints_of(record, options.connect);
  ReadyProgram ready;
  ProgramList list;
  {
    Answering answering = ask_for_program(record, endpoints);
    list = std::move(answering.list);
    ready = make_ready(*answering.master, list);
  }
  run(ready, list, record, options.bind);
}

GenericWorkerOptions read_generic_worker_options(const std::vector<std::string>& arguments) {
  GenericWorkerOptions options;
  for (auto word = arguments.begin(); word != arguments.end(); ++word) {
    if (*word == "--help" || *word == "-h") {
      options.help = true;
    } else if (*word == "--version") {
      options.version = true;
    } else {
      const auto equals = word->find('=');
      const std::string name = word->substr(0, equals);
      std::optional<std::string>* value = name == "--connect"    ? &options.connect
                                          : name == "--key-file" ? &options.key_file
                                          : name == "--bind"     ? &options.bind
                                                                 : nullptr;
      if (value == nullptr) throw std::invalid_argument("there is no option " + *word + "; --help lists them");
      if (equals != std::string::npos)
        *value = word->substr(equals + 1);
      else if (++word != arguments.end())
        *value = *word;
      else
        throw std::invalid_argument(name + " needs a value; --help tells more");
    }
  }
  return options;
}

}  // namespace muster::runtime
