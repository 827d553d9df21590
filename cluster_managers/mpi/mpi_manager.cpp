/// @file
/// Workers that mpirun starts.
#include "cluster_managers/mpi/mpi_job.hpp"
#include "runtime/cluster/gathering.hpp"
#include "runtime/cluster/worker_environment.hpp"
#include "runtime/cluster/worker_output.hpp"

#include <muster/errors.hpp>
#include <muster/mpi_manager.hpp>

#include <charconv>
#include <list>
#include <mutex>
#include <stdexcept>

namespace muster {

namespace {

using namespace runtime::mpi;

/// For a launcher to end by itself, once its ranks have left.
constexpr auto leaving_patience = std::chrono::seconds(2);
constexpr auto look_interval = std::chrono::milliseconds(100);
/// For the launcher to end, and to say why, where it does so because a rank died.
constexpr auto cause_patience = std::chrono::milliseconds(300);

/// What either launcher tells its ranks.
constexpr const char* rank_variables[] = {"OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMIX_RANK"};

int rank_of(const Caller& caller) {
  for (const char* const name : rank_variables) {
    const auto found = caller.facts.find(name);
    if (found == caller.facts.end()) continue;
    int rank = -1;
    (void)std::from_chars(found->second.data(), found->second.data() + found->second.size(), rank);
    return rank;
  }
  return -1;
}

/// One addprocs: its job and who of it is left.
struct Run {
  std::unique_ptr<runtime::Gathering> gathering;
  std::mutex starting;       ///< held until job is there, which a quick rank may ask for before
  std::shared_ptr<Job> job;  ///< none where it could not be started
  int living = 0;
};

}  // namespace

/// The launchers that run.
class MpiManager::Jobs {
 public:
  std::shared_ptr<Run> add() {
    const std::lock_guard lock(mutex_);
    return all_.emplace_back(std::make_shared<Run>());
  }
  void joined(Run& run) {
    const std::lock_guard lock(mutex_);
    ++run.living;
  }
  /// A worker is gone. @returns its job, where it was the last
  std::shared_ptr<Run> left(Run* run) {
    const std::lock_guard lock(mutex_);
    for (auto found = all_.begin(); found != all_.end(); ++found) {
      if (found->get() != run || --run->living > 0) continue;
      auto last = *found;
      all_.erase(found);
      return last;
    }
    return nullptr;
  }
  void drop(const std::shared_ptr<Run>& run) {
    const std::lock_guard lock(mutex_);
    std::erase(all_, run);
  }

 private:
  std::mutex mutex_;  ///< guards the list and what is in it but for their jobs
  std::list<std::shared_ptr<Run>> all_;
};

MpiManager::MpiManager(int n, MpiOptions options)
    : n_(n), options_(std::move(options)), jobs_(std::make_unique<Jobs>()) {
  if (n < 0)
    throw std::invalid_argument("can't start " + std::to_string(n) + " workers: the number must not be negative");
}

MpiManager::~MpiManager() = default;

std::string MpiManager::to_string() const { return "MpiManager(" + std::to_string(n_) + ")"; }

void MpiManager::launch(LaunchContext& context) {
  if (n_ == 0) return;
  const Flavor flavor = flavor_of(options_.launcher);
  const auto run = jobs_->add();
  const auto describe = [this, weak = std::weak_ptr(run)](const Caller& caller, WorkerConfig& config) {
    const auto mine = weak.lock();
    if (!mine) return;
    const std::lock_guard lock(mine->starting);
    if (!mine->job) return;
    const int rank = rank_of(caller);
    config.output_fd = mine->job->take_output(rank).release();
    runtime::ProcessElsewhere process;
    process.standard_error.fd = std::make_shared<runtime::UniqueFd>(mine->job->take_errors(rank));
    process.handle = mine;
    process.cause_of_end = [job = std::weak_ptr(mine->job), name = options_.launcher] {
      const auto asked = job.lock();
      if (!asked) return std::string();
      const std::string end = asked->end(cause_patience);
      return end.empty() ? std::string() : name + " " + end;
    };
    config.ident = "rank-" + std::to_string(rank);
    config.userdata = std::move(process);
    jobs_->joined(*mine);
  };
  InviteOptions invite{.bind_address = options_.bind_address, .port = 0, .addresses = options_.addresses, .asked = {}};
  for (const char* const name : rank_variables) invite.asked.emplace_back(name);
  run->gathering = std::make_unique<runtime::Gathering>(context, std::move(invite), describe);
  const runtime::SecretFile secret({}, options_.shared_directory, run->gathering->invitation().start_record());

  const auto environment = runtime::added_environment(context.options());
  runtime::SpawnRequest request;
  request.arguments = launcher_command(flavor, options_.launcher, n_, options_.flags, environment);
  // Launchers give their standard input to one rank only.
  for (const char* const word : {"/bin/sh", "-c", R"(record=$1; shift; exec "$@" <"$record")", "muster"})
    request.arguments.emplace_back(word);
  request.arguments.push_back(secret.path());
  for (std::string& word : context.worker_command()) request.arguments.push_back(std::move(word));
  request.directory = context.options().dir;
  request.environment = environment;
  request.environment.merge(runtime::current_environment());
  try {
    const std::lock_guard lock(run->starting);
    run->job = std::make_shared<Job>(flavor, request, n_);
  } catch (const std::exception&) {
    jobs_->drop(run);
    throw;
  }
  const std::string why =
      run->gathering->wait_for(n_, context.stop_token(), look_interval, [&] { return run->job->end(); });
  if (why.empty()) return;
  const int came = run->gathering->came();
  for (int i = came; i < n_; ++i) context.failed(options_.launcher, options_.launcher + ": " + why);
  if (came == 0) jobs_->drop(run);
}

void MpiManager::manage(Pid /*pid*/, WorkerConfig& config, ManageOp op) {
  if (op != ManageOp::Deregister) return;
  const auto* const process = std::any_cast<runtime::ProcessElsewhere>(&config.userdata);
  if (process == nullptr) return;
  if (const auto last = jobs_->left(static_cast<Run*>(process->handle.get()))) last->job->finish(leaving_patience);
}

/// One rank can't be killed through the launcher: only where it runs on this host. Elsewhere it ends by itself when its
/// connection does.
void MpiManager::kill(Pid pid, const WorkerConfig& config) { ClusterManager::kill(pid, config); }

}  // namespace muster
