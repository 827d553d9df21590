#include "runtime/session/mpi_ranks.hpp"

#include "runtime/cluster/gathering.hpp"

#include <muster/errors.hpp>

#include <sys/stat.h>
#include <unistd.h>

#include <charconv>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <sstream>
#include <stdexcept>
#include <thread>

namespace muster::runtime {

namespace {

constexpr auto look_interval = std::chrono::milliseconds(20);

std::optional<int> number_in(const char* variable) {
  const char* const text = std::getenv(variable);
  if (text == nullptr) return std::nullopt;
  int number = 0;
  const std::string_view view(text);
  const auto read = std::from_chars(view.data(), view.data() + view.size(), number);
  return read.ec == std::errc() && number >= 0 ? std::optional(number) : std::nullopt;
}

/// When a process was started, in the kernel's ticks: with its number it names that process.
std::string start_of(long os_pid) {
  std::ifstream file("/proc/" + std::to_string(os_pid) + "/stat");
  const std::string text((std::istreambuf_iterator<char>(file)), {});
  std::istringstream fields(text.substr(std::min(text.size(), text.rfind(')') + 1)));
  std::string field;
  for (int i = 0; i < 20; ++i) fields >> field;
  return field;
}

}  // namespace

std::optional<MpiRank> mpi_rank() {
  constexpr std::pair<const char*, const char*> known[] = {
      {"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"}, {"PMI_RANK", "PMI_SIZE"}, {"PMIX_RANK", "SLURM_NTASKS"}};
  for (const auto& [rank, size] : known) {
    const auto its_rank = number_in(rank), its_size = number_in(size);
    if (its_rank && its_size && *its_rank < *its_size) return MpiRank{*its_rank, *its_size};
  }
  return std::nullopt;
}

std::string meeting_file(const std::string& given) {
  if (given != "auto") return given;
  for (const char* const job : {"PMIX_NAMESPACE", "OMPI_MCA_ess_base_jobid", "PMI_JOBID", "SLURM_JOB_ID"}) {
    const char* const name = std::getenv(job);
    if (name != nullptr && *name != '\0' && std::string_view(name).find('/') == std::string_view::npos)
      return cache_directory() + "/mpi-" + name;
  }
  // MPICH says nothing of the sort, but its ranks on one host have one parent.
  return cache_directory() + "/mpi-" + std::to_string(::getppid()) + "-" + start_of(::getppid());
}

std::string read_meeting_file(const std::string& path, std::chrono::seconds limit) {
  for (const auto deadline = std::chrono::steady_clock::now() + limit; std::chrono::steady_clock::now() < deadline;) {
    std::ifstream file(path);
    std::string line;
    struct stat found{};
    if (file && std::getline(file, line) && !file.eof()) {
      if (::stat(path.c_str(), &found) == 0 && (found.st_mode & 077U) == 0) return line;
      throw Error("others may read " + path + ", which holds the secret of this run. It was not made by rank 0.");
    }
    std::this_thread::sleep_for(look_interval);
  }
  throw Error(
      "rank 0 did not write " + path + " within " + std::to_string(limit.count()) +
      " s. Where the hosts share no home directory, or MPICH's ranks are on several hosts, name a file that all "
      "of them see: --muster-mpi FILE.");
}

struct RankManager::Meeting {
  std::unique_ptr<Gathering> gathering;
  std::unique_ptr<SecretFile> secret;
};

RankManager::RankManager(int n, std::string file)
    : n_(n), file_(std::move(file)), meeting_(std::make_unique<Meeting>()) {}

RankManager::~RankManager() = default;

void RankManager::launch(LaunchContext& context) {
  meeting_->gathering = std::make_unique<Gathering>(context, InviteOptions());
  meeting_->secret = std::make_unique<SecretFile>(file_, "", meeting_->gathering->invitation().start_record());
  const std::string why =
      meeting_->gathering->wait_for(n_, context.stop_token(), std::chrono::seconds(1), [] { return std::string(); });
  meeting_->secret.reset();
  for (int i = meeting_->gathering->came(); i < n_; ++i)
    context.failed("a rank of mpirun's", why + ". See that each rank runs this program with --muster-mpi " + file_);
}

// mpirun looks after the ranks.
void RankManager::manage(Pid /*pid*/, WorkerConfig& /*config*/, ManageOp /*op*/) {}
void RankManager::kill(Pid /*pid*/, const WorkerConfig& /*config*/) {}

}  // namespace muster::runtime
