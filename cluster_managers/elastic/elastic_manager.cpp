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
    auto gathering = std::make_unique<runtime::Gathering>(
        context,
        InviteOptions{
            .bind_address = options.bind_address, .port = options.port, .addresses = options.addresses, .asked = {}});
    secret_ = std::make_unique<runtime::SecretFile>(options.secret_file, "", gathering->invitation().start_record());
    command_ = runtime::shell_words(context.worker_command()) + " < " + runtime::shell_word(secret_->path());
    gathering_ = std::move(gathering);
    if (options.announce) runtime::log::info("Workers join by: " + command_);
  }
  /// @throws std::logic_error while it is closed
  runtime::Gathering& gathering() const {
    const std::lock_guard lock(mutex_);
    if (!gathering_) throw std::logic_error("muster: nobody can join by an ElasticManager before addprocs(manager)");
    return *gathering_;
  }
  std::string command() const { return (void)gathering(), command_; }
  std::string secret_file() const { return (void)gathering(), secret_->path(); }

 private:
  mutable std::mutex mutex_;  ///< guards all; what is there once, stays
  std::unique_ptr<runtime::SecretFile> secret_;
  std::string command_;
  std::unique_ptr<runtime::Gathering> gathering_;
};

ElasticManager::ElasticManager(ElasticOptions options) : options_(std::move(options)), door_(std::make_unique<Door>()) {
  if (options_.at_least < 0) throw std::invalid_argument("muster: ElasticOptions::at_least must not be negative");
}

ElasticManager::~ElasticManager() = default;

void ElasticManager::launch(LaunchContext& context) {
  door_->open(context, options_);
  const std::string why = door_->gathering().wait_for(options_.at_least, context.stop_token(), std::chrono::seconds(1),
                                                      [] { return std::string(); });
  if (!why.empty()) {
    context.failed("wherever", std::to_string(door_->gathering().came()) + " of " + std::to_string(options_.at_least) +
                                   " workers came. Start more (" + door_->command() +
                                   "), or give them more time (AddprocsOptions::launch_timeout)");
  }
}

// Nothing is known of their processes, which may be anywhere; they end by themselves when their connection does.
void ElasticManager::manage(Pid /*pid*/, WorkerConfig& /*config*/, ManageOp /*op*/) {}
void ElasticManager::kill(Pid /*pid*/, const WorkerConfig& /*config*/) {}

std::string ElasticManager::join_command() const { return door_->command(); }
std::string ElasticManager::secret_file() const { return door_->secret_file(); }
std::vector<std::string> ElasticManager::endpoints() const { return door_->gathering().invitation().endpoints(); }

}  // namespace muster
