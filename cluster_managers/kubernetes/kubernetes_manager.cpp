/// @file
/// Workers in pods of Kubernetes, through kubectl.
#include "runtime/base/log.hpp"
#include "runtime/base/random.hpp"
#include "runtime/base/run_command.hpp"
#include "runtime/cluster/gathering.hpp"
#include "runtime/cluster/worker_environment.hpp"
#include "runtime/cluster/worker_output.hpp"

#include <muster/errors.hpp>
#include <muster/kubernetes_manager.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cctype>
#include <list>
#include <mutex>
#include <stdexcept>

namespace muster {

namespace {

using Json = nlohmann::json;

constexpr auto command_patience = std::chrono::seconds(30);
constexpr auto look_interval = std::chrono::seconds(2);
constexpr const char* run_label = "muster-run";
constexpr const char* secret_directory = "/etc/muster";
/// States of a container from which it does not get further by itself.
constexpr const char* hopeless[] = {"ErrImagePull",     "ImagePullBackOff",           "InvalidImageName",
                                    "CrashLoopBackOff", "CreateContainerConfigError", "CreateContainerError",
                                    "RunContainerError"};

std::string text_at(const Json& json, const char* name) {
  const auto found = json.find(name);
  return found != json.end() && found->is_string() ? found->get<std::string>() : std::string();
}

/// Names of Kubernetes are of small letters and digits.
std::string small_token(std::size_t size) {
  std::string token = runtime::random_token(4 * size);
  std::erase_if(token, [](char c) { return std::isalnum(static_cast<unsigned char>(c)) == 0; });
  std::transform(token.begin(), token.end(), token.begin(),
                 [](char c) { return static_cast<char>(std::tolower(static_cast<unsigned char>(c))); });
  return token.substr(0, size);
}

/// Why that container is not what it should be; empty where all is well, or may yet be.
std::string trouble_of(const Json& state) {
  if (const auto waiting = state.find("waiting"); waiting != state.end()) {
    const std::string reason = text_at(*waiting, "reason");
    if (std::find(std::begin(hopeless), std::end(hopeless), reason) == std::end(hopeless)) return {};
    return reason + ": " + text_at(*waiting, "message");
  }
  if (const auto ended = state.find("terminated"); ended != state.end()) {
    const auto code = ended->find("exitCode");
    const std::string status =
        code != ended->end() && code->is_number_integer() ? std::to_string(code->get<int>()) : "?";
    return "its container ended: " + text_at(*ended, "reason") + ", exit status " + status;
  }
  return {};
}

/// Why a pod does not run; empty where it does, or may yet.
std::string trouble_in(const Json& pod) {
  const auto status = pod.find("status");
  if (status == pod.end()) return {};
  if (const auto containers = status->find("containerStatuses"); containers != status->end()) {
    for (const Json& container : *containers) {
      const auto state = container.find("state");
      const std::string trouble = state != container.end() ? trouble_of(*state) : std::string();
      if (!trouble.empty()) return trouble;
    }
  }
  if (text_at(*status, "phase") == "Failed") return text_at(*status, "reason") + ": " + text_at(*status, "message");
  return {};
}

/// What one addprocs created. Deletes it at its end.
class Run {
 public:
  explicit Run(const KubernetesOptions& options) : options_(options), id_("muster-" + small_token(8)) {}
  ~Run() { remove(); }
  Run(const Run&) = delete;
  Run& operator=(const Run&) = delete;

