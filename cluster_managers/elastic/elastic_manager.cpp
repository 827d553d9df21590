/// @file
/// Workers that come and go by themselves.
#include "runtime/base/log.hpp"
#include "runtime/base/run_command.hpp"
#include "runtime/cluster/gathering.hpp"

#include <muster/elastic_manager.hpp>

#include <chrono>
#include <mutex>
#include <stdexcept>
#include <utility>

namespace muster {

/// What workers come in by, from the first addprocs on.
class ElasticManager::Door {
 public:
  void open(LaunchContext& context, const ElasticOptions& options) {
    const std::lock_guard lock(mutex_);
    if (gathering_) return;
    auto gathering = std::make_shared<runtime::Gathering>(
        context,
        InviteOptions{
            .bind_address = options.bind_address, .port = options.port, .addresses = options.addresses, .asked = {}});
    secret_ = std::make_unique<runtime::SecretFile>(options.secret_file, "", gathering->invitation().start_record());
    command_ = runtime::shell_words(context.worker_command()) + " < " + runtime::shell_word(secret_->path());
    connect_command_ = "muster-worker --connect " + gathering->invitation().endpoints().front() + " --key-file " +
                       runtime::shell_word(secret_->path());
    gathering_ = std::move(gathering);
    if (options.announce)
      runtime::log::info("Workers join by: " + command_ + "; where this program is not, by: " + connect_command_);
  }
  void close() {
    std::shared_ptr<runtime::Gathering> over;  // ends without the lock
    const std::lock_guard lock(mutex_);
    over.swap(gathering_);
    secret_.reset();
  }
  /// @throws std::logic_error while it is closed
  std::shared_ptr<runtime::Gathering> gathering() const {
    const std::lock_guard lock(mutex_);
    require_open();
    return gathering_;
  }
  std::string command() const {
    const std::lock_guard lock(mutex_);
    require_open();
    return command_;
  }
  std::string connect_command() const {
    const std::lock_guard lock(mutex_);
    require_open();
    return connect_command_;
  }
  std::string secret_file() const {
    const std::lock_guard lock(mutex_);
    require_open();
    return secret_->path();
  }

 private:
  void require_open() const {
    if (!gathering_) throw std::logic_error("muster: nobody can join by an ElasticManager before addprocs(manager)");
  }
  mutable std::mutex mutex_;  ///< guards all
  std::unique_ptr<runtime::SecretFile> secret_;
  std::string command_, connect_command_;
  std::shared_ptr<runtime::Gathering> gathering_;
};

ElasticManager::ElasticManager(ElasticOptions options) : options_(std::move(options)), door_(std::make_unique<Door>()) {
  if (options_.at_least < 0) throw std::invalid_argument("muster: ElasticOptions::at_least must not be negative");
}

ElasticManager::~ElasticManager() = default;

void ElasticManager::launch(LaunchContext& context) {
  door_->open(context, options_);
  const auto gathering = door_->gathering();
  const std::string why = gathering->wait_for(options_.at_least, context.stop_token(), std::chrono::seconds(1),
                                              [] { return std::string(); });
  if (why.empty()) return;
  context.failed("wherever", std::to_string(gathering->came()) + " of " + std::to_string(options_.at_least) +
                                 " workers came by " + door_->command() +
                                 ". Start more, or give them more time (AddprocsOptions::launch_timeout)");
  door_->close();
}

// Their processes may be anywhere. Those on this host can be killed; others end by themselves when their connection
// does.
void ElasticManager::manage(Pid /*pid*/, WorkerConfig& /*config*/, ManageOp /*op*/) {}
void ElasticManager::kill(Pid pid, const WorkerConfig& config) { ClusterManager::kill(pid, config); }

void ElasticManager::close() { door_->close(); }

std::string ElasticManager::join_command() const { return door_->command(); }
std::string ElasticManager::connect_command() const { return door_->connect_command(); }
std::string ElasticManager::secret_file() const { return door_->secret_file(); }
std::vector<std::string> ElasticManager::endpoints() const { return door_->gathering()->invitation().endpoints(); }

}  // namespace muster
