#include "runtime/cluster/gathering.hpp"

#include "runtime/base/host_name.hpp"
#include "runtime/base/log.hpp"
#include "runtime/base/random.hpp"
#include "runtime/base/unique_fd.hpp"
#include "runtime/base/write_whole.hpp"

#include <muster/errors.hpp>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <condition_variable>
#include <cstdlib>
#include <filesystem>
#include <mutex>
#include <system_error>

namespace muster::runtime {

std::string cache_directory() {
  const char *const cache = std::getenv("XDG_CACHE_HOME"), *const home = std::getenv("HOME");
  std::filesystem::path directory = std::filesystem::path(home != nullptr ? home : "/tmp") / ".cache" / "muster";
  if (cache != nullptr && *cache == '/') directory = std::filesystem::path(cache) / "muster";
  std::error_code told_by_who_writes_there;
  std::filesystem::create_directories(directory, told_by_who_writes_there);
  return directory.string();
}

namespace {

std::string generated_prefix() { return "join-" + host_name() + "-"; }

/// Removes what this user's killed masters left there: a living one has locked its file, before it wrote into it. Those
/// of this host only, for not every file system shows a lock to others.
void remove_forsaken(const std::filesystem::path& folder, const std::string& prefix) {
  std::error_code told_by_who_writes_there;
  for (const auto& entry : std::filesystem::directory_iterator(folder, told_by_who_writes_there)) {
    if (!entry.path().filename().string().starts_with(prefix)) continue;
    const UniqueFd file(::open(entry.path().c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK));
    struct stat facts = {};
    if (file && ::fstat(file.get(), &facts) == 0 && S_ISREG(facts.st_mode) && facts.st_uid == ::geteuid() &&
        facts.st_size > 0 && ::flock(file.get(), LOCK_EX | LOCK_NB) == 0) {
      ::unlink(entry.path().c_str());
    }
  }
}

}  // namespace

SecretFile::SecretFile(std::string path, const std::string& directory, const std::string& record)
    : path_(std::move(path)) {
  if (path_.empty()) {
    const std::filesystem::path folder = directory.empty() ? cache_directory() : directory;
    const std::string prefix = generated_prefix();
    remove_forsaken(folder, prefix);
    path_ = (folder / (prefix + random_token(12))).string();
  }
  path_ = std::filesystem::absolute(path_).string();
  ::unlink(path_.c_str());  // an old one may be open to others
  file_.reset(::open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  std::error_code error(errno, std::generic_category());
  if (file_) {
    (void)::flock(file_.get(), LOCK_EX);
    error = write_whole(file_.get(), record + "\n");
    if (!error) return;
    ::unlink(path_.c_str());
  }
  throw Error("can't write what workers need to join into " + path_ + ": " + error.message() +
              ". See that the directory is there, or name another one in the manager's options.");
}

SecretFile::~SecretFile() { ::unlink(path_.c_str()); }

struct Gathering::Count {
  std::mutex mutex;  ///< guards came
  std::condition_variable_any changed;
  int came = 0;
};

Gathering::Gathering(LaunchContext& context, InviteOptions options, Describe describe)
    : count_(std::make_shared<Count>()),
      invitation_(context.invite(std::move(options), [count = count_, describe = std::move(describe)](
                                                         LaunchContext& where, const Caller& caller) {
        WorkerConfig config;
        config.caller = caller.id;
        config.host = caller.host;
        if (describe) describe(caller, config);
        where.launched(std::move(config));
        const std::lock_guard lock(count->mutex);
        ++count->came;
        count->changed.notify_all();
      })) {}

Gathering::~Gathering() = default;

int Gathering::came() const {
  const std::lock_guard lock(count_->mutex);
  return count_->came;
}

std::string Gathering::wait_for(int count, const std::stop_token& stop, std::chrono::nanoseconds interval,
                                const std::function<std::string()>& look) {
  std::unique_lock lock(count_->mutex);
  for (;;) {
    if (count_->changed.wait_for(lock, stop, interval, [&] { return count_->came >= count; })) return {};
    if (stop.stop_requested()) return "it did not connect to the master before the addprocs ended";
    lock.unlock();
    std::string why = look();
    lock.lock();
    if (!why.empty() && count_->came < count) return why;
  }
}

}  // namespace muster::runtime