  void create(LaunchContext& context, int n) {
    Json list{{"apiVersion", "v1"}, {"kind", "List"}, {"items", Json::array({secret()})}};
    for (int i = 0; i < n; ++i) list["items"].push_back(pod(context, id_ + "-" + std::to_string(i)));
    created_ = true;  // some of it may be, whatever comes back
    const auto outcome = kubectl({"create", "-f", "-"}, list.dump());
    if (outcome.status != 0) throw Error(options_.kubectl + " could not create the pods: " + outcome.said());
    runtime::log::info("Created " + std::to_string(n) + " pods, " + id_ + "-0 and on");
  }
  /// @returns why pods do not start; empty while they may
  std::string look() const {
    const auto outcome = kubectl({"get", "pods", "-l", std::string(run_label) + "=" + id_, "-o", "json"}, {});
    const Json said = Json::parse(outcome.output, nullptr, false);
    if (outcome.status != 0 || !said.is_object() || !said.contains("items")) return {};
    for (const Json& pod : said["items"]) {
      const std::string trouble = trouble_in(pod);
      if (trouble.empty()) continue;
      const auto metadata = pod.find("metadata");
      return "pod " + (metadata != pod.end() ? text_at(*metadata, "name") : std::string("?")) + ": " + trouble;
    }
    return {};
  }
  /// Why that pod ended, where Kubernetes knows.
  std::string cause_of(const std::string& pod) const {
    const auto outcome = kubectl({"get", "pod", pod, "-o", "json"}, {});
    const Json said = Json::parse(outcome.output, nullptr, false);
    if (outcome.status != 0) return "pod " + pod + " is gone: " + outcome.said();
    const std::string trouble = said.is_object() ? trouble_in(said) : std::string();
    return trouble.empty() ? std::string() : "pod " + pod + ": " + trouble;
  }
  void remove_pod(const std::string& pod) const {
    (void)kubectl({"delete", "pod", pod, "--ignore-not-found", "--wait=false"}, {});
  }
  void remove() {
    if (!std::exchange(created_, false)) return;
    try {
      const auto outcome = kubectl(
          {"delete", "pods,secrets", "-l", std::string(run_label) + "=" + id_, "--ignore-not-found", "--wait=false"},
          {});
      if (outcome.status != 0) runtime::log::warning("The pods " + id_ + " were not deleted: " + outcome.said());
    } catch (const std::exception& error) {
      runtime::log::warning("The pods " + id_ + " can't be deleted: " + error.what());
    }
  }

  std::unique_ptr<runtime::Gathering> gathering;
  int living = 0;  ///< guarded by the manager's mutex

 private:
  runtime::CommandOutcome kubectl(std::vector<std::string> arguments, const std::string& input) const {
    arguments.insert(arguments.begin(), options_.kubectl);
    if (!options_.name_space.empty()) arguments.insert(arguments.begin() + 1, {"--namespace", options_.name_space});
    return runtime::run_command(arguments, input, command_patience);
  }

  Json labels() const {
    Json labels(options_.labels);
    if (labels.is_null()) labels = Json::object();
    labels[run_label] = id_;
    return labels;
  }

  /// In the standard input of kubectl, not in a command line.
  Json secret() const {
    return {{"apiVersion", "v1"},
            {"kind", "Secret"},
            {"metadata", {{"name", id_}, {"labels", labels()}}},
            {"stringData", {{"record", gathering->invitation().start_record() + "\n"}}}};
  }

  Json pod(LaunchContext& context, const std::string& name) const {
    Json pod = options_.pod_template.empty() ? Json::object() : Json::parse(options_.pod_template);
    pod["apiVersion"] = "v1";
    pod["kind"] = "Pod";
    pod["metadata"]["name"] = name;
    const Json own_labels = labels();
    for (const auto& [label, value] : own_labels.items()) pod["metadata"]["labels"][label] = value;
    Json& spec = pod["spec"];
    if (!spec.contains("restartPolicy")) spec["restartPolicy"] = "Never";
    spec["volumes"].push_back({{"name", "muster"}, {"secret", {{"secretName", id_}, {"defaultMode", 0400}}}});
    if (!spec.contains("containers")) spec["containers"] = Json::array({Json::object()});
    Json& container = spec["containers"][0];
    if (!container.contains("name")) container["name"] = "muster";
    if (!container.contains("image")) container["image"] = options_.image;
    std::vector<std::string> command = context.worker_command();
    if (!options_.program.empty()) command.front() = options_.program;
    container["command"] = {"/bin/sh", "-c",
                            "exec " + runtime::shell_words(command) + " < " + secret_directory + "/record"};
    container["volumeMounts"].push_back({{"name", "muster"}, {"mountPath", secret_directory}, {"readOnly", true}});
    if (!context.options().dir.empty()) container["workingDir"] = context.options().dir;
    container["env"].push_back({{"name", "MUSTER_POD"}, {"value", name}});
    for (const auto& [variable, value] : runtime::added_environment(context.options()))
      container["env"].push_back({{"name", variable}, {"value", value}});
    return pod;
  }

