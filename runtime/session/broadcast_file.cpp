// Files for every host: read here in parts, written there beside their place, and put into it by a rename.

#include "runtime/base/log.hpp"
#include "runtime/base/random.hpp"
#include "runtime/base/unique_fd.hpp"
#include "runtime/session/process.hpp"

#include <muster/broadcast_file.hpp>
#include <muster/spawn.hpp>

#include <sodium.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <deque>
#include <filesystem>
#include <functional>

namespace muster {

namespace {

using runtime::current_process;
using runtime::UniqueFd;

constexpr std::size_t part_size = std::size_t{4} << 20;
/// Parts under way to each host: enough to fill a long link, little enough to hold in memory.
constexpr std::size_t most_under_way = 4;

using Hash = std::array<unsigned char, 32>;

/// A file under way.
struct Parcel {
  std::string target;
  std::string token;  ///< tells apart whatever is under way to one place
  std::uint32_t mode = 0;
  std::uint64_t size = 0;
  Hash hash{};
};

std::string why(int error) { return std::generic_category().message(error); }

std::string host_here() { return current_process().cluster().self_member().host; }

// -- where it goes ----------------------------------------------------------------------------------------------------

/// Beside its place: on the same file system, so that a rename puts it there.
std::string unfinished(const Parcel& parcel) {
  const std::filesystem::path target(parcel.target);
  return (target.parent_path() / ("." + target.filename().string() + ".muster-" + parcel.token)).string();
}

[[noreturn]] void fail(const Parcel& parcel, const std::string& what, int error, const std::string& advice = {}) {
  std::string text = "On host " + host_here() + ": can't " + what + " " + parcel.target + ": " + why(error) + ". ";
  if (!advice.empty()) {
    text += advice;
  } else if (error == ENOSPC || error == EDQUOT) {
    text += "The file needs " + std::to_string(parcel.size) +
            " bytes there. Make room, or name another place (BroadcastFileOptions::target).";
  } else if (error == ENOENT || error == ENOTDIR) {
    text += "Make its directory there first, or name another place (BroadcastFileOptions::target).";
  } else {
    text += "See that the user of the workers may write there, or name another place (BroadcastFileOptions::target).";
  }
  throw Error(text);
}

std::optional<Hash> hash_of(int file) {
  crypto_generichash_state state;
  crypto_generichash_init(&state, nullptr, 0, Hash{}.size());
  std::vector<unsigned char> part(part_size);
  for (;;) {
    const auto got = ::read(file, part.data(), part.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return std::nullopt;
    if (got == 0) break;
    crypto_generichash_update(&state, part.data(), static_cast<unsigned long long>(got));
  }
  Hash hash{};
  crypto_generichash_final(&state, hash.data(), hash.size());
  return hash;
}

bool is_there(const Parcel& parcel) {
  struct stat found{};
  const UniqueFd file(::open(parcel.target.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!file || ::fstat(file.get(), &found) != 0 || !S_ISREG(found.st_mode)) return false;
  if (static_cast<std::uint64_t>(found.st_size) != parcel.size || (found.st_mode & 0777U) != parcel.mode) return false;
  return hash_of(file.get()) == parcel.hash;
}

/// Makes room for it. @returns whether it is wanted: false where it is there already
bool begin(const Parcel& parcel) {
  if (is_there(parcel)) return false;
  struct stat found{};
  if (::stat(parcel.target.c_str(), &found) == 0 && S_ISDIR(found.st_mode))
    fail(parcel, "replace", EISDIR, "Name the file, not its directory (BroadcastFileOptions::target).");
  const std::string place = unfinished(parcel);
  const UniqueFd file(::open(place.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!file) fail(parcel, "create", errno);
  // A disk that is too full shows here, not after minutes.
  const int error = parcel.size == 0 ? 0 : ::posix_fallocate(file.get(), 0, static_cast<off_t>(parcel.size));
  if (error == 0) return true;
  ::unlink(place.c_str());
  fail(parcel, "make room for", error);
}

void abandon(const Parcel& parcel) { ::unlink(unfinished(parcel).c_str()); }

void write_part(const Parcel& parcel, std::uint64_t offset, const std::vector<std::byte>& part) {
  const UniqueFd file(::open(unfinished(parcel).c_str(), O_WRONLY | O_CLOEXEC));
  if (!file) fail(parcel, "write", errno);
  for (std::size_t done = 0; done < part.size();) {
    const auto written =
        ::pwrite(file.get(), part.data() + done, part.size() - done, static_cast<off_t>(offset + done));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail(parcel, "write", errno);
    done += static_cast<std::size_t>(written);
  }
}

void finish(const Parcel& parcel) {
  const std::string place = unfinished(parcel);
  const UniqueFd file(::open(place.c_str(), O_RDWR | O_CLOEXEC));
  if (!file) fail(parcel, "finish", errno);
  if (::fchmod(file.get(), parcel.mode) != 0 || ::fsync(file.get()) != 0) fail(parcel, "finish", errno);
  const auto hash = hash_of(file.get());
  if (!hash) fail(parcel, "read back", errno);
  if (*hash != parcel.hash) {
    throw Error("On host " + host_here() + ": what arrived for " + parcel.target +
                " is not what was sent: it was changed while it was copied. Call broadcast_file again.");
  }
  if (::rename(place.c_str(), parcel.target.c_str()) != 0) fail(parcel, "put in place", errno);
}

// -- where it comes from ----------------------------------------------------------------------------------------------

/// One process that writes it for its host.
struct Receiver {
  Pid pid = 0;
  bool wanted = false;
  std::exception_ptr failure;
  std::deque<Future<void>> under_way;

  void attempt(const std::function<void()>& what) {
    try {
      what();
    } catch (...) {
      if (!failure) failure = std::current_exception();  // what comes after the first follows from it
    }
  }
  bool takes_part() const { return wanted && !failure; }
  void wait_for_oldest() {
    attempt([this] { under_way.front().fetch(); });
    under_way.pop_front();
  }
};

[[noreturn]] void fail_here(const std::string& path, const std::string& reason) {
  throw Error("broadcast_file: can't read " + path + " here (host " + host_here() + "): " + reason);
}

Parcel parcel_of(const UniqueFd& file, const std::string& path, const std::string& target) {
  struct stat found{};
  if (::fstat(file.get(), &found) != 0) fail_here(path, why(errno));
  if (!S_ISREG(found.st_mode)) fail_here(path, "it is no regular file");
  const auto hash = hash_of(file.get());
  if (!hash) fail_here(path, why(errno));
  return {.target = target,
          .token = runtime::random_token(12),
          .mode = found.st_mode & 0777U,
          .size = static_cast<std::uint64_t>(found.st_size),
          .hash = *hash};
}

/// For each host one of those processes. @throws what a call to an unknown one throws
std::vector<Receiver> receivers_of(const std::vector<Pid>& pids, bool also_here) {
  auto& process = current_process();
  for (const Pid pid : pids) (void)procs(pid);
  std::vector<Receiver> receivers;
  for (const auto& host : process.cluster().hosts()) {
    const auto has = [&](const std::vector<Pid>& those, Pid pid) {
      return std::find(those.begin(), those.end(), pid) != those.end();
    };
    std::vector<Pid> candidates;
    std::copy_if(host.pids.begin(), host.pids.end(), std::back_inserter(candidates),
                 [&](Pid pid) { return has(pids, pid); });
    if (candidates.empty() || (!also_here && has(host.pids, process.pid()))) continue;
    Receiver receiver;
    receiver.pid = process.calls().choose_among(candidates);
    if (receiver.pid == 0) receiver.pid = candidates.front();
    receivers.push_back(std::move(receiver));
  }
  return receivers;
}

void begin_everywhere(std::vector<Receiver>& receivers, const Parcel& parcel) {
  std::deque<Future<bool>> asked;
  for (Receiver& receiver : receivers)
    receiver.attempt([&] { asked.push_back(spawnat(receiver.pid, &begin, parcel)); });
  for (Receiver& receiver : receivers) {
    if (receiver.failure) continue;
    receiver.attempt([&] { receiver.wanted = asked.front().fetch(); });
    asked.pop_front();
  }
}

bool anybody(const std::vector<Receiver>& receivers) {
  return std::any_of(receivers.begin(), receivers.end(), [](const Receiver& each) { return each.takes_part(); });
}

void send_parts(std::vector<Receiver>& receivers, const UniqueFd& file, const std::string& path, const Parcel& parcel) {
  for (std::uint64_t offset = 0; offset < parcel.size && anybody(receivers);) {
    std::vector<std::byte> part(static_cast<std::size_t>(std::min<std::uint64_t>(part_size, parcel.size - offset)));
    std::size_t have = 0;
    while (have < part.size()) {
      const auto got = ::pread(file.get(), part.data() + have, part.size() - have, static_cast<off_t>(offset + have));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) fail_here(path, why(errno));
      if (got == 0) fail_here(path, "it became shorter while it was copied");
      have += static_cast<std::size_t>(got);
    }
    for (Receiver& receiver : receivers) {
      if (receiver.takes_part() && receiver.under_way.size() == most_under_way) receiver.wait_for_oldest();
      if (!receiver.takes_part()) continue;
      receiver.attempt([&] { receiver.under_way.push_back(spawnat(receiver.pid, &write_part, parcel, offset, part)); });
    }
    this_task::check();
    offset += part.size();
  }
  for (Receiver& receiver : receivers)
    while (!receiver.under_way.empty()) receiver.wait_for_oldest();
}

void finish_everywhere(std::vector<Receiver>& receivers, const Parcel& parcel) {
  for (Receiver& receiver : receivers)
    if (receiver.takes_part())
      receiver.attempt([&] { receiver.under_way.push_back(spawnat(receiver.pid, &finish, parcel)); });
  for (Receiver& receiver : receivers)
    if (!receiver.under_way.empty()) receiver.wait_for_oldest();
}

/// What did not get there in one piece is taken away again.
class Cleaning {
 public:
  Cleaning(const std::vector<Receiver>& receivers, const Parcel& parcel) : receivers_(receivers), parcel_(parcel) {}
  ~Cleaning() {
    for (const Receiver& receiver : receivers_) {
      if (!receiver.wanted || (done_ && !receiver.failure)) continue;
      try {
        remote_do(&abandon, receiver.pid, parcel_);
      } catch (const std::exception& error) {
        runtime::log::debug("An unfinished copy of " + parcel_.target + " may be left: " + error.what());
      }
    }
  }
  Cleaning(const Cleaning&) = delete;
  Cleaning& operator=(const Cleaning&) = delete;
  void done() { done_ = true; }

 private:
  const std::vector<Receiver>& receivers_;
  const Parcel& parcel_;
  bool done_ = false;
};

}  // namespace

// NOLINTNEXTLINE(performance-unnecessary-value-param): the interface says so
void broadcast_file(const std::string& path, const std::vector<Pid>& pids, BroadcastFileOptions options) {
  const std::string absolute = std::filesystem::absolute(path).lexically_normal().string();
  const bool same_place = options.target.empty() || options.target == absolute;
  std::vector<Receiver> receivers = receivers_of(pids, !same_place);
  const UniqueFd file(::open(absolute.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) fail_here(absolute, why(errno));
  const Parcel parcel = parcel_of(file, absolute, same_place ? absolute : options.target);
  Cleaning cleaning(receivers, parcel);
  begin_everywhere(receivers, parcel);
  send_parts(receivers, file, absolute, parcel);
  finish_everywhere(receivers, parcel);
  cleaning.done();
  std::vector<std::exception_ptr> failures;
  for (const Receiver& receiver : receivers)
    if (receiver.failure) failures.push_back(receiver.failure);
  if (failures.empty()) return;
  this_task::check();
  throw CompositeException(std::move(failures));
}

}  // namespace muster