  const KubernetesOptions& options_;
  const std::string id_;
  bool created_ = false;
};

/// A worker's handle.
struct PodOfRun {
  std::shared_ptr<Run> run;
  std::string pod;
};

}  // namespace

/// What was created and has workers.
class KubernetesManager::Pods {
 public:
  std::shared_ptr<Run> add(const KubernetesOptions& options) {
    const std::lock_guard lock(mutex_);
    return all_.emplace_back(std::make_shared<Run>(options));
  }
  void joined(Run& run) {
    const std::lock_guard lock(mutex_);
    ++run.living;
  }
  void left(const std::shared_ptr<Run>& run) {
    {
      const std::lock_guard lock(mutex_);
      if (--run->living > 0) return;
      std::erase(all_, run);
    }
    run->remove();
  }
  void drop(const std::shared_ptr<Run>& run) {
    {
      const std::lock_guard lock(mutex_);
      std::erase(all_, run);
    }
    run->remove();
  }

 private:
  std::mutex mutex_;  ///< guards the list, and `living` of what is in it
  std::list<std::shared_ptr<Run>> all_;
};

KubernetesManager::KubernetesManager(int n, KubernetesOptions options)
    : n_(n), options_(std::move(options)), pods_(std::make_unique<Pods>()) {
  if (n < 0)
    throw std::invalid_argument("can't start " + std::to_string(n) + " workers: the number must not be negative");
  const Json given =
      options_.pod_template.empty() ? Json::object() : Json::parse(options_.pod_template, nullptr, false);
  if (!given.is_object())
    throw std::invalid_argument(
        "muster: KubernetesOptions::pod_template is no JSON object, as `kubectl -o json` has it");
  if (options_.image.empty() && !given.contains(Json::json_pointer("/spec/containers/0/image")))
    throw std::invalid_argument("muster: a KubernetesManager needs KubernetesOptions::image, which has this program");
}

KubernetesManager::~KubernetesManager() = default;

std::string KubernetesManager::to_string() const { return "KubernetesManager(" + std::to_string(n_) + ")"; }

void KubernetesManager::launch(LaunchContext& context) {
  if (n_ == 0) return;
  const auto run = pods_->add(options_);
  try {
    run->gathering = std::make_unique<runtime::Gathering>(
        context,
        InviteOptions{.bind_address = options_.bind_address,
                      .port = options_.port,
                      .addresses = options_.addresses,
                      .asked = {"MUSTER_POD"}},
        [this, weak = std::weak_ptr(run)](const Caller& caller, WorkerConfig& config) {
          const auto mine = weak.lock();
          if (!mine) return;
          const auto name = caller.facts.find("MUSTER_POD");
          const auto handle =
              std::make_shared<PodOfRun>(PodOfRun{mine, name == caller.facts.end() ? std::string() : name->second});
          runtime::ProcessElsewhere process;
          process.handle = handle;
          process.cause_of_end = [handle] { return handle->run->cause_of(handle->pod); };
          config.userdata = std::move(process);
          pods_->joined(*mine);
        });
    run->create(context, n_);
  } catch (const std::exception&) {
    pods_->drop(run);
    throw;
  }
  const std::string why =
      run->gathering->wait_for(n_, context.stop_token(), look_interval, [&] { return run->look(); });
  if (why.empty()) return;
  const int came = run->gathering->came();
  for (int i = came; i < n_; ++i) context.failed("Kubernetes", why);
  if (came == 0) pods_->drop(run);
}

void KubernetesManager::manage(Pid /*pid*/, WorkerConfig& config, ManageOp op) {
  if (op != ManageOp::Deregister) return;
  const auto* const process = std::any_cast<runtime::ProcessElsewhere>(&config.userdata);
  if (process != nullptr && process->handle) pods_->left(static_cast<PodOfRun*>(process->handle.get())->run);
}

void KubernetesManager::kill(Pid /*pid*/, const WorkerConfig& config) {
  const auto* const process = std::any_cast<runtime::ProcessElsewhere>(&config.userdata);
  if (process == nullptr || !process->handle) return;
  const auto& handle = *static_cast<PodOfRun*>(process->handle.get());
  handle.run->remove_pod(handle.pod);
}

}  // namespace muster
